"""The activity `conversation`: what was said, kept beyond a run, and as much of it as a model can take.

`append` adds turns; a second execution finds them there and adds none. `history` reads the newest turns that fit, after
the summary of the older ones. `summarise` has a model condense what is older than the newest turns; where everything is
covered already it makes no call, so a second execution that comes after the summary was kept pays nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec

from headgate.activities.conversation_store import Conversations, Summary, Turn
from headgate.activities.llm_prompt import llm_prompt
from headgate.activities.parameters import wrong_parameters
from headgate.activities.targets import targets
from headgate.core.model_list import entries_of, read_entry
from headgate.ports import (
    NO_GUARDS,
    ActivityContext,
    ActivityFunction,
    Attempt,
    Guards,
    Message,
    ModelRequest,
    Providers,
    state_folder_of,
)

__all__ = ["conversation"]

_invalid = partial(wrong_parameters, "conversation")

ROLES = ("user", "assistant", "system")
ID_CHARACTERS_MAX = 200
TURNS_PER_CALL_MAX = 1_000
TURN_CHARACTERS_MAX = 200_000
HISTORY_TURNS_MAX = 1_000
TOKENS = 4_000
TOKENS_MAX = 10_000_000
KEEP = 6
SUMMARISED_CHARACTERS_MAX = 400_000
"""So much is condensed in one call, the oldest first; what is left is for the next one."""
SUMMARY_TOKENS = 500
SUMMARY_OPENING = "What was said before, in short:\n\n"
INSTRUCTION = (
    "Summarise this conversation in at most 12 sentences. Keep names, dates, numbers, decisions and open questions."
)
BYTES_PER_TOKEN = 3
MESSAGE_TOKENS = 4
"""The same upper estimate that reservations are made of, where no model is named."""
_KNOWN = {
    "append": frozenset({"role", "content", "turns"}),
    "history": frozenset({"tokens_max", "model"}),
    "summarise": frozenset({"model", "keep", "max_tokens", "instruction"}),
}

Count = Callable[[str, str], int]
"""Tokens of a message, by role and content."""


def conversation(providers: Providers, folder: Path, guards: Guards = NO_GUARDS) -> ActivityFunction:
    """Return the activity over these providers; conversations lie in `<folder>/conversations.db`.

    Results by `operation`: `append` gives `{conversation, positions, count}`; `history` gives `{messages, tokens,
    summary, left_out, count}`, of which `messages` is what `llm_prompt` takes; `summarise` gives `{summary, covers,
    summarised, left, cost_usd, …}` and, after a call, what `llm_prompt` tells of it. Raises `Attempt`:
    `invalid_parameters`, `conversation_full`, `empty_summary`, and what `llm_prompt` raises.
    """

    async def converse(parameters: dict[str, Any], ctx: ActivityContext) -> dict[str, Any]:
        given = {name: value for name, value in parameters.items() if value is not None}
        operation, id_ = _addressed(given)
        store = Conversations(state_folder_of(folder, ctx.task.tenant))
        if operation == "append":
            return await asyncio.to_thread(_append, store, id_, given, f"{ctx.task.workflow_id}/{ctx.task.place}")
        if operation == "history":
            return await asyncio.to_thread(_history, store, id_, _budget(given), _counting(given, providers))
        return await _Summarising(store, id_, given, llm_prompt(providers, guards), ctx).result()

    return converse


def _addressed(given: dict[str, Any]) -> tuple[str, str]:
    operation, id_ = given.get("operation"), given.get("conversation")
    if operation not in _KNOWN:
        raise _invalid(f"expected operation to be one of {', '.join(_KNOWN)}, got {operation!r}")
    unknown = sorted(given.keys() - _KNOWN[operation] - {"operation", "conversation"})
    if unknown:
        known = ", ".join(sorted(_KNOWN[operation]))
        raise _invalid(f"expected parameters of {known} for operation: {operation}, got {unknown[0]}")
    id_ = str(id_) if isinstance(id_, int) and not isinstance(id_, bool) else id_
    if not isinstance(id_, str) or not 0 < len(id_.strip()) <= ID_CHARACTERS_MAX:
        raise _invalid(f"expected conversation to be a text of 1 to {ID_CHARACTERS_MAX} characters")
    return operation, id_.strip()


# --- Append ----------------------------------------------------------------------------------------------------


def _append(store: Conversations, id_: str, given: dict[str, Any], key: str) -> dict[str, Any]:
    positions, count = store.append(id_, key, _turns(given))
    return {"conversation": id_, "positions": positions, "count": count}


def _turns(given: dict[str, Any]) -> list[Turn]:
    if ("turns" in given) == ("content" in given or "role" in given):
        raise _invalid("expected either role and content, or turns")
    if "turns" not in given:
        return [_turn("", given)]
    entries = given["turns"]
    if not isinstance(entries, list) or len(cast("list[Any]", entries)) > TURNS_PER_CALL_MAX:
        raise _invalid(f"expected turns to be a list of at most {TURNS_PER_CALL_MAX:,} maps of role and content")
    return [_turn(f"turns[{index}].", entry) for index, entry in enumerate(cast("list[Any]", entries))]


def _turn(where: str, entry: object) -> Turn:
    if not isinstance(entry, Mapping):
        raise _invalid(f"expected {where.rstrip('.')} to be a map of role and content, got {type(entry).__name__}")
    fields = cast("Mapping[str, Any]", entry)
    role, content = fields.get("role"), fields.get("content")
    if role not in ROLES:
        raise _invalid(f"expected {where}role to be one of {', '.join(ROLES)}, got {role!r}")
    text = content if isinstance(content, str) or content is None else msgspec.json.encode(content).decode()
    if not text or not text.strip():
        raise _invalid(f"expected {where}content to be a text, got {'null' if text is None else 'an empty one'}")
    if len(text) > TURN_CHARACTERS_MAX:
        raise _invalid(f"{where}content has {len(text):,} characters, the most is {TURN_CHARACTERS_MAX:,}")
    return Turn(role, text)


# --- History ---------------------------------------------------------------------------------------------------


def _budget(given: dict[str, Any]) -> int:
    return _whole(given, "tokens_max", TOKENS, 1, TOKENS_MAX)


def _counting(given: dict[str, Any], providers: Providers) -> Count:
    """Return what counts tokens: the provider of `model` where one is named, else our estimate from the bytes."""
    if "model" not in given:
        return _estimated
    try:
        entry = read_entry(entries_of(given["model"])[0])
    except (ValueError, IndexError):
        raise _invalid(f'expected model to be "provider/model", got {given["model"]!r}') from None
    (target,) = targets([entry], providers, "conversation")

    def counted(role: str, content: str) -> int:
        return target.provider.count(ModelRequest(model=target.model, messages=(Message(cast("Any", role), content),)))

    return counted


def _estimated(_role: str, content: str) -> int:
    return MESSAGE_TOKENS + math.ceil(len(content.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


def _history(store: Conversations, id_: str, tokens_max: int, count: Count) -> dict[str, Any]:
    summary = store.summary(id_)
    opening = _opening(summary)
    opening_tokens = sum(count(message["role"], message["content"]) for message in opening)
    if opening_tokens > tokens_max:  # better the newest turns than a summary alone
        opening, opening_tokens = [], 0
    after = summary.covers if summary else 0
    turns = store.newest(id_, after=after, count=HISTORY_TURNS_MAX)
    fitting, tokens = _fitting(turns, tokens_max - opening_tokens, count)
    last = turns[0].position if turns else after
    covered = after if opening else 0
    return {
        "conversation": id_,
        "messages": [*opening, *({"role": turn.role, "content": turn.content} for turn in fitting)],
        "tokens": tokens + opening_tokens,
        "summary": summary.content if summary else None,
        "left_out": last - covered - len(fitting),
        "count": last,
    }


def _opening(summary: Summary | None) -> list[dict[str, str]]:
    return [{"role": "system", "content": f"{SUMMARY_OPENING}{summary.content}"}] if summary else []


def _fitting(turns: list[Turn], tokens_max: int, count: Count) -> tuple[list[Turn], int]:
    """Return the newest turns that fit, in the order they were said.

    Where one was left out, what remains does not begin with an answer: its question would be missing.
    """
    fitting: list[tuple[Turn, int]] = []
    tokens = 0
    for turn in turns:
        size = count(turn.role, turn.content)
        if tokens + size > tokens_max:
            break
        fitting.append((turn, size))
        tokens += size
    while len(fitting) < len(turns) and fitting and fitting[-1][0].role == "assistant":
        tokens -= fitting.pop()[1]
    return [turn for turn, _ in reversed(fitting)], tokens


# --- Summarise -------------------------------------------------------------------------------------------------


class _Summarising:
    """One execution: what the summary covers, what has come since, and what of it is older than the newest turns."""

    def __init__(
        self, store: Conversations, id_: str, given: dict[str, Any], prompt: ActivityFunction, ctx: ActivityContext
    ) -> None:
        if "model" not in given:
            raise _invalid("expected model, who is to summarise")
        self.store = store
        self.id = id_
        self.keep = _whole(given, "keep", KEEP, 0, HISTORY_TURNS_MAX)
        instruction = given.get("instruction", INSTRUCTION)
        if not isinstance(instruction, str) or not instruction.strip():
            raise _invalid(f"expected instruction to be a text, got {type(instruction).__name__}")
        self.instruction = instruction
        self.asked = {"model": given["model"], "max_tokens": given.get("max_tokens", SUMMARY_TOKENS)}
        self.prompt = prompt
        self.ctx = ctx

    async def result(self) -> dict[str, Any]:
        before, turns, last = await asyncio.to_thread(self._older)
        if not turns:
            return self._told(before, 0, last, {"cost_usd": 0.0})
        parameters = {**self.asked, "prompt": self._question(before, turns)}
        answer = await cast("Any", self.prompt)(parameters, self.ctx)
        if not answer["content"].strip():
            message = f"conversation: {answer['model']} answered with no text; the summary is as it was."
            raise Attempt.failed("empty_summary", message)
        summary = Summary(turns[-1].position, answer["content"].strip())
        kept = await asyncio.to_thread(self.store.keep_summary, self.id, summary)
        names = ("cost_usd", "usage", "model", "provider", "finish_reason", "cache_hit", "simulated")
        return self._told(kept, len(turns), last, {name: answer[name] for name in names if name in answer})

    def _older(self) -> tuple[Summary | None, list[Turn], int]:
        """Return the summary there is, the turns to be condensed into it, and the position of the newest turn."""
        summary, last = self.store.summary(self.id), self.store.last(self.id)
        after = summary.covers if summary else 0
        if last - self.keep <= after:
            return summary, [], last
        turns = self.store.oldest(
            self.id, after=after, up_to=last - self.keep, characters_max=SUMMARISED_CHARACTERS_MAX
        )
        return summary, turns, last

    def _question(self, before: Summary | None, turns: list[Turn]) -> str:
        """Return the prompt. The turns stand in it as JSON without a `<`, so that nobody's words can end them."""
        earlier = [{"role": "system", "content": before.content}] if before else []
        said = [*earlier, *({"role": turn.role, "content": turn.content} for turn in turns)]
        material = msgspec.json.encode(said).decode().replace("<", "\\u003c")
        return f"{self.instruction}\n\n<conversation>\n{material}\n</conversation>"

    def _told(self, summary: Summary | None, summarised: int, last: int, call: dict[str, Any]) -> dict[str, Any]:
        covers = summary.covers if summary else 0
        return {
            "conversation": self.id,
            "summary": summary.content if summary else None,
            "covers": covers,
            "summarised": summarised,
            "left": last - covers,
            **call,
        }


def _whole(given: dict[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = given.get(name, default)
    if isinstance(value, float) and value.is_integer():  # templates that divide yield floats
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _invalid(f"expected {name} to be a whole number from {least} to {most:,}, got {value!r}")
    return value
