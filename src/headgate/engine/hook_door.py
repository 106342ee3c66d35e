"""The door that hooks stand open at: a request is checked, and becomes a run or a signal, each once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

import msgspec

from headgate.core.errors import Invalid, Refused
from headgate.engine.engine import Engine
from headgate.engine.hook_request import CompiledHook, Wanted, compiled_hook, is_authentic, wanted
from headgate.engine.hooks import Hooks, labels_of
from headgate.engine.signal_with_start import SignalSent, signal_keyed, signal_with_start
from headgate.engine.start import Start
from headgate.ports import Hook, RunRow

__all__ = ["BadSignature", "HookDoor", "Taken"]

COMPILED_MAX = 1_000


class BadSignature(Refused):
    """There is no such hook, or the request does not come from somebody who knows its secret: which, is not said."""

    code = "bad_signature"


class Taken(msgspec.Struct, frozen=True):
    """What became of a request: the run that it started or signalled; empty: the hook's filter did not want it."""

    run: str


class HookDoor:
    """One per engine."""

    def __init__(self, engine: Engine, hooks: Hooks) -> None:
        self._engine = engine
        self._hooks = hooks
        self._compiled: OrderedDict[tuple[str, str, int], CompiledHook] = OrderedDict()

    async def take(self, tenant: str, name: str, headers: Mapping[str, str], body: bytes) -> Taken:
        """Do what the hook says, once for each delivery; return when that is durable. Raises `BadSignature`, and what
        starting and signalling raise."""
        found = await self._hooks.opened(tenant, name)
        at_seconds = self._engine.clock.now() // 1_000_000
        if found is None or not found[0].enabled or not is_authentic(found[0], headers, body, at_seconds=at_seconds):
            raise BadSignature("There is no such hook, or the request is not signed as it wants it.")
        hook, revision = found
        asked = wanted(hook, self._compile(hook, revision), headers, body)
        return Taken("" if asked is None else (await self._caused(hook, asked)).id)

    def _compile(self, hook: Hook, revision: int) -> CompiledHook:
        key = (hook.tenant, hook.name, revision)
        if key not in self._compiled:
            self._compiled[key] = compiled_hook(hook)
            if len(self._compiled) > COMPILED_MAX:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return self._compiled[key]

    async def _caused(self, hook: Hook, asked: Wanted) -> RunRow:
        start = Start(
            workflow=hook.workflow,
            version=hook.version or None,
            input=asked.input,
            tenant=hook.tenant,
            unique_key=asked.unique_key,
            labels=labels_of(hook),
            command_id=_command_id(hook, asked.delivery),
            actor=f"hook:{hook.name}",
        )
        if not hook.signal:
            return await self._started(start)
        if not asked.unique_key:
            raise Invalid("the hook's unique_key came to nothing for this request, so no run is meant")
        signal = SignalSent(hook.signal, hook.activity_key, asked.data)
        if hook.workflow:
            return await signal_with_start(self._engine, start, signal)
        return await signal_keyed(self._engine, start, signal)

    async def _started(self, start: Start) -> RunRow:
        """Start a run; where one holds the key already, that is the run that is meant."""
        try:
            return await self._engine.start(start)
        except Refused:
            holder = (
                await self._engine.log.run_by_unique_key(start.tenant, start.unique_key) if start.unique_key else None
            )
            if holder is None:
                raise
            return holder


def _command_id(hook: Hook, delivery: str) -> str:
    """Return the id under which repeats of a delivery are known; it has a bounded length, whatever the sender says."""
    return f"hook:{hook.name}:{hashlib.sha256(delivery.encode()).hexdigest()[:32]}" if delivery else ""
