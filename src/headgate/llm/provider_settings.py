"""Where the providers of a process are and whose keys they use, as its environment says it. No I/O here.

A vendor has its own variables, as its SDK reads them. Beside these, `HEADGATE_PROVIDER_<NAME>_BASE_URL`, `_API_KEY`,
`_HEADERS` and `_TIMEOUT` hold for any provider and win; with a name that is no vendor's they make a provider of any
server that speaks OpenAI's API.
"""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from headgate.core.errors import Invalid
from headgate.llm.provider_errors import refused_here

__all__ = ["TIMEOUT_SECONDS", "VENDORS", "ProviderSettings", "Variables", "own_names", "read_settings"]

TIMEOUT_SECONDS = 600.0
"""For a provider whose timeout is not set, and a request that brings none."""
TIMEOUT_SECONDS_MAX = 86_400.0
HEADERS_MAX = 32
ACCOUNT = b"headgate: the account of a key"
ACCOUNT_BYTES = 4
SECRET_CHARACTERS_MIN = 6
_OWN = re.compile(r"HEADGATE_PROVIDER_([A-Z0-9_]+?)_(?:BASE_URL|API_KEY)")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Variables(msgspec.Struct, frozen=True):
    """A vendor's own variables, in the order in which they are looked at; `default` is its own address."""

    base_url: tuple[str, ...] = ()
    api_key: tuple[str, ...] = ()
    default: str = ""


VENDORS = {
    "openai": Variables(("OPENAI_BASE_URL",), ("OPENAI_API_KEY",), "https://api.openai.com/v1"),
    "azure": Variables(("AZURE_OPENAI_ENDPOINT",), ("AZURE_OPENAI_API_KEY",)),
    "mistral": Variables(("MISTRAL_BASE_URL",), ("MISTRAL_API_KEY",), "https://api.mistral.ai/v1"),
    "ollama": Variables(("OLLAMA_BASE_URL",), (), "http://localhost:11434"),
    "anthropic": Variables(("ANTHROPIC_BASE_URL",), ("ANTHROPIC_API_KEY",), "https://api.anthropic.com"),
    "google": Variables(
        ("GOOGLE_BASE_URL",), ("GOOGLE_API_KEY", "GEMINI_API_KEY"), "https://generativelanguage.googleapis.com"
    ),
    "bedrock": Variables(("AWS_ENDPOINT_URL_BEDROCK_RUNTIME",), ("AWS_BEARER_TOKEN_BEDROCK",)),
}


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a provider is, with whose key. A repr would show the key: do not print one."""

    name: str
    base_url: str
    api_key: str
    key_variable: str
    """The variable that holds the key, or would."""
    headers: Mapping[str, str]
    timeout_seconds: float
    account: str = ""
    """Whose key it is, by a name that is no secret; empty: there is none."""

    def key(self) -> str:
        """Return the key; nothing where none is needed. Raises `ProviderError` (`missing_key`) for one that is missing,
        or that no header can carry."""
        key = self.api_key
        if not key and self.key_variable:
            raise refused_here(
                "missing_key",
                f"{self.name} was not asked: there is no key for it. Set {self.key_variable} in the environment "
                "of the process that makes model calls.",
            )
        if not (key.isascii() and key.isprintable()):
            where = self.key_variable or "its key"
            raise refused_here(
                "missing_key", f"{self.name} was not asked: {where} holds characters that no HTTP header can carry."
            )
        return key

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may not be seen in errors: the key, and headers' values that are long enough to be one."""
        values = (self.api_key, *self.headers.values())
        return tuple(value for value in values if len(value) >= SECRET_CHARACTERS_MIN)

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).netloc.rpartition("@")[2] or "no address"


def read_settings(name: str, environment: Mapping[str, str], *, base_url: str = "") -> ProviderSettings:
    """Return the settings of a provider; `base_url` wins over the environment.

    Raises `Invalid`, with the variable's name and not its value, for headers or a timeout that are none.
    """
    vendor = VENDORS.get(name, Variables())
    stem = f"HEADGATE_PROVIDER_{name.upper()}_"
    keys = (f"{stem}API_KEY", *vendor.api_key)
    held = next((variable for variable in keys if environment.get(variable, "").strip()), "")
    key = environment.get(held, "").strip()
    return ProviderSettings(
        name=name,
        base_url=base_url or _first(environment, (f"{stem}BASE_URL", *vendor.base_url)) or vendor.default,
        api_key=key,
        key_variable=held or (" or ".join(vendor.api_key) if vendor.api_key else ""),
        headers=_headers(f"{stem}HEADERS", environment),
        timeout_seconds=_timeout(f"{stem}TIMEOUT", environment),
        account=_account(key),
    )


def own_names(environment: Mapping[str, str]) -> list[str]:
    """Return the providers that only the environment knows. Raises `Invalid` for a name that is taken."""
    found = {match[1].lower() for name in environment if (match := _OWN.fullmatch(name))}
    for name in ("demo", "scripted"):
        if name in found:
            raise Invalid(f"HEADGATE_PROVIDER_{name.upper()}_… names a provider {name!r}, which has that name already.")
    return sorted(found - VENDORS.keys())


def _account(key: str) -> str:
    """Return a name for a key, the same wherever it is used: a digest that is keyed with it, and says nothing of it."""
    return hmac.digest(key.encode(), ACCOUNT, "sha256")[:ACCOUNT_BYTES].hex() if key else ""


def _first(environment: Mapping[str, str], variables: Sequence[str]) -> str:
    return next((value for name in variables if (value := environment.get(name, "").strip())), "")


def _headers(variable: str, environment: Mapping[str, str]) -> dict[str, str]:
    text = environment.get(variable, "").strip()
    if not text:
        return {}
    wrong = Invalid(
        f'{variable}: expected a JSON object of at most {HEADERS_MAX} headers, such as {{"X-Team": "blue"}}, and got '
        "something else. (Its value is not shown, for it may hold a key.)"
    )
    try:
        headers = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise wrong from None
    sound = all(
        _HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable() for name, value in headers.items()
    )
    if len(headers) > HEADERS_MAX or not sound:
        raise wrong
    return headers


def _timeout(variable: str, environment: Mapping[str, str]) -> float:
    text = environment.get(variable, "").strip()
    if not text:
        return TIMEOUT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= TIMEOUT_SECONDS_MAX:
        raise Invalid(f"{variable}: expected seconds, above 0 and up to {TIMEOUT_SECONDS_MAX:g}, got {text!r}.")
    return seconds
