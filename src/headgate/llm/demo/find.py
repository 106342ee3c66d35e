"""Where a text gives a plain field's value: behind a caption, beside the field's words, or in a known
spot."""

from __future__ import annotations

import re
from math import fsum
from typing import Any

from headgate.llm.demo.answer import passages
from headgate.llm.demo.captions import Caption, captions, fit, known, meets
from headgate.llm.demo.fields import Field
from headgate.llm.demo.findings import Finding, Kind, findings, signed
from headgate.llm.demo.models import Model
from headgate.llm.demo.schema import Schema
from headgate.llm.demo.sentences import Part, sentences
from headgate.llm.demo.words import common, stem, stems, words

__all__ = ["FIT", "Finder", "apart", "value_type", "written_as_iso"]

FIT = 0.5
"""The fit from which a label is a field's label."""


class Finder:
    """Finds in one text what may be the value of a field."""

    def __init__(self, parts: tuple[Part, ...], model: Model) -> None:
        self.parts = parts
        self.text = "\n\n".join(part.text for part in parts)
        self.model = model
        self.captions = captions(self.text)

    def candidates(self, field: Field, shape: Schema) -> list[Any]:
        """Return what may be the field's value, the surest first."""
        found = self._from_captions(field, shape)
        if field.kind in ("person", None) and set(field.words) & _ADDRESSEES and not found:
            found += [one.value for one in findings("email", self.text)]
        if field.kind in ("person", None) and set(field.words) & _SIGNERS:
            found += signed(self.text)
        if field.kind is not None:
            found += self._from_context(field, shape)
        if set(field.words) & _ISSUERS:
            found += self._letterhead()
        if field.words[-1] in ("title", "subject", "headline", "heading"):
            found += [s.text for s in sentences(self.parts) if s.is_heading][:1]
        if value_type(shape) == "string" and field.kind in (None, "place", "identifier"):
            found += self._beside_name(field)
        if value_type(shape) == "string" and field.kind is None:
            asked = " ".join((*field.words, field.description))
            found += [one.sentence.text for one in passages(asked, self.parts, self.model)]
        return found

    def _from_captions(self, field: Field, shape: Schema) -> list[Any]:
        wants = list(field.qualifiers or field.words)
        scored = [(self._caption_fit(field, wants, caption), index) for index, caption in enumerate(self.captions)]
        values: list[Any] = []
        for score, index in sorted(scored, key=lambda one: (-one[0], one[1])):
            if score >= FIT:
                values += self._of_caption(self.captions[index], field, shape)
        return values

    def _caption_fit(self, field: Field, wants: list[str], caption: Caption) -> float:
        score = fit(wants, caption.label)
        generic = not field.qualifiers or not _strict(field)
        if score < FIT and generic and field.kind is not None:
            whole = fit(list(field.words), caption.label)
            only = len(words(caption.label)) == 1 and field.kind != "identifier"
            plain = field.kind in ("date", "datetime", "amount") and set(stems(caption.label)) <= {
                "date",
                "datum",
                "amount",
                "betrag",
            }
            score = max(score, whole if only else 0.0, FIT if plain else 0.0)
        return score + 0.01 * fit(list(field.words), caption.label)

    def _of_caption(self, caption: Caption, field: Field, shape: Schema) -> list[Any]:
        text = caption.value
        if value_type(shape) in ("number", "integer"):
            return [
                one.value
                for one in self._within(caption, field.kind if field.kind in ("amount", "percent") else "number")
            ]
        if field.kind in ("person", "company", "place", None):
            return [_clean(text, field)]
        if field.kind == "identifier" and findings("date", text):
            return []
        found = self._within(caption, field.kind)
        if not found and field.kind == "identifier" and len(text.split()) == 1:
            return [text]
        as_value = written_as_iso(field) or field.kind == "currency"
        return [one.value if as_value else one.shown for one in found]

    def _within(self, caption: Caption, kind: Kind) -> list[Finding]:
        """Return what a caption's value holds, read by the habits of the whole text: its decimals, its
        order of dates."""
        found = [one for one in findings(kind, self.text) if caption.start <= one.start and one.end <= caption.end]
        return found or findings(kind, caption.value)

    def _from_context(self, field: Field, shape: Schema) -> list[Any]:
        assert field.kind is not None
        found = apart(findings(field.kind, self.text)) if field.kind != "identifier" else self._identifiers()
        if field.kind == "currency":
            found = sorted(found, key=lambda one: (-sum(one.value == other.value for other in found), one.start))
        text_wanted = value_type(shape) == "string" and not written_as_iso(field) and field.kind != "currency"
        scored = [(self.nearness(one, field), one) for one in found]
        if field.qualifiers:
            near = sorted((one for one in scored if one[0] > 0), key=lambda one: (-one[0], one[1].start))
            lone = len({str(one.value) for one in found}) == 1 and not _strict(field) and field.kind in _LONE
            scored = near or [(0.0, one) for one in found[:1] if lone and not self._captioned(one)]
        return [one.shown if text_wanted else one.value for _, one in scored]

    def _letterhead(self) -> list[str]:
        """Return the company that the first lines name: who issues an invoice or writes a letter."""
        top = "\n".join(self.text.strip().split("\n")[:3])
        return [one.shown for one in findings("company", top) if not self._captioned(one)]

    def _identifiers(self) -> list[Finding]:
        taken = [other for kind in ("date", "email", "url", "iban", "phone") for other in findings(kind, self.text)]
        return [
            one
            for one in findings("identifier", self.text)
            if not any(t.start < one.end and one.start < t.end for t in taken)
        ]

    def _captioned(self, one: Finding) -> bool:
        return any(caption.start <= one.start < caption.end and known(caption.label) for caption in self.captions)

    def nearness(self, one: Finding, field: Field) -> float:
        """Return how near the field's words stand to a finding, in its sentence and before it above all; 0
        for not there."""
        if not field.qualifiers:
            return 1.0
        begin, end = _sentence_around(self.text, one)
        before = list(reversed(_telling(self.text[begin : one.start])))[: 4 if field.kind == "identifier" else 10]
        after = _telling(self.text[one.end : end])
        after = after[: 0 if field.kind == "identifier" else 5]
        scores: list[float] = []
        for word in field.qualifiers:
            left = max((meets(word, other) / (2 + place) for place, other in enumerate(before)), default=0.0)
            right = max((meets(word, other) / (3 + place) for place, other in enumerate(after)), default=0.0)
            scores.append(max(left, right))
        met = sum(score > 0 for score in scores)
        if any(not score and word in _strict(field) for word, score in zip(field.qualifiers, scores, strict=True)):
            return 0.0
        if field.kind == "identifier" and met:
            scores.append(
                max((meets("number", other) / (2 + place) for place, other in enumerate(before)), default=0.0)
            )
        return round(fsum(scores), 9) if met * 2 >= len(field.qualifiers) else 0.0

    def _beside_name(self, field: Field) -> list[str]:
        """Return what prose puts beside the field's name: `the colour is green`, `colour green`, `named
        Ada`."""
        name = r"[\s_-]+".join(re.escape(word) for word in field.words)
        value = r"[\"“']?((?:[A-ZÄÖÜ0-9][\w’'./-]*(?: (?=[A-ZÄÖÜ0-9]))?)+|[^\s,;.:!?\"”]+)"
        shown = [
            m.group(1).rstrip(".")
            for m in re.finditer(
                (
                    rf"(?i:\b{name})\s*(?:(?i:is|are|was|were|=|:|of|named|called)\s+)(?!(?i:the|a|an|"
                    rf"not|to|in|on)\b){value}"
                ),
                self.text,
            )
        ]
        return shown or [
            m.group(1) for m in re.finditer(rf"(?i:\b{name})[ ]+[\"“']?((?=[A-Z0-9])[\w’'./-]+)", self.text)
        ]


