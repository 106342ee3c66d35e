"""Requests for vectors, and what comes of them: one for all texts, or one for each. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headgate.core.values import Usage
from headgate.ports import EmbeddingAnswer, ProviderError

__all__ = ["EmbeddingAsked", "Vectors", "joined"]


class EmbeddingAsked(msgspec.Struct, frozen=True):
    """One request for the vectors of `texts`."""

    url: str
    body: dict[str, Any]
    texts: Sequence[str]


class Vectors(msgspec.Struct, frozen=True):
    """What came of one request for vectors, in the order of its texts."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None
    """None: none was reported that makes sense."""
    model: str = ""


def joined(model: str, outcomes: Sequence[EmbeddingAnswer | BaseException]) -> EmbeddingAnswer:
    """Return the answers of several requests as one. Raises the first error, with the usage of all."""
    answers = [outcome for outcome in outcomes if isinstance(outcome, EmbeddingAnswer)]
    usage = _sum_of([answer.usage for answer in answers])
    for failure in outcomes:
        if isinstance(failure, ProviderError) and answers:
            failure.usage = _sum_of([usage, failure.usage or Usage()])
        if isinstance(failure, BaseException):
            raise failure
    name = answers[0].model if answers else model
    return EmbeddingAnswer(
        embeddings=tuple(vector for answer in answers for vector in answer.embeddings),
        model=name,
        usage=msgspec.structs.replace(usage, model=name),
        rates=answers[-1].rates if answers else None,
    )


def _sum_of(usages: Sequence[Usage]) -> Usage:
    """Return what several requests for vectors used: input, and that of a cache."""
    if len(usages) == 1:
        return usages[0]
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cache_read_tokens=sum(usage.cache_read_tokens for usage in usages),
        estimated=any(usage.estimated for usage in usages),
    )
