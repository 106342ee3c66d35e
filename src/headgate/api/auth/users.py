"""People who may log in: with a password, kept as an Argon2id hash, or through an OIDC issuer that vouches for them.

A user has a role, which stands for scopes. Whoever changes a role, a password, or disables somebody, ends that
user's sessions: each remembers the user's `generation`, which grows with such a change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import msgspec

from headgate.api.auth.accounts import Accounts
from headgate.api.auth.acts import AdminActs
from headgate.api.auth.identities import checked_name, identity, parsed_identity
from headgate.api.auth.passwords import Passwords
from headgate.core.errors import Invalid, Refused
from headgate.ports import Clock, Documents

__all__ = ["KIND", "MIGHTIEST_FIRST", "ROLES", "USERS_MAX", "Role", "User", "Users", "checked_role"]

KIND = "user"
USERS_MAX = 10_000
"""Of a tenant."""

Role = Literal["viewer", "approver", "operator", "admin"]
ROLES: dict[Role, frozenset[str]] = {
    "viewer": frozenset({"runs:read"}),
    "approver": frozenset({"runs:read", "approvals"}),
    "operator": frozenset({"runs:read", "approvals", "runs:write", "definitions:write"}),
    "admin": frozenset({"runs:read", "approvals", "runs:write", "definitions:write", "admin"}),
}
MIGHTIEST_FIRST: tuple[Role, ...] = ("admin", "operator", "approver", "viewer")


class User(msgspec.Struct, frozen=True):
    """A user as it is kept. `password` is empty for those who come through an issuer: `subject` is who they are
    there."""

    tenant: str
    name: str
    role: Role
    password: str
    created_at: int
    created_by: str
    generation: int = 1
    disabled_at: int = 0
    subject: str = ""

    @property
    def id(self) -> str:
        """What they log in as."""
        return identity(self.tenant, self.name)

    @property
    def scopes(self) -> frozenset[str]:
        return ROLES[self.role]


def checked_role(role: str) -> Role:
    """Return the role. Raises `Invalid`."""
    if role not in ROLES:
        raise Invalid(f"There is no role {role!r}; there are {', '.join(get_args(Role))}.")
    return role


class Users(Accounts[User]):
    """Who may log in."""

    _kind = KIND
    _of = User

    def __init__(
        self, documents: Documents, clock: Clock, acts: AdminActs, on_change: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(documents, clock, acts, on_change)
        self._passwords = Passwords()

    async def create(self, tenant: str, name: str, role: str, password: str, *, by: str) -> User:
        """Make a user. Raises `Invalid`, `Refused` (the name is taken)."""
        checked_name(tenant, "tenant")
        hashed = await self._passwords.hash(password)
        return await self._create(tenant, name, checked_role(role), by=by, password=hashed)

    async def _create(
        self, tenant: str, name: str, role: Role, *, by: str, password: str = "", subject: str = ""
    ) -> User:
        checked_name(name, "user")
        known = await self.list(tenant)
        if any(one.name == name for one in known):
            raise Refused(f"There is a user {identity(tenant, name)!r} already; take another name.")
        if len(known) >= USERS_MAX:
            raise Refused(f"The tenant {tenant!r} has {len(known)} users, which is the most there can be.")
        user = User(tenant, name, role, password, self._clock.now(), by, subject=subject)
        await self._acts.record(tenant, by, "user.create", user.id, role=role, subject=subject)
        await self._keep(user, expected=0)
        return user

    async def set_role(self, tenant: str, name: str, role: str, *, by: str) -> User:
        """Give a user another role; raises `Invalid`, `NotFound`."""
        wanted = checked_role(role)
        return await self._change(tenant, name, "user.role", by, role=wanted)

    async def set_password(self, tenant: str, name: str, password: str, *, by: str) -> User:
        """Give a user another password; raises `Invalid`, `NotFound`."""
        hashed = await self._passwords.hash(password)
        return await self._change(tenant, name, "user.password", by, password=hashed)

    async def disable(self, tenant: str, name: str, *, by: str) -> User:
        """Let a user log in no more, and end what sessions they have. Raises `NotFound`."""
        return await self._change(tenant, name, "user.disable", by, disabled_at=self._clock.now())

    async def enable(self, tenant: str, name: str, *, by: str) -> User:
        """Undo `disable`; sessions stay ended. Raises `NotFound`."""
        return await self._change(tenant, name, "user.enable", by, disabled_at=0)

    async def find(self, login: str, password: str) -> User | None:
        """Return whose password this is; None where it is nobody's, or theirs who are disabled. It takes as long."""
        user = await self.get(*parsed_identity(login))
        right = await self._passwords.verify(password, user.password if user else "")
        return user if user and right and not user.disabled_at else None

    async def vouched(self, tenant: str, name: str, role: Role, *, subject: str) -> User | None:
        """Return the user whom an issuer vouches for, made or changed to be as it says; None: they are disabled.
        Raises `Refused` where the name is another's."""
        known = await self.get(tenant, name)
        if known is None:
            return await self._create(tenant, name, role, by="oidc", subject=subject)
        if known.subject != subject:
            raise Refused(f"There is another user {known.id!r}; an admin has to rename one of them.")
        if known.disabled_at:
            return None
        return known if known.role == role else await self.set_role(tenant, name, role, by="oidc")

    async def _change(self, tenant: str, name: str, act: str, by: str, **changes: object) -> User:
        user, revision = await self._standing(tenant, name)
        changed = msgspec.structs.replace(user, generation=user.generation + 1, **changes)
        told = {"role": changed.role} if "role" in changes else {}
        await self._acts.record(tenant, by, act, user.id, **told)
        await self._keep(changed, expected=revision)
        return changed
