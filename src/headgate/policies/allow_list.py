"""The policy `allow_list`: which models may be asked at all."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from headgate.ports.policy import Allow, Decision, Deny, Modify, PolicyCall

__all__ = ["AllowList"]


class AllowList:
    """Models by patterns such as `openai/*`: only those of `models` (all, where it is empty), and none of `deny`.

    Of a list of models the others are passed over; where none is left, the call is denied.
    """

    name = "allow_list"

    def __init__(self, models: Sequence[str] = (), deny: Sequence[str] = ()) -> None:
        self._models = tuple(models)
        self._deny = tuple(deny)

    def on_request(self, call: PolicyCall) -> Decision:
        left = tuple(name for name in call.models if self._allows(name))
        if len(left) == len(call.models):
            return Allow()
        if left:
            return Modify(models=left, details={"passed_over": len(call.models) - len(left)})
        allowed = f"it allows {', '.join(self._models)}" if self._models else "it allows others"
        without = f" without {', '.join(self._deny)}" if self._deny else ""
        return Deny(f"{', '.join(call.models)} may not be asked; {allowed}{without}")

    def _allows(self, name: str) -> bool:
        wanted = not self._models or any(fnmatchcase(name, pattern) for pattern in self._models)
        return wanted and not any(fnmatchcase(name, pattern) for pattern in self._deny)
