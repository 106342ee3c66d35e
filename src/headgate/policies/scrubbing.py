"""The policies `pii` and `secrets`: what must not leave is replaced before a call, and put back into its answer.

With `restore: false` the answer keeps its placeholders, and what the model says of its own that must not be known
(an address that it makes up, or remembers) is replaced in it too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.policies.scrubber import Detect, Scrubber
from headgate.policies.text_filters import Restoring, Scrubbing
from headgate.ports.model import Message, ModelAnswer, ModelRequest, Thought, ToolCall
from headgate.ports.policy import Allow, Decision, Modify, PolicyCall, TextFilter

__all__ = ["Scrubs"]


class Scrubs:
    """One of the two, for one attempt."""

    def __init__(self, name: str, detect: Detect, key: bytes, *, restore: bool = True) -> None:
        self.name = name
        self._scrubber = Scrubber(detect, key)
        self._restore = restore

    def on_request(self, call: PolicyCall) -> Decision:
        changed = self._scrubbed_request(call.request)
        counts = self._scrubber.taken_counts()
        return Modify(changed, "replaced by placeholders", details=counts) if counts else Allow()

    def on_answer(self, call: PolicyCall, answer: ModelAnswer) -> Decision:
        if self._restore:
            changed = self._restored_answer(answer)
            return Allow() if changed == answer else Modify(changed, "placeholders replaced by what they stand for")
        changed = self._scrubbed_answer(answer)
        counts = self._scrubber.taken_counts()
        return Modify(changed, "replaced by placeholders", details=counts) if counts else Allow()

    def text_filter(self) -> TextFilter:
        return Restoring(self._scrubber.vault.restored) if self._restore else Scrubbing(self._scrubber)

    def message(self, text: str) -> str:
        scrubbed = self._scrubber.scrubbed(text)
        self._scrubber.taken_counts()
        return scrubbed

    # --- Requests ------------------------------------------------------------------------------------------------

    def _scrubbed_request(self, request: ModelRequest) -> ModelRequest:
        value = self._scrubber.scrubbed_value
        return msgspec.structs.replace(
            request,
            messages=tuple(self._scrubbed_message(message) for message in request.messages),
            stop_sequences=tuple(value(request.stop_sequences)),
            response_schema=value(request.response_schema),
            tools=tuple(value(request.tools)),
            tool_choice=value(request.tool_choice),
            extra=value(request.extra),
        )

    def _scrubbed_message(self, message: Message) -> Message:
        scrubbed = self._scrubber.scrubbed
        return msgspec.structs.replace(
            message,
            content=scrubbed(message.content),
            tool_calls=tuple(self._scrubbed_call(call) for call in message.tool_calls),
            tool_call_id=scrubbed(message.tool_call_id),
            images=tuple(url if url.startswith("data:") else scrubbed(url) for url in message.images),
            thoughts=self._clean(message.thoughts),
        )

    def _scrubbed_call(self, call: ToolCall) -> ToolCall:
        return _with_arguments(call, self._scrubber.scrubbed_value(call.arguments))

    # --- Answers -------------------------------------------------------------------------------------------------

    def _restored_answer(self, answer: ModelAnswer) -> ModelAnswer:
        if self._scrubber.vault.empty:
            return answer
        restored = self._scrubber.restored_value
        return msgspec.structs.replace(
            answer,
            content=self._restored_content(answer.content),
            reasoning=restored(answer.reasoning),
            tool_calls=tuple(_with_arguments(call, restored(call.arguments)) for call in answer.tool_calls),
        )

    def _restored_content(self, content: str) -> str:
        """Return the content; where it is JSON, and an original has what JSON writes otherwise, as JSON again."""
        restored = self._scrubber.vault.restored(content)
        if restored == content or content.lstrip()[:1] not in ("{", "["):
            return restored
        try:
            value = msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError):
            return restored
        whole = self._scrubber.restored_value(value)
        try:
            return restored if msgspec.json.decode(restored) == whole else msgspec.json.encode(whole).decode()
        except msgspec.DecodeError:
            return msgspec.json.encode(whole).decode()

    def _scrubbed_answer(self, answer: ModelAnswer) -> ModelAnswer:
        return msgspec.structs.replace(
            answer,
            content=self._scrubber.scrubbed(answer.content),
            reasoning=self._scrubber.scrubbed(answer.reasoning),
            tool_calls=tuple(self._scrubbed_call(call) for call in answer.tool_calls),
            thoughts=self._clean(answer.thoughts),
        )

    def _clean(self, thoughts: tuple[Thought, ...]) -> tuple[Thought, ...]:
        """Return the thoughts that hold nothing to be replaced: a seal holds for the text as it is, or not at all."""
        return tuple(thought for thought in thoughts if self._scrubber.scrubbed(thought.text) == thought.text)


def _with_arguments(call: ToolCall, arguments: Any) -> ToolCall:
    return msgspec.structs.replace(call, arguments=arguments)
