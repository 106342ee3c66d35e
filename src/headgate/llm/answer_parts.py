"""An answer being put together, whoever its provider is: all of it at once, or event by event.

A vendor's reader says what has come (`say`, `think`, `call`, `finish`, `reported`); here it becomes a `ModelAnswer`.
Calls and thoughts have numbers, for streams bring them in pieces: what has the same number is one. No I/O here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from headgate.core.values import Usage
from headgate.llm.provider_errors import malformed
from headgate.ports import FinishReason, ModelAnswer, Thought, ToolCall

__all__ = ["AnswerParts", "Told"]


class Told(msgspec.Struct, frozen=True):
    """An error that came inside an answer, as the vendor tells it."""

    status: int
    said: object


class _Call(msgspec.Struct):
    id: str = ""
    name: str = ""
    arguments: list[str] = []


class _Thought(msgspec.Struct):
    kind: str
    texts: list[str] = []
    seals: list[str] = []
    call: int | None = None
    """The number of the call that it stands before; None: it stands before the text."""


class AnswerParts:
    """What has come of an answer of `provider`; `who` names the model and the host in errors, `reasons` are the
    vendor's words for how an answer ends.

    `answered`: there is an answer to read. `finished`: its end was told; without that a stream was cut. `ended`:
    nothing more is to come. `output_reported`: `reported` counts what came out, and not only what went in.
    """

    def __init__(self, who: str, provider: str = "", reasons: Mapping[str, FinishReason] | None = None) -> None:
        self.who = who
        self.model = ""
        self.tier = ""
        self.report: dict[str, object] = {}
        """The report of usage in the vendor's words, where it comes in parts."""
        self.output_reported = True
        self.error: Told | None = None
        self.answered = False
        self.ended = False
        self._reported: Usage | None = None
        self._unread: Callable[[], Usage | None] | None = None
        self._provider = provider
        self._reasons = reasons or {}
        self._end: str | None = None
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._thoughts: dict[int, _Thought] = {}
        self._loose: list[_Thought] = []
        """Thoughts that nothing has come after yet."""
        self._calls: dict[int, _Call] = {}

    # --- What comes -----------------------------------------------------------------------------------

    def say(self, text: str) -> str:
        """Take in a piece of text, and return it."""
        if text:
            self._texts.append(text)
            self._loose.clear()
        return text

    def refuse(self, text: str) -> None:
        """Take in a text with which the model declines."""
        if text:
            self._refusals.append(text)

    def think(self, text: str, number: int = 0, *, seal: str = "", kind: str = "") -> None:
        """Take in a piece of thinking, or what its vendor seals it with."""
        if not text and not seal:
            return
        thought = self._thoughts.get(number)
        if thought is None:
            thought = self._thoughts[number] = _Thought(kind)
            self._loose.append(thought)
        if text:
            thought.texts.append(text)
        if seal:
            thought.seals.append(seal)

    def call(self, number: int, call_id: str | None, name: str | None, arguments: object = None) -> None:
        """Take in a call of a tool, or a piece of one; arguments are JSON in pieces, or a whole value."""
        call = self._calls.get(number)
        if call is None:
            call = self._calls[number] = _Call()
            for thought in self._loose:
                thought.call = number
            self._loose.clear()
        call.id, call.name = call.id or call_id or "", call.name or name or ""
        if arguments is not None:
            call.arguments.append(arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode())

    def report_later(self, read: Callable[[], Usage | None]) -> None:
        """Take in a report of usage that `read` returns: of a vendor who reports with every event, only the last is."""
        self._unread = read

    def finish(self, reason: str) -> None:
        """Take in the vendor's word for how the answer ended."""
        self._end = reason

    # --- How far it has come --------------------------------------------------------------------------

    @property
    def reported(self) -> Usage | None:
        """What was used, as far as it was reported and makes sense."""
        if self._unread is not None:
            self._reported, self._unread = self._unread() or self._reported, None
        return self._reported

    @reported.setter
    def reported(self, usage: Usage | None) -> None:
        self._reported = usage

    @property
    def calls(self) -> int:
        return len(self._calls)

    @property
    def thoughts(self) -> int:
        return len(self._thoughts)

    @property
    def finished(self) -> bool:
        return self._end is not None

    @property
    def begun(self) -> bool:
        """Say whether the model has produced anything."""
        return bool(self._texts or self._refusals or self._thoughts or self._calls)

    @property
    def content(self) -> str:
        return "".join(self._texts) or "".join(self._refusals)

    @property
    def delivered(self) -> str:
        """All that has come so far: thinking, texts, and the arguments of calls."""
        pieces = [piece for number in sorted(self._calls) for piece in self._calls[number].arguments]
        return "".join([self._reasoning, *self._texts, *self._refusals, *pieces])

    @property
    def _reasoning(self) -> str:
        return "".join(piece for thought in self._thoughts.values() for piece in thought.texts)

    # --- The whole ------------------------------------------------------------------------------------

    def answer(self, model: str, count: Callable[[str, Sequence[ToolCall]], Usage]) -> ModelAnswer:
        """Return the whole answer; `count` makes the usage where none was reported.

        Raises `ProviderError` (`malformed_response`), with the reported usage, for calls that cannot be read.
        """
        try:
            calls = {number: self._read_call(number) for number in sorted(self._calls)}
        except msgspec.DecodeError as error:
            broken = malformed(f"{self.who} asked for a tool with arguments that are no JSON object: {error}")
            broken.usage = self.reported
            raise broken from None
        name = self.model or model
        told = self.reported
        usage = told if told and (told.input_tokens or told.output_tokens) else count(self._made, (*calls.values(),))
        return ModelAnswer(
            content=self.content,
            model=name,
            usage=msgspec.structs.replace(usage, model=name),
            finish_reason=self._reason(called=bool(calls)),
            tool_calls=(*calls.values(),),
            reasoning=self._reasoning,
            thoughts=tuple(self._sealed(calls)),
        )

    @property
    def _made(self) -> str:
        return self._reasoning + self.content

    def _read_call(self, number: int) -> ToolCall:
        call = self._calls[number]
        text = "".join(call.arguments)
        arguments = msgspec.json.decode(text, type=dict[str, Any]) if text.strip() else {}
        if not call.name:
            raise msgspec.DecodeError("it names no tool")
        return ToolCall(call.id or f"call_{number}", call.name, arguments)

    def _reason(self, *, called: bool) -> FinishReason:
        if self._refusals and not self._texts:
            return "ContentFilter"
        reason = self._reasons.get(self._end, "Error") if self._end else "Stop"
        return "ToolUse" if reason == "Stop" and called else reason

    def _sealed(self, calls: Mapping[int, ToolCall]) -> list[Thought]:
        """Return the thoughts that their vendor wants back: it has sealed them."""
        return [
            Thought(
                provider=self._provider,
                text="".join(thought.texts),
                seal="".join(thought.seals),
                kind=thought.kind,
                call="" if thought.call is None else calls[thought.call].id,
            )
            for _, thought in sorted(self._thoughts.items())
            if thought.seals
        ]
