"""Figures as values, and the text that Prometheus reads of them (its exposition format 0.0.4). Pure.

The text is written by hand: it is three kinds of line, and a library for it would bring a registry for the whole
process, where each engine has its own figures.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

__all__ = ["CONTENT_TYPE", "OTHER", "SERIES_MAX", "Counts", "Durations", "Family", "Metric", "Sample", "text_of"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SERIES_MAX = 1_000
"""Of one metric. What has further labels is counted under `OTHER`."""
OTHER = "other"


class Metric(msgspec.Struct, frozen=True):
    """What is measured, and by which labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One figure. `labels` are the values of the metric's; `suffix` and `le` are a histogram's."""

    labels: tuple[str, ...]
    value: float
    suffix: str = ""
    le: str = ""


class Family(NamedTuple):
    """A metric and its figures."""

    metric: Metric
    samples: Sequence[Sample]


class Counts:
    """A counter: it only grows. Of at most `SERIES_MAX` labels; the rest is counted together."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._counts: dict[tuple[str, ...], float] = {}

    def add(self, *labels: str, amount: float = 1) -> None:
        if labels not in self._counts and len(self._counts) >= SERIES_MAX:
            labels = (OTHER,) * len(labels)
        self._counts[labels] = self._counts.get(labels, 0) + amount

    def family(self) -> Family:
        return Family(self._metric, [Sample(labels, value) for labels, value in self._counts.items()])


class Durations:
    """A histogram of seconds."""

    def __init__(self, metric: Metric, bounds: Sequence[float]) -> None:
        self._metric = metric
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def family(self) -> Family:
        samples: list[Sample] = []
        total = 0
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            samples.append(Sample((), total, "_bucket", _number(bound)))
        return Family(self._metric, [*samples, Sample((), self._sum, "_sum"), Sample((), total, "_count")])


def text_of(families: Iterable[Family]) -> str:
    """Return the figures as text. A metric without figures is named all the same."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    metric = family.metric
    yield f"# HELP {metric.name} {_escaped(metric.about)}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for sample in family.samples:
        pairs = [*zip(metric.labels, sample.labels, strict=True), *((("le", sample.le),) if sample.le else ())]
        labels = ",".join(f'{name}="{_escaped(value, quoted=True)}"' for name, value in pairs)
        yield f"{metric.name}{sample.suffix}{'{' + labels + '}' if labels else ''} {_number(sample.value)}"


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
