"""The built-in activities as facts: what each is called, returns and may repeat. What runs them is elsewhere."""

from __future__ import annotations

from typing import Literal

import msgspec

from headgate.core.definition import Backoff

__all__ = ["BUILTINS", "Builtin", "default_backoff", "output_name"]

Repeatable = Literal["safe", "unless_sent"]
Native = Literal["", "wait", "approval", "transform", "workflow", "signal"]

SAFE = Backoff(max_attempts=4)
ONCE = Backoff(max_attempts=1)


class Builtin(msgspec.Struct, frozen=True):
    """What is known of a built-in activity before it runs.

    `parameters` are the names it takes (None: any). `native` activities are carried out by the engine and never take
    a worker's slot. `repeatable`: "safe" ones are attempted four times unless the definition says otherwise.
    """

    name: str
    output: str
    queue: str = "std"
    parameters: frozenset[str] | None = None
    required: frozenset[str] = frozenset()
    native: Native = ""
    repeatable: Repeatable = "safe"
    secrets: bool = True
    """False: the parameters become the output, so a secret in them would be stored; `check` refuses it."""


def _builtin(name: str, output: str, parameters: str | None = None, required: str = "", **rest: object) -> Builtin:
    known = None if parameters is None else frozenset(f"{parameters} {required}".split())
    return msgspec.convert(
        {"name": name, "output": output, "parameters": known, "required": frozenset(required.split()), **rest}, Builtin
    )


_LLM = (
    "system_prompt max_tokens temperature top_p stop_sequences tools tool_choice response_schema images documents "
    "reasoning seed extra drop_unsupported prompt messages"
)

BUILTINS: dict[str, Builtin] = {
    builtin.name: builtin
    for builtin in (
        _builtin("echo", "echo", secrets=False),
        _builtin("transform", "result", native="transform", secrets=False),
        _builtin("wait", "result", "seconds duration until", native="wait", secrets=False),
        _builtin(
            "approval",
            "result",
            "title body show form approvers timeout on_timeout",
            native="approval",
            secrets=False,
        ),
        _builtin(
            "http_request",
            "response",
            "method headers query body form raw multipart timeout_seconds include_body download_to_file fail_on",
            "url",
        ),
        _builtin("llm_prompt", "result", _LLM, "model"),
        _builtin("embedding", "result", "batch_size", "model input"),
        _builtin("script", "result", queue="py-std"),
    )
}


def output_name(activity: str) -> str:
    """Return the name under which an activity's result is always reachable (`response`, `echo`, else `result`)."""
    builtin = BUILTINS.get(activity)
    return builtin.output if builtin else "result"


def default_backoff(activity: str) -> Backoff:
    """Return the attempts of an activity whose definition has no `retry` block: four for what can safely run twice.

    A request that is not GET counts as safe here, for the activity itself says when it may be sent again: only when it
    certainly did not leave.
    """
    builtin = BUILTINS.get(activity)
    return SAFE if builtin is not None and builtin.repeatable == "safe" else ONCE