_SIGNERS = frozenset(["customer", "client", "user", "sender", "author", "writer", "signatory", "signer", "reporter"])
_ADDRESSEES = frozenset(["to", "cc", "bcc", "recipient"])
_ISSUERS = frozenset(["vendor", "supplier", "seller", "merchant", "issuer", "company", "biller"])
_STRICT_WORDS = """
due delivery deliver shipping shipped birth birthday dob born end expiry expires expiration start begin
effective paid
signed signature order tax vat net subtotal discount mobile fax deadline issued issue cancelled
"""
_STRICT = frozenset(_STRICT_WORDS.split())
"""Words that tell a field from others of its kind: without them in the text, a thing of the kind is
something else."""
_ROLES = frozenset(["vendor", "supplier", "seller", "customer", "client", "buyer", "tenant", "landlord", "employer"])
"""The same, for people and companies."""
_LONE_WORDS = """
date datetime amount email phone url percent person company iban uuid postal time
"""
_LONE = frozenset(_LONE_WORDS.split())


def _sentence_around(text: str, one: Finding) -> tuple[int, int]:
    """Return where the sentence of a finding begins and ends; `Nr.`, `No.` and `3.` end none."""
    borders = r"\n|(?<=[^\W\d_]{4})[.;!?]\s|[;!?]\s|(?<=\d)\.\s(?=[A-ZÄÖÜ])(?!\w+\s\d{4})"
    begin = max((match.end() for match in re.finditer(borders, text[: one.start])), default=0)
    after = re.search(borders, text[one.end :])
    return begin, one.end + after.start() if after else len(text)


def _telling(text: str) -> list[str]:
    kept = ("from", "to", "by", "until", "bis", "before")
    return [stem(word) for word in words(text) if word in kept or not common(word)]


def _strict(field: Field) -> frozenset[str]:
    roles = _ROLES if field.kind in ("person", "company") else frozenset[str]()
    return (_STRICT | roles) & frozenset(field.qualifiers)


def written_as_iso(field: Field) -> bool:
    return field.kind in ("date", "datetime", "time")


def apart(found: list[Finding]) -> list[Finding]:
    kept: list[Finding] = []
    for one in found:
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return kept


def _clean(text: str, field: Field) -> str:
    """Take a caption's value up to where something else begins: another column, an address, a bracket."""
    shown = re.split(r"\s{3,}|\t|\s\|\s|\s*<", text)[0]
    if field.kind in ("person", "company"):
        shown = (
            re.split(r"\s*[(,;]|\s+[-–]\s+|\.\s", shown + " ")[0]
            if not re.search(r", (?:Inc|LLC|Ltd)", shown)
            else shown
        )
    return shown.strip().rstrip(";,")


def value_type(shape: Schema) -> str:
    types = shape.get("type", "string")
    return next((one for one in types if one != "null"), "null") if isinstance(types, list) else types
