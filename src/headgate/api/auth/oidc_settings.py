"""Which OIDC issuer people may log in through, and what its claims mean here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from headgate.api.auth.identities import NAME
from headgate.api.auth.users import MIGHTIEST_FIRST, Role, checked_role
from headgate.core.addresses import LOOPBACK_NAMES
from headgate.core.errors import Invalid, Problem
from headgate.ports import DEFAULT_TENANT
from headgate.settings import listed

__all__ = ["OidcSettings", "Vouched", "oidc_settings"]


class Vouched(msgspec.Struct, frozen=True):
    """Whom the issuer vouches for, as they are named here."""

    tenant: str
    name: str
    role: Role


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`roles`: a value of `role_claim`, and the role that it stands for. `default_role` None: nobody else is let in."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_url: str
    scopes: tuple[str, ...]
    name_claim: str
    role_claim: str
    roles: tuple[tuple[str, Role], ...]
    default_role: Role | None
    tenant_claim: str

    def vouched(self, claims: Mapping[str, Any]) -> Vouched | str:
        """Return who the claims are of, or why nobody of ours."""
        name = str(claims.get(self.name_claim) or "").lower()
        if not NAME.fullmatch(name):
            return f"the claim {self.name_claim} is {name!r}, which is no name of a user"
        if self.name_claim == "email" and claims.get("email_verified") is not True:
            return f"the address {name} is not verified"
        tenant = str(claims.get(self.tenant_claim) or "") if self.tenant_claim else DEFAULT_TENANT
        if not NAME.fullmatch(tenant):
            return f"the claim {self.tenant_claim} is {tenant!r}, which is no name of a tenant"
        role = self._role(claims)
        return Vouched(tenant, name, role) if role else f"no role is set for {name}"

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        """Return the mightiest role that the claims stand for."""
        value = claims.get(self.role_claim) if self.role_claim else None
        held = cast("list[Any]", value) if isinstance(value, list) else [value]
        found = [role for text, role in self.roles if text in held]
        for role in MIGHTIEST_FIRST:
            if role in found:
                return role
        return self.default_role


def oidc_settings(environment: Mapping[str, str]) -> OidcSettings | None:
    """Return the settings; None: there is no issuer. Raises `Invalid`."""
    issuer = _text(environment, "ISSUER").rstrip("/")
    if not issuer:
        return None
    public_url = environment.get("HEADGATE_PUBLIC_URL", "").strip().rstrip("/")
    client_id = _text(environment, "CLIENT_ID")
    role_claim = _text(environment, "ROLE_CLAIM")
    mapped = listed(environment, "HEADGATE_OIDC_ROLES")
    default_role = _text(environment, "DEFAULT_ROLE")
    problems = [*_raised(_check_address, "HEADGATE_OIDC_ISSUER", issuer)]
    if not public_url:
        problems.append("HEADGATE_OIDC_ISSUER needs HEADGATE_PUBLIC_URL: where the issuer sends people back to.")
    if not client_id:
        problems.append("HEADGATE_OIDC_ISSUER needs HEADGATE_OIDC_CLIENT_ID: who Headgate is to the issuer.")
    if not (role_claim and mapped) and not default_role:
        problems.append(
            "Nobody would be let in: set HEADGATE_OIDC_ROLE_CLAIM and _ROLES, or HEADGATE_OIDC_DEFAULT_ROLE."
        )
    for part in mapped:
        problems += _raised(_mapped, part)
    if default_role:
        problems += _raised(checked_role, default_role)
    if problems:
        raise Invalid("\n".join(problems), tuple(Problem(one) for one in problems))
    roles = tuple(_mapped(part) for part in mapped)
    return OidcSettings(
        issuer=issuer,
        client_id=client_id,
        client_secret=_text(environment, "CLIENT_SECRET"),
        redirect_url=f"{public_url}/api/v1/login/oidc/callback",
        scopes=("openid", *(listed(environment, "HEADGATE_OIDC_SCOPES") or ("profile", "email"))),
        name_claim=_text(environment, "NAME_CLAIM") or "preferred_username",
        role_claim=role_claim,
        roles=roles,
        default_role=checked_role(default_role) if default_role else None,
        tenant_claim=_text(environment, "TENANT_CLAIM"),
    )


def _raised(check: Callable[..., object], *of: str) -> list[str]:
    try:
        check(*of)
    except Invalid as error:
        return [error.message]
    return []


def _text(environment: Mapping[str, str], name: str) -> str:
    return environment.get(f"HEADGATE_OIDC_{name}", "").strip()


def _mapped(part: str) -> tuple[str, Role]:
    value, equals, role = part.rpartition("=")
    if not equals or not value.strip():
        raise Invalid(f"HEADGATE_OIDC_ROLES: expected VALUE=ROLE, such as hg-admins=admin, got {part!r}.")
    return value.strip(), checked_role(role.strip())


def _check_address(variable: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK_NAMES:
        raise Invalid(f"{variable}: expected an https address, got {url!r}; whoever is on the way could be the issuer.")
