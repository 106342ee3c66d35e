"""Where the guards of attempts come from: the names in a task's settings made into a chain of policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from headgate.core.codes import POLICY_FAILED
from headgate.core.definition import PolicyUse
from headgate.core.errors import Invalid
from headgate.core.values import FILE_MARK, Assignment
from headgate.policies.allow_list import AllowList
from headgate.policies.chain import Chain, Link
from headgate.policies.own import made_policy, registered_policy
from headgate.policies.scrubber import Detect, Scrubber
from headgate.policies.scrubbing import Scrubs
from headgate.policies.token_budget import TokenBudget
from headgate.ports import Attempt
from headgate.ports.policy import Guard, Policy

__all__ = ["PolicyGuards", "process_policies"]

Options = dict[str, Any]

IN_THE_ENGINE = frozenset({"side_effects", "rate_limit"})
"""Policies that the engine keeps, before an attempt begins or before a call is admitted; there is nothing for them to
do in a worker."""

VARIABLE = "HEADGATE_POLICIES"
LEDGER_ONLY = frozenset({"token_budget", "side_effects", "allow_list", "rate_limit"})
"""Policies that need options, or a definition to hold for."""


def process_policies(environment: Mapping[str, str]) -> tuple[PolicyUse, ...]:
    """Return the policies of every call of a process: the names in `HEADGATE_POLICIES`, divided by commas.

    Raises `Invalid` for a name that is no policy which works without options.
    """
    names = [name.strip() for name in environment.get(VARIABLE, "").split(",")]
    for name in filter(None, names):
        if name in LEDGER_ONLY:
            raise Invalid(f"{VARIABLE}: {name} needs options; set it under `policies` of a definition.")
        if name not in BUILT_IN and ":" not in name:
            known = ", ".join(sorted(BUILT_IN.keys() - LEDGER_ONLY))
            raise Invalid(
                f"{VARIABLE}: there is no policy {name!r}. Known are {known}, and your own as package:policy."
            )
    return tuple(PolicyUse(name) for name in dict.fromkeys(filter(None, names)))


class PolicyGuards:
    """`ports.Guards`. `own` are policies of the user's own by name, beside those that packages have registered."""

    def __init__(self, own: Mapping[str, Any] | None = None) -> None:
        self._own = dict(own or {})

    def guard(self, task: Assignment) -> Guard | None:
        key = bytes.fromhex(task.settings.get("placeholder_key", ""))
        uses = cast("Sequence[Options]", task.settings.get("policies") or ())
        links = [link for use in uses if (link := self._link(use, key, task)) is not None]
        return Chain(links) if links else None

    def scrub(self, value: Any, policies: Sequence[Options], key: bytes) -> Any:
        _expect_no_file(value)
        for use in policies:
            value = SCRUBBERS[use["use"]](use.get("options", {}), key).scrubbed_value(value)
        return value

    def _link(self, use: Options, key: bytes, task: Assignment) -> Link | None:
        name, options = use["use"], use.get("options", {})
        if name in IN_THE_ENGINE:
            return None
        try:
            return Link(self._policy(name, options, key), use.get("dry_run", False))
        except Exception as error:
            message = f"{task.activity_key}: policy {name!r} cannot be used: {_reason(error)}"
            raise Attempt.failed(POLICY_FAILED, f"{message} No call is made without it.", retryable=False) from error

    def _policy(self, name: str, options: Options, key: bytes) -> Policy:
        make = BUILT_IN.get(name)
        if make is not None:
            return make(options, key)
        given = self._own.get(name)
        if given is None:
            given = registered_policy(name)
        if given is None:
            raise Invalid("this process has no policy of the name. Register it, or mend the name.")
        return made_policy(name, given, options)


def _expect_no_file(value: Any) -> None:
    if isinstance(value, dict):
        if FILE_MARK in value:
            raise Invalid("`scrub: input` does not look into files; give the text of this one, or do without `scrub`.")
        for part in cast("dict[str, Any]", value).values():
            _expect_no_file(part)
    elif isinstance(value, list):
        for part in cast("list[Any]", value):
            _expect_no_file(part)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, Invalid) else f"{type(error).__name__}: {error}."


# What finds things is loaded by whoever first needs it: its patterns take a while to compile.


def _detect(name: str, options: Options) -> Detect:
    if name == "pii":
        from headgate.policies.personal import detect_personal

        return detect_personal(options.get("kinds"))
    from headgate.policies.keys import detect_keys

    return detect_keys


def _injection(options: Options, key: bytes) -> Policy:
    from headgate.policies.injection import Injection

    return Injection(**options)


def _scrubs(name: str, options: Options, key: bytes) -> Policy:
    return Scrubs(name, _detect(name, options), key, restore=options.get("restore", True))


SCRUBBERS: dict[str, Callable[[Options, bytes], Scrubber]] = {
    name: lambda options, key, name=name: Scrubber(_detect(name, options), key) for name in ("pii", "secrets")
}

BUILT_IN: dict[str, Callable[[Options, bytes], Policy]] = {
    "pii": lambda options, key: _scrubs("pii", options, key),
    "secrets": lambda options, key: _scrubs("secrets", options, key),
    "injection": _injection,
    "allow_list": lambda options, key: AllowList(**options),
    "token_budget": lambda options, key: TokenBudget(),
}
