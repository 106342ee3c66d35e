"""What a run may be started with, whoever asks and through whichever door."""

from __future__ import annotations

import re
from collections.abc import Mapping

from headgate.core.definition import Definition
from headgate.core.errors import Invalid
from headgate.core.money import NANO, USD_MAX, show
from headgate.engine.start import Start

__all__ = ["check_labels", "check_limit", "check_start"]

UNIQUE_KEY_CHARACTERS_MAX = 500
TRACE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
"""What can stand in a header and in a line of a log."""
SHOWN_CHARACTERS_MAX = 100


def check_start(start: Start, definition: Definition) -> None:
    """Raise `Invalid` for a start that no run can have."""
    if len(start.unique_key) > UNIQUE_KEY_CHARACTERS_MAX:
        raise Invalid(
            f"expected unique_key to be at most {UNIQUE_KEY_CHARACTERS_MAX} characters, got {len(start.unique_key)}"
        )
    if start.trace_id and not TRACE_ID.fullmatch(start.trace_id):
        shown = start.trace_id[:SHOWN_CHARACTERS_MAX]
        raise Invalid(f"expected trace_id to be at most 128 letters, digits and -_.:, got {shown!r}")
    check_limit(start.limit)
    if start.labels:
        check_labels({**definition.labels, **start.labels})


def check_limit(limit: int | None) -> None:
    """Raise `Invalid` for a budget (nano-dollars) that is none."""
    if limit is not None and not 0 <= limit <= USD_MAX * NANO:
        raise Invalid(f"expected the budget to be 0 to {USD_MAX:,} US dollars, got {show(limit)}")


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise `Invalid` for more, or longer, labels than a run can have; those of its definition count."""
    from headgate.authoring.check_bounds import LABEL_NAME_MAX, LABEL_VALUE_MAX, LABELS_MAX

    if len(labels) > LABELS_MAX:
        raise Invalid(f"expected at most {LABELS_MAX} labels, those of the definition included, got {len(labels)}")
    for name, value in labels.items():
        if not 0 < len(name) <= LABEL_NAME_MAX:
            raise Invalid(f"expected the name of a label to be 1 to {LABEL_NAME_MAX} characters, got {len(name)}")
        if len(value) > LABEL_VALUE_MAX:
            raise Invalid(f"expected the label {name!r} to be at most {LABEL_VALUE_MAX} characters, got {len(value)}")
