"""The built-in activities as facts: what each is called, returns and may repeat. What runs them is elsewhere."""

from __future__ import annotations

from typing import Literal

import msgspec

from headgate.core.definition import Backoff

__all__ = ["BUILTINS", "MODEL_CALLERS", "MODEL_CALLS", "Builtin", "default_backoff", "output_name"]

Repeatable = Literal["safe", "unless_sent"]
Native = Literal["", "wait", "approval", "transform", "workflow", "signal"]

SAFE = Backoff(max_attempts=4)
ONCE = Backoff(max_attempts=1)

MODEL_CALLS = frozenset({"llm_prompt", "embedding"})
"""Those that are one call of a model: its price can be told beforehand, and the output says what it cost."""
MODEL_CALLERS = MODEL_CALLS | {"vector_index", "vector_search", "conversation"}
"""Those that call models."""


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
    """False: the parameters are stored, as its output or elsewhere; `check` refuses a secret in them."""
    fields: frozenset[str] | None = None
    """The fields of its output; None: any."""
    takes_files: bool = False
    """Its parameters are given file values as such; others are given the text of a text file."""


def _builtin(name: str, output: str, parameters: str | None = None, required: str = "", **rest: object) -> Builtin:
    known = None if parameters is None else frozenset(f"{parameters} {required}".split())
    return msgspec.convert(
        {"name": name, "output": output, "parameters": known, "required": frozenset(required.split()), **rest}, Builtin
    )


_RESPONSE = ("status", "success", "body", "headers")
_ANSWER = (
    *("content", "parsed", "tool_calls", "model", "provider", "finish_reason", "cost_usd", "usage", "cache_hit"),
    *("budget_skipped_models", "simulated", "tainted", "thoughts"),
)
_VECTORS = ("embeddings", "embedding_count", "model", "provider", "usage", "cost_usd", "simulated")
_DOCUMENT = ("text", "pages", "page_count", "empty_pages", "title", "media_type", "name", "characters")
_INDEXED = ("collection", "model", "indexed", "unchanged", "embedded", "count", "cost_usd", "usage", "simulated")
_FOUND = ("matches", "count", "collection", "mode", "model", "cost_usd", "usage", "simulated")
_DECISION = ("approved", "by", "at", "comment", "data")

_LLM = (
    "system_prompt max_tokens temperature top_p stop_sequences tools tool_choice response_schema images documents "
    "reasoning seed extra drop_unsupported prompt messages template max_cost"
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
            "title body show form approvers timeout on_timeout remind_after",
            native="approval",
            secrets=False,
            fields=_DECISION,
        ),
        _builtin(
            "http_request",
            "response",
            "method headers query body form raw multipart timeout_seconds include_body download_to_file fail_on",
            "url",
            fields=_RESPONSE,
        ),
        _builtin("llm_prompt", "result", _LLM, "model", fields=_ANSWER),
        _builtin("embedding", "result", "batch_size max_cost", "model input", fields=_VECTORS),
        _builtin(
            "email_send",
            "result",
            "text_body html_body cc bcc reply_to",
            "smtp_url from to subject",
            fields=("success", "message_id", "accepted", "refused"),
        ),
        _builtin(
            "file_read",
            "result",
            "as encoding",
            "file",
            fields=("content", "name", "size", "media_type"),
            takes_files=True,
        ),
        _builtin(
            "file_write",
            "result",
            "encoding if_exists",
            "path content",
            secrets=False,
            fields=("path", "size", "file"),
        ),
        _builtin("postgres_query", "result", "params", "db_url query"),
        _builtin("postgres_transaction", "result", "isolation_level", "db_url statements"),
        _builtin("sqlite_query", "result", "params", "db_url query"),
        _builtin("text_split", "result", "size overlap by", "text", fields=("parts", "count", "places")),
        _builtin("document_text", "result", "file content media_type", fields=_DOCUMENT, takes_files=True),
        _builtin(
            "vector_index",
            "result",
            "items texts places metadata replace",
            "collection model",
            secrets=False,
            fields=_INDEXED,
        ),
        _builtin("vector_search", "result", "top mode min_score where", "collection query", fields=_FOUND),
        _builtin(
            "conversation",
            "result",
            "role content turns tokens_max model keep max_tokens instruction",
            "conversation operation",
            secrets=False,
        ),
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
