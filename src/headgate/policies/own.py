"""Policies of the user's own: functions, classes or objects, from packages (entry points) or given in Python.

A package registers one under the group `headgate.policies`; a definition names it as the entry point does, or by the
object that it names: `use: mypackage.rules:no_competitors`. What is not registered is not loaded, whatever is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from headgate.ports.model import ModelAnswer, ModelRequest
from headgate.ports.policy import Allow, Decision, Modify, Policy, PolicyCall

__all__ = ["GROUP", "made_policy", "registered_policy"]

GROUP = "headgate.policies"


def registered_policy(name: str) -> Any:
    """Return what an installed package has registered under a name, or None."""
    found = next((one for one in _registered() if name in (one.name, one.value)), None)
    return None if found is None else found.load()


@cache
def _registered() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def made_policy(name: str, given: Any, options: Mapping[str, Any]) -> Policy:
    """Return the policy that a registered thing is: a class is made with the options, a function is called with them,
    an object takes none. Raises `TypeError` for what is none of these."""
    if inspect.isclass(given):
        given = given(**options)
    elif callable(given) and not hasattr(given, "on_request"):
        return _Function(name, given, dict(options))
    elif options:
        raise TypeError(f"policy {name!r} takes no options, got {', '.join(options)}")
    if not callable(getattr(given, "on_request", None)):
        raise TypeError(f"policy {name!r} has no on_request(call)")
    return _Named(name, given)


class _Function:
    """A function of a call as a policy."""

    def __init__(self, name: str, function: Any, options: dict[str, Any]) -> None:
        self.name = name
        self._function = function
        self._options = options

    def on_request(self, call: PolicyCall) -> Decision:
        return _decision(self._function(call, **self._options))


class _Named:
    """An object as a policy, under the name that the definition knows it by."""

    def __init__(self, name: str, policy: Any) -> None:
        self.name = name
        self._policy = policy
        for optional in ("on_answer", "text_filter", "message"):
            if hasattr(policy, optional):
                setattr(self, optional, getattr(policy, optional))

    def on_request(self, call: PolicyCall) -> Decision:
        return _decision(self._policy.on_request(call))


def _decision(returned: Any) -> Any:
    """Return what was decided: nothing at all allows, a changed request or answer is a `Modify`."""
    if returned is None:
        return Allow()
    return Modify(returned) if isinstance(returned, ModelRequest | ModelAnswer) else returned
