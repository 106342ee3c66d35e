"""AWS Bedrock as the fake server speaks it: Converse, ConverseStream in frames, InvokeModel for embeddings."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from tests.llm.fakes.server import Reply, Seen, json_reply

from headgate.core.values import Usage
from headgate.testing.provider_conformance import Said

STREAM = {"content-type": "application/vnd.amazon.eventstream", "x-amzn-requestid": "r-1"}
ENDS = {
    "Stop": "end_turn",
    "MaxTokens": "max_tokens",
    "ToolUse": "tool_use",
    "ContentFilter": "content_filtered",
    "unheard of": "solar_flare",
}
REFUSALS: dict[str, tuple[int, str, str]] = {
    "authentication": (403, "AccessDeniedException", "You don't have access to the model with the specified model ID."),
    "content_filter": (400, "ValidationException", "The input was blocked by the content filtering policy."),
    "context_too_long": (400, "ValidationException", "Input is too long for requested model."),
    "invalid_request": (400, "ValidationException", "A conversation must start with a user message."),
    "not_found": (400, "ValidationException", "The provided model identifier is invalid."),
    "provider_unavailable": (503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
    "quota_exhausted": (400, "ServiceQuotaExceededException", "Your account's quota is used up."),
    "rate_limited": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
}
NONSENSE: tuple[object, ...] = (
    {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0},
    {},
    {"inputTokens": -11, "outputTokens": 7, "totalTokens": 18},
    {"inputTokens": 11, "outputTokens": 10**15, "totalTokens": 18},
    {"inputTokens": 11, "totalTokens": 18},
    {"inputTokens": "11", "outputTokens": "7", "totalTokens": "18"},
    {"inputTokens": 11.5, "outputTokens": 7, "totalTokens": 18},
    "many",
)


def usage_of(usage: Any) -> Any:
    """Bedrock counts what a cache read and wrote beside the input."""
    if not isinstance(usage, Usage):
        return usage
    written = usage.cache_write_tokens + usage.cache_write_1h_tokens
    reported: dict[str, Any] = {
        "inputTokens": usage.input_tokens - usage.cache_read_tokens - written,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.input_tokens + usage.output_tokens,
        "cacheReadInputTokens": usage.cache_read_tokens,
        "cacheWriteInputTokens": written,
    }
    if written:
        kept = {"5m": usage.cache_write_tokens, "1h": usage.cache_write_1h_tokens}
        reported["cacheDetails"] = [{"ttl": ttl, "inputTokens": count} for ttl, count in kept.items()]
    return reported


def message(said: Said) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if said.reasoning:
        content.append({"reasoningContent": {"reasoningText": {"text": said.reasoning, "signature": "c2lnbmVk"}}})
    if said.texts:
        content.append({"text": "".join(said.texts)})
    content += [{"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}} for call in said.calls]
    body: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": ENDS[said.finish],
        "metrics": {"latencyMs": 5},
    }
    return body | ({} if said.usage is None else {"usage": usage_of(said.usage)})


def whole(said: Said) -> Reply:
    return json_reply(message(said), headers={"x-amzn-requestid": "r-1"})


def frame(kind: str, payload: Any, *, message_type: str = "event") -> bytes:
    """Return a frame of AWS's event stream: length, length of headers, sum, headers, payload, sum."""
    named = "event-type" if message_type == "event" else "exception-type"
    headers = {f":{named}": kind, ":content-type": "application/json", ":message-type": message_type}
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + len(value).to_bytes(2) + value.encode()
        for name, value in headers.items()
    )
    body = json.dumps(payload).encode()
    prelude = (len(head) + len(body) + 16).to_bytes(4) + len(head).to_bytes(4)
    data = prelude + zlib.crc32(prelude).to_bytes(4) + head + body
    return data + zlib.crc32(data).to_bytes(4)


def delta(index: int, **fields: Any) -> bytes:
    return frame("contentBlockDelta", {"contentBlockIndex": index, "delta": fields})


def texts(said: Said) -> list[bytes]:
    frames = [frame("messageStart", {"role": "assistant"})]
    index = 0
    if said.reasoning:
        frames.append(delta(0, reasoningContent={"text": said.reasoning}))
        frames.append(delta(0, reasoningContent={"signature": "c2lnbmVk"}))
        frames.append(frame("contentBlockStop", {"contentBlockIndex": 0}))
        index = 1
    return [*frames, *(delta(index, text=text) for text in said.texts)]


def ending(said: Said) -> list[bytes]:
    frames: list[bytes] = []
    index = 1 if said.reasoning else 0
    if said.texts:
        frames.append(frame("contentBlockStop", {"contentBlockIndex": index}))
        index += 1
    for number, call in enumerate(said.calls, index):
        start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
        frames.append(frame("contentBlockStart", {"contentBlockIndex": number, "start": start}))
        arguments = json.dumps(call.arguments) if call.arguments else ""
        frames += [delta(number, toolUse={"input": part}) for part in (arguments[:5], arguments[5:])]
        frames.append(frame("contentBlockStop", {"contentBlockIndex": number}))
    frames.append(frame("messageStop", {"stopReason": ENDS[said.finish]}))
    reported = {} if said.usage is None else {"usage": usage_of(said.usage)}
    return [*frames, frame("metadata", {**reported, "metrics": {"latencyMs": 5}})]


def failure_inside() -> list[bytes]:
    text = {"message": "Bedrock is unable to process your request."}
    return [frame("serviceUnavailableException", text, message_type="exception")]


def refusal(code: str) -> Reply:
    status, kind, text = REFUSALS[code]
    headers = {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/", "x-amzn-requestid": "r-1"}
    headers |= {"retry-after": "7"} if code == "rate_limited" else {}
    return json_reply({"message": text}, status=status, headers=headers)


def embeddings(vectors: Sequence[Sequence[float]], tokens: int) -> list[Callable[[Seen], Reply]]:
    """Titan embeds one text per request, and several at a time; it reports the tokens in a header and in the body."""
    share, rest = divmod(tokens, len(vectors))

    def embed(seen: Seen) -> Reply:
        number = ("first", "second").index(seen.body["inputText"].split()[0])
        count = share + (1 if number < rest else 0)
        body = {"embedding": list(vectors[number]), "inputTextTokenCount": count}
        return json_reply(body, headers={"x-amzn-bedrock-input-token-count": str(count)})

    return [embed]
