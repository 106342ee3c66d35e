"""The text of figures is what Prometheus' own client reads, whatever stands in labels."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from headgate.engine.exposition import OTHER, SERIES_MAX, Counts, Durations, Family, Metric, Sample, text_of

REQUESTS = Metric("requests_total", "counter", "Requests.", ("route", "status"))
SECONDS = Metric("took_seconds", "histogram", "How long it took.")


def read(*families: Family) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text_of(families))
        for sample in family.samples
    }


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)


@example('a "b" \\n\n', "of\nlines \\", math.inf)
@given(TEXTS, TEXTS, st.floats(allow_nan=False))
def test_whatever_stands_in_labels_and_help_is_read_back(route: str, about: str, value: float):
    metric = Metric("requests", "gauge", about, ("route",))

    (family,) = text_string_to_metric_families(text_of([Family(metric, [Sample((route,), value)])]))

    assert family.type == "gauge"
    assert [(sample.labels, sample.value) for sample in family.samples] == [({"route": route}, value)]


def test_a_counter_adds_up_by_its_labels():
    counts = Counts(REQUESTS)
    for status in ("200", "200", "404"):
        counts.add("GET /x", status)
    counts.add("GET /x", "200", amount=0.5)

    found = read(counts.family())

    assert found == {
        ("requests_total", (("route", "GET /x"), ("status", "200"))): 2.5,
        ("requests_total", (("route", "GET /x"), ("status", "404"))): 1,
    }


def test_beyond_the_most_labels_what_is_new_is_counted_together():
    counts = Counts(REQUESTS)
    for number in range(SERIES_MAX + 7):
        counts.add(str(number), "200")
    counts.add("0", "200")

    found = {sample.labels: sample.value for sample in counts.family().samples}

    assert len(found) == SERIES_MAX + 1
    assert found[OTHER, OTHER] == 7
    assert found["0", "200"] == 2


def test_a_histogram_counts_what_took_as_long_or_less():
    durations = Durations(SECONDS, (0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 20.0):
        durations.add(seconds)

    found = read(durations.family())

    buckets = {dict(labels)["le"]: value for (name, labels), value in found.items() if name == "took_seconds_bucket"}
    assert buckets == {"0.1": 2, "1": 3, "+Inf": 4}
    assert found["took_seconds_count", ()] == 4
    assert found["took_seconds_sum", ()] == pytest.approx(20.65)
    assert math.isfinite(found["took_seconds_sum", ()])
