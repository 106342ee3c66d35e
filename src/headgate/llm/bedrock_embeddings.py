"""Vectors from models that AWS serves: each maker has a form of its own, and some take one text per request. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headgate.core.values import Usage
from headgate.llm.provider_errors import malformed, refused_here
from headgate.llm.usage_reports import is_count
from headgate.llm.vectors import Vectors

__all__ = ["embedding_bodies", "read_vectors"]

MAKER = re.compile(r"(?:[a-z-]+\.)?(?P<begin>amazon\.titan-embed|amazon\.nova|cohere\.embed)")
COUNT_HEADER = "x-amzn-bedrock-input-token-count"


class _Vector(msgspec.Struct):
    embedding: tuple[float, ...]


class _Found(msgspec.Struct, rename="camel"):
    """Titan's one vector, Nova's list of one, Cohere's list of vectors or its map of such lists."""

    embedding: tuple[float, ...] | None = None
    embeddings: Any = None
    input_text_token_count: Any = None


def embedding_bodies(model: str, inputs: Sequence[str]) -> list[tuple[dict[str, Any], Sequence[str]]]:
    """Return the bodies that it takes, each with its texts. Raises `ProviderError` for a model of another form."""
    found = MAKER.match(model)
    match found["begin"] if found is not None else "":
        case "amazon.titan-embed":
            normal = {} if "text-v1" in model else {"normalize": True}
            return [({"inputText": text, **normal}, (text,)) for text in inputs]
        case "amazon.nova":
            return [(_nova(text), (text,)) for text in inputs]
        case "cohere.embed":
            return [({"texts": list(inputs), "input_type": "search_document", "truncate": "NONE"}, inputs)]
        case _:
            raise refused_here(
                "missing_capability",
                f"{model} was not asked: of the models that AWS serves, amazon.titan-embed…, amazon.nova… and "
                "cohere.embed… are asked for vectors.",
            )


def _nova(text: str) -> dict[str, Any]:
    asked = {"embeddingPurpose": "GENERIC_INDEX", "text": {"value": text, "truncationMode": "NONE"}}
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": asked}


def read_vectors(data: bytes, headers: Mapping[str, str], expected: int, who: str) -> Vectors:
    """Return the vectors. Raises `ProviderError` (`malformed_response`), with the usage where it was reported."""
    try:
        found = msgspec.json.decode(data, type=_Found)
        vectors = _vectors(found)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"{who} answered with something that is no list of embeddings: {error}") from None
    usage = _usage(headers.get(COUNT_HEADER, ""), found.input_text_token_count)
    if len(vectors) != expected or not all(vectors):
        broken = malformed(f"{who} was asked for {expected} embeddings and answered with {len(vectors)}.")
        broken.usage = usage
        raise broken
    return Vectors(vectors, usage)


def _vectors(found: _Found) -> tuple[tuple[float, ...], ...]:
    if found.embedding is not None:
        return (found.embedding,)
    listed: Any = found.embeddings
    if isinstance(listed, dict):
        listed = listed.get("float")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        return tuple(vector.embedding for vector in msgspec.convert(listed, list[_Vector]))
    return msgspec.convert(listed, tuple[tuple[float, ...], ...])


def _usage(header: str, counted: object) -> Usage | None:
    tokens = int(header) if header.isdecimal() else counted
    return Usage(input_tokens=int(tokens)) if is_count(tokens) and isinstance(tokens, int | float) else None
