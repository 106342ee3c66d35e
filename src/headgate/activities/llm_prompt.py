"""The activity `llm_prompt`: one question to a model, through the gate, and its answer as data.

It reads the parameters, has the call made (`gated_call`: admission, fallback, settlement) and makes the
answer into the result. An answer that does not fit its `response_schema` fails the attempt after it is
paid for: it was made.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Any

import msgspec

from headgate.activities.call_cost import max_cost_of
from headgate.activities.gated_call import Answered, ask_first_available, asked_hash
from headgate.activities.policed import Policed
from headgate.activities.prompt_parameters import models_of, request_of
from headgate.activities.targets import Target, targets
from headgate.activities.tenant_providers import providers_of
from headgate.core.json_schema import problems_with
from headgate.core.money import dollars
from headgate.core.token_budget import MAX_TOKENS_UNDER_BUDGET
from headgate.core.values import Usage
from headgate.ports import (
    NO_GUARDS,
    ActivityContext,
    ActivityFunction,
    Attempt,
    Guards,
    Hit,
    Kept,
    ModelAnswer,
    ModelRequest,
    ProviderError,
    Providers,
)

__all__ = ["llm_prompt", "usage_fields"]

PIECES_MAX = 1_000
PIECE_CHARACTERS_MIN = 64
"""How a reused answer is streamed: in pieces of so many characters, larger ones where it would be more pieces."""
WHOLE = frozenset({"Stop", "ToolUse"})
"""How answers end that may be kept: neither cut nor filtered."""
_FENCED = re.compile(r"```[\w-]*[ \t]*\n(.*?)\n?```", re.DOTALL)


def llm_prompt(providers: Providers, guards: Guards = NO_GUARDS) -> ActivityFunction:
    """Return the activity over these providers, by the names that models begin with.

    It raises `Attempt`: `invalid_parameters` (not retryable, before the gate is asked), what the gate
    or a policy denied with, the provider's code when every model failed, or `invalid_response` (retryable).
    """

    async def prompt(parameters: dict[str, Any], policed: Policed) -> Any:
        max_cost = max_cost_of(parameters, "llm_prompt")
        under_budget = policed.ctx.task.budget_remaining_nano is not None or max_cost is not None
        default = MAX_TOKENS_UNDER_BUDGET if under_budget else None
        if "images" in parameters or "messages" in parameters:  # which may name files
            request = await asyncio.to_thread(request_of, parameters, max_tokens_default=default)
        else:
            request = request_of(parameters, max_tokens_default=default)
        entries = {entry.model: entry for entry in reversed(models_of(parameters))}
        named = [entry.model for entry in models_of(parameters)]
        own = providers_of(policed.ctx.task, providers)
        request, allowed = await policed.allowed(request, named, own)
        chosen = [entries.get(name, name) for name in allowed]
        wanted = targets(chosen, own, "llm_prompt", _tier_of(request))
        return await _Prompt(policed, request, max_cost).result(wanted)

    async def guarded(parameters: dict[str, Any], ctx: ActivityContext) -> Any:
        policed = Policed(guards, ctx)
        with policed.clean_failures():
            return await prompt(parameters, policed)

    return guarded


def _tier_of(request: ModelRequest) -> str:
    """Return the service tier that a request asks for in its vendor's words; empty: the standard one."""
    asked = request.extra.get("service_tier") or request.extra.get("speed")
    return asked if isinstance(asked, str) else ""


