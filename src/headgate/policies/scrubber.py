"""Finds what must not leave in texts and JSON values, in whatever form it stands, and puts placeholders there.

`detect` says what is found in a plain text; here are the forms that a text may have, and what is done with the finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from headgate.policies.forms import ENCODED_LEVELS_MAX, Form, encoded_runs, forms_of
from headgate.policies.placeholders import PLACEHOLDER, Vault, is_placeholder

__all__ = ["Detect", "Scrubber", "Span"]

KNOWN_MAX = 200
"""Beside so many values in one text, those of earlier texts are not looked for again."""
AGAIN_LENGTH_MIN = 6
"""A shorter value may stand somewhere else by chance."""
CLEAN_MAX = 1_000
"""So many short texts with nothing in them are remembered for an attempt; the rest is looked at each time."""
CLEAN_LENGTH_MAX = 64
DIGITS_MIN = 7
"""A shorter number in a JSON value is nobody's."""


class Span(NamedTuple):
    """What stands from `start` to `end` of a text."""

    start: int
    end: int
    kind: str


Detect = Callable[[str], Iterable[Span]]


class Scrubber:
    """One per attempt and policy. `counts` says how often each kind was found since it was last asked."""

    def __init__(self, detect: Detect, key: bytes) -> None:
        self._detect = detect
        self.vault = Vault(key)
        self.counts: dict[str, int] = {}
        self._clean = {""}
        """Short texts with nothing in them: the names and types of a schema come again and again."""

    # --- Texts ---------------------------------------------------------------------------------------------------

    def scrubbed(self, text: str) -> str:
        """Return the text with placeholders in it. What is one already stays."""
        spans = self.find(text)
        return self.rendered(text, spans, 0, len(text)) if spans else text

    def find(self, text: str) -> list[Span]:
        """Return what is found, in order, none within another."""
        found = [] if text in self._clean else self._detected(text)
        found += self._again(text, found)
        if not found:
            return found
        kept = [(one.start(), one.end()) for one in PLACEHOLDER.finditer(text) if is_placeholder(one[0])]
        return _apart(found, kept)

    def rendered(self, text: str, spans: Iterable[Span], start: int, end: int) -> str:
        """Return a part of the text with placeholders where the spans are."""
        pieces: list[str] = []
        at = start
        for span in spans:
            if span.end <= at or span.start >= end:
                continue
            begin = max(span.start, at)
            pieces += [text[at:begin], self.vault.placeholder(span.kind, text[begin : span.end])]
            self.counts[span.kind] = self.counts.get(span.kind, 0) + 1
            at = span.end
        pieces.append(text[at:end])
        return "".join(pieces)

    def taken_counts(self) -> dict[str, int]:
        """Return what was found by kind, and begin anew."""
        counts, self.counts = self.counts, {}
        return dict(sorted(counts.items()))

    def _detected(self, text: str) -> list[Span]:
        found = [span for form in forms_of(text) for span in self._in_form(form)]
        found += self._encoded(text, ENCODED_LEVELS_MAX)
        if not found and len(text) <= CLEAN_LENGTH_MAX and len(self._clean) < CLEAN_MAX:
            self._clean.add(text)
        return found

    def _in_form(self, form: Form) -> Iterable[Span]:
        for span in self._detect(form.text):
            start, end = form.span(span.start, span.end)
            yield Span(start, end, span.kind)

    def _encoded(self, text: str, levels: int) -> list[Span]:
        """Return the runs that hold something when they are decoded, each as a whole."""
        found: list[Span] = []
        for start, end, said in encoded_runs(text):
            kind = next((kind for one in said if (kind := self._held_by(one, levels - 1))), None)
            if kind is not None:
                found.append(Span(start, end, kind))
        return found

    def _again(self, text: str, found: list[Span]) -> list[Span]:
        """Return where a value stands once more that was found here, or in an earlier text: without the words, perhaps,
        that gave it away there."""
        values = {text[span.start : span.end]: span.kind for span in found}
        if len(values) < KNOWN_MAX:
            values |= self.vault.values
        more: list[Span] = []
        for value, kind in values.items():
            at = text.find(value) if len(value) >= AGAIN_LENGTH_MIN else -1
            while at >= 0:
                more.append(Span(at, at + len(value), kind))
                at = text.find(value, at + len(value))
        return more

    def _held_by(self, text: str, levels: int) -> str | None:
        for form in forms_of(text):
            for span in self._detect(form.text):
                return span.kind
        if levels:
            for span in self._encoded(text, levels):
                return span.kind
        return None

    # --- JSON ----------------------------------------------------------------------------------------------------

    def scrubbed_value(self, value: Any) -> Any:
        """Return a JSON value with every text in it scrubbed, keys too; a number that is found becomes a text."""
        if isinstance(value, str):
            return self.scrubbed(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return self._scrubbed_number(value)
        if isinstance(value, dict):
            fields = cast("dict[Any, Any]", value)
            return {self.scrubbed_value(name): self.scrubbed_value(part) for name, part in fields.items()}
        if isinstance(value, list | tuple):
            return [self.scrubbed_value(part) for part in cast("Iterable[Any]", value)]
        return value

    def _scrubbed_number(self, value: int) -> int | str:
        if abs(value) < 10**DIGITS_MIN:
            return value
        scrubbed = self.scrubbed(str(value))
        return value if scrubbed == str(value) else scrubbed

    def restored_value(self, value: Any) -> Any:
        """Return a JSON value with the originals in its texts."""
        if isinstance(value, str):
            return self.vault.restored(value)
        if isinstance(value, dict):
            fields = cast("dict[Any, Any]", value)
            return {self.restored_value(name): self.restored_value(part) for name, part in fields.items()}
        if isinstance(value, list | tuple):
            return [self.restored_value(part) for part in cast("Iterable[Any]", value)]
        return value


def _apart(found: list[Span], kept: list[tuple[int, int]]) -> list[Span]:
    """Return the spans in order, those that overlap as one (of the kind of the longest), without what is to be kept."""
    merged: list[Span] = []
    longest = 0
    for span in sorted(set(found)):
        if any(start < span.end and span.start < end for start, end in kept):
            continue
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            kind = span.kind if span.end - span.start > longest else last.kind
            merged[-1] = Span(last.start, max(last.end, span.end), kind)
        else:
            merged.append(span)
            longest = 0
        longest = max(longest, span.end - span.start)
    return merged