class _Prompt:
    """One attempt."""

    def __init__(self, policed: Policed, request: ModelRequest, max_cost: int | None = None) -> None:
        self.policed = policed
        self.ctx = policed.ctx
        self.max_cost = max_cost
        self.request = request
        self.said = False
        """Whether text has gone out that a further try must not be glued to."""
        self.given: ModelAnswer | None = None
        """The newest answer as the model gave it, before the policies."""

    async def result(self, wanted: tuple[Target, ...]) -> Any:
        answered = await ask_first_available(
            *(self.ctx, wanted),
            request=self.request,
            size=self._size,
            call=self._call,
            reuse=(asked_hash(self.request),) if self.ctx.task.settings.get("cache_calls") else (),
            keep=self._kept,
            max_cost=self.max_cost,
        )
        if isinstance(answered, Hit):
            return self._reused(answered, wanted)
        self.policed.insist()
        return self._shown(answered)

    def _shown(self, answered: Answered[ModelAnswer]) -> dict[str, Any]:
        result = _result(answered, self._parsed(answered.answer))
        if answered.answer.tool_calls and self.policed.tainted:
            result["tainted"] = True
        return result

    def _kept(self, answer: ModelAnswer) -> tuple[Kept, ...]:
        """Return what equal calls may have in the place of an answer of their own: nothing, where it is of no use.

        It is the answer as the model gave it: what the policies make of it, they make of a kept one too.
        """
        if answer.finish_reason not in WHOLE or self.given is None or not self.policed.may_be_kept(self.given):
            return ()
        try:
            self._parsed(answer)
        except Attempt:
            return ()
        return (Kept(msgspec.to_builtins(self.given)),)

    def _reused(self, hit: Hit, wanted: tuple[Target, ...]) -> dict[str, Any]:
        """Return the result of an equal call: the same, streamed as it was, and free."""
        answer = msgspec.convert(hit.answers[0], ModelAnswer)
        target = next(target for target in wanted if target.name == hit.model)
        if self.ctx.task.streaming:
            size = max(PIECE_CHARACTERS_MIN, -(-len(answer.content) // PIECES_MAX))
            for start in range(0, len(answer.content), size):
                self.ctx.stream(answer.content[start : start + size])
        answer = self.policed.answered(answer)
        self.policed.insist()
        price = target.price
        simulated = bool(price and price.simulated)
        return {**self._shown(Answered(target, answer, answer.usage, 0, simulated, ())), "cache_hit": True}

    def _size(self, target: Target) -> tuple[int, int]:
        counted = target.provider.count(msgspec.structs.replace(self.request, model=target.model))
        return counted, self.request.max_tokens or 0

    async def _call(self, target: Target, seconds: float) -> ModelAnswer:
        request = msgspec.structs.replace(
            self.request,
            model=target.model,
            # Neither belongs to what is asked, so neither is in the hash.
            activity_key=self.ctx.task.activity_key,
            timeout_seconds=seconds,
        )
        asked = self._streamed(target, request) if self.ctx.task.streaming else target.provider.request(request)
        self.given = await asked
        return self.policed.answered(self.given)

    async def _streamed(self, target: Target, request: ModelRequest) -> ModelAnswer:
        if self.said:
            self.ctx.restart_stream()
        self.said = False
        stream = target.provider.stream(request)
        answer: ModelAnswer | None = None
        try:
            async for item in stream:
                if isinstance(item, ModelAnswer):
                    answer = item
                else:
                    self.said = True
                    self.ctx.stream(item)
        finally:
            close = getattr(stream, "aclose", None)  # generators have it; the port does not ask for it
            if close is not None:
                await close()
        if answer is None:
            message = f"{target.name} ended its stream without an answer."
            raise ProviderError(message, code="malformed_response", retryable=True)
        return answer

    def _parsed(self, answer: ModelAnswer) -> Any:
        """Return the answer's JSON, checked, where a schema was given."""
        schema = self.request.response_schema
        if schema is None or (answer.tool_calls and not answer.content.strip()):
            return None
        value = _json_of(answer.content)
        if value is msgspec.UNSET:
            raise _not_fitting(answer, f"no JSON ({len(answer.content)} characters of text)")
        problems = problems_with(value, schema)
        if problems:
            raise _not_fitting(answer, "; ".join(problems))
        return value


def _json_of(content: str) -> Any:
    """Return the JSON value that the text is, or that its first fenced block holds, or UNSET."""
    fenced = _FENCED.search(content)
    for text in (content, *(fenced.groups() if fenced else ())):
        with suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(text)
    return msgspec.UNSET


def _not_fitting(answer: ModelAnswer, what: str) -> Attempt:
    why = {
        "MaxTokens": " It was cut at max_tokens: set more of them.",
        "ContentFilter": " The provider's content filter stopped it.",
    }.get(answer.finish_reason, "")
    message = f"{answer.model} answered with what does not fit response_schema: {what}.{why}"
    return Attempt.failed("invalid_response", message)


# --- Results -------------------------------------------------------------------------------------------


def _result(answered: Answered[ModelAnswer], parsed: Any) -> dict[str, Any]:
    answer = answered.answer
    result: dict[str, Any] = {
        "content": answer.content,
        "parsed": parsed,
        "tool_calls": [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in answer.tool_calls],
        "model": answer.model,
        "provider": answered.target.provider_name,
        "finish_reason": answer.finish_reason,
        "cost_usd": dollars(answered.cost),
        "usage": usage_fields(answered.usage),
        "cache_hit": False,
        "budget_skipped_models": list(answered.budget_skipped),
    }
    if answer.reasoning:
        result["reasoning"] = answer.reasoning
    if answer.tool_calls and answer.thoughts:  # else nothing goes back that they belong to
        result["thoughts"] = [msgspec.to_builtins(thought) for thought in answer.thoughts]
    if answer.notes:
        result["notes"] = list(answer.notes)
    if answered.simulated:
        result["simulated"] = True
    return result


def usage_fields(usage: Usage) -> dict[str, int]:
    """Return the usage as results show it; what few calls have is there where it is not nothing."""
    rare = {
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "audio_input_tokens": usage.audio_input_tokens,
        "audio_output_tokens": usage.audio_output_tokens,
        "cached_audio_tokens": usage.cache_read_audio_tokens,
    }
    return {
        "prompt_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "cached_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        **{name: tokens for name, tokens in rare.items() if tokens},
    }
