"""Fields of a JSON schema, filled from a text.

A value comes from a caption that means the field, or is a thing of the field's kind with the field's words
beside it.
A field that is not found is null where the schema allows that, left out where it may be, and else the
request is
refused: nothing is made up. What is answered is valid against the schema.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import msgspec

from headgate.llm.demo.answer import passages
from headgate.llm.demo.captions import fit, meets
from headgate.llm.demo.classify import Label, Verdict, ranked
from headgate.llm.demo.fields import Field, field_of
from headgate.llm.demo.find import FIT, Finder, apart, value_type, written_as_iso
from headgate.llm.demo.findings import findings
from headgate.llm.demo.intent import Amount
from headgate.llm.demo.keywords import key_phrases
from headgate.llm.demo.models import Model
from headgate.llm.demo.refusal import cannot
from headgate.llm.demo.rows import Row, blocks, line_items, listed, tables
from headgate.llm.demo.schema import Schema, nullable, problem, resolved, unwrapped
from headgate.llm.demo.seeds import seeds_for
from headgate.llm.demo.sentences import Part, sentences
from headgate.llm.demo.summarise import summarise
from headgate.llm.demo.words import common, language, name_words, stem, stems, words

__all__ = ["MISSING", "Reader", "fill"]

MISSING: Any = msgspec.UNSET
"""What stands for a value that the text does not give."""

_SPOKEN = 2.0
"""The evidence from which a flag such as `is_urgent` is raised without its own word."""
_DEPTH_MAX = 12
_LIST_MAX = 200


def fill(schema: Schema, parts: tuple[Part, ...], model: Model, question: str = "") -> Any:
    """Return a value that is valid against `schema`. Raises `demo_cannot`, naming the field that is not in
    the text."""
    root = unwrapped(schema)
    value = Reader(parts, model, root, question).value(root, "", "")
    if value is MISSING:
        raise cannot("fill the response schema: the text does not say what it asks for")
    if wrong := problem(value, root, root):
        raise cannot(f"fill the response schema from this text: {wrong}")
    return value


class Reader:
    """Reads one text for the values of a schema's fields."""

    def __init__(self, parts: tuple[Part, ...], model: Model, root: Schema, question: str = "") -> None:
        self.parts = parts
        self.text = "\n\n".join(part.text for part in parts)
        self.model = model
        self.root = root
        self.question = question
        self.finder = Finder(parts, model)
        self.captions = self.finder.captions
        self.first_share: float | None = None

    def value(self, schema: Any, name: str, path: str, depth: int = 0) -> Any:
        """Return the value of a field, or `MISSING`."""
        shape = resolved(schema, self.root)
        if depth > _DEPTH_MAX:
            return MISSING
        if "const" in shape:
            return shape["const"]
        types = shape.get("type", "object" if "properties" in shape else "string")
        kind = next((one for one in types if one != "null"), "null") if isinstance(types, list) else types
        if "enum" in shape:
            return self._enum(shape, name)
        match kind:
            case "object":
                return self._object(shape, path, depth)
            case "array":
                return self._array(shape, name, path, depth)
            case "boolean":
                return self._boolean(shape, name, path)
            case "null":
                return None
            case _:
                return self._plain(shape, name, path)

    # --- Objects and arrays ----------------------------------------------------------------------------

    def _object(self, shape: Schema, path: str, depth: int) -> Any:
        properties: dict[str, Any] = shape.get("properties", {})
        if not properties:
            return {caption.label: caption.value for caption in self.captions} if self.captions else MISSING
        needed = shape.get("required", [])
        last_first = sorted(properties, key=lambda name: name.casefold() in _SHARES)
        found: dict[str, Any] = {}
        for name in last_first:
            inner = f"{path}.{name}".lstrip(".")
            value = self._property(properties[name], name, path, depth)
            if value is not MISSING:
                found[name] = value
            elif nullable(resolved(properties[name], self.root)):
                found[name] = None
            elif name in needed:
                raise cannot(f"find the field `{inner}` in the text (its schema does not allow null)")
        if path and depth and all(value is None for value in found.values()) and (nullable(shape) or not found):
            return MISSING
        return {name: found[name] for name in properties if name in found}

    def _property(self, schema: Any, name: str, path: str, depth: int) -> Any:
        """Fill a property; one of a nested object is first looked for as its owner's (`customer.name`:
        customer name)."""
        inner = f"{path}.{name}".lstrip(".")
        owner = path.split(".")[-1] if path and "[" not in path else ""
        plain = "enum" not in (shape := resolved(schema, self.root)) and value_type(shape) in (
            "string",
            "number",
            "integer",
        )
        if owner and plain:
            value = self.value(schema, f"{owner}_{name}", inner, depth + 1)
            if value is not MISSING or name_words(name)[-1:] == ["name"]:
                return value
        return self.value(schema, name, inner, depth + 1)

    def _array(self, shape: Schema, name: str, path: str, depth: int) -> Any:
        items = resolved(shape.get("items", {}), self.root)
        limit = min(shape.get("maxItems", _LIST_MAX), _LIST_MAX)
        if items.get("type") == "object" or "properties" in items:
            found = self._rows(items, path, depth)
        elif "enum" in items:
            verdicts = self._verdicts(items)
            found = [v.label.name for v in verdicts if v.score > 0 and v.score >= 0.5 * verdicts[0].score]
        else:
            found = self._plain_items(items, name, path, limit)
        valid: list[Any] = []
        for item in found:
            if not problem(item, items, self.root) and item not in valid[: None if _distinct(items, shape) else 0]:
                valid.append(item)
        return valid[:limit] if len(valid) >= shape.get("minItems", 0) else MISSING

    def _rows(self, items: Schema, path: str, depth: int) -> list[Any]:
        """Return the objects that the text repeats: of a table, of line items, else of each list item or
        paragraph."""
        properties: dict[str, Any] = items.get("properties", {})
        for rows in [*tables(self.text), line_items(self.text)]:
            found = [self._from_row(row, items, path) for row in rows]
            kept = [row for row in found if row is not None]
            if kept and len(kept) * 2 >= len(rows):
                return kept
        found_blocks: list[Any] = []
        for block in blocks(self.text):
            reader = Reader((Part(block),), self.model, self.root)
            try:
                value = reader.value(items, "", f"{path}[]", depth + 1)
            except Exception as error:  # a block that does not have the fields is no item; any other error is ours
                if getattr(error, "kind", "") != "demo_cannot":
                    raise
                continue
            if isinstance(value, dict) and sum(one is not None for one in value.values()) * 2 > len(properties):
                found_blocks.append(value)
        return found_blocks

    def _from_row(self, row: Row, items: Schema, path: str) -> dict[str, Any] | None:
        properties: dict[str, Any] = items.get("properties", {})
        needed = items.get("required", [])
        found: dict[str, Any] = {}
        for name in properties:
            shape = resolved(properties[name], self.root)
            field = field_of(name, shape, f"{path}[].{name}")
            fits = [(fit(list(field.words), label), cell) for label, cell in row.cells]
            best = max(fits, key=lambda one: one[0], default=(0.0, ""))
            value = self._converted(best[1], field, shape) if best[0] >= 0.4 else MISSING
            if value is MISSING and not nullable(shape):
                if name in needed:
                    return None
                continue
            found[name] = None if value is MISSING else value
        return found if sum(value is not None for value in found.values()) * 2 >= len(properties) else None

    def _converted(self, cell: str, field: Field, shape: Schema) -> Any:
        if "enum" in shape:
            return next(
                (one for one in shape["enum"] if isinstance(one, str) and one.casefold() == cell.casefold()),
                MISSING,
            )
        if value_type(shape) == "boolean":
            return _yes_or_no(cell, MISSING)
        if value_type(shape) in ("number", "integer"):
            return _first_valid([one.value for one in findings("number", cell)], shape, self.root)
        if field.kind in ("date", "datetime") and (found := findings(field.kind, cell)):
            return _first_valid([found[0].value], shape, self.root)
        return _first_valid([cell] if cell else [], shape, self.root)

    def _plain_items(self, items: Schema, name: str, path: str, limit: int) -> list[Any]:
        field = field_of(name, items, path)
        singular = set(field.words) | {stem(word) for word in field.words}
        if singular & _PHRASES:
            return key_phrases(self.text, min(limit, 8 if self.model.second_pass else 5))
        if singular & _POINTS:
            text = summarise(
                self.parts,
                Amount(bullets=True, items=min(limit, 5 if self.model.second_pass else 3)),
                self.model,
                None,
            )
            return [line.removeprefix("- ") for line in text.split("\n")]
        if field.kind is not None and (found := apart(findings(field.kind, self.text))):
            near = [one for one in found if self.finder.nearness(one, field) > 0]
            as_value = value_type(items) != "string" or written_as_iso(field)
            return [one.value if as_value else one.shown for one in near or found]
        for caption in self.captions:
            if fit(list(field.words), caption.label) >= FIT and not listed(caption.value):
                return [
                    piece.strip(" .")
                    for piece in re.split(r",\s*(?:and\s+)?|;\s*|\s+and\s+|\s+und\s+", caption.value)
                    if piece.strip(" .")
                ]
        if below := self._below(field):
            return below
        if singular & _LISTS and (every := listed(self.text)):
            return every
        return [
            found.sentence.text
            for found in passages(" ".join((*field.words, field.description)), self.parts, self.model)
        ]

    def _below(self, field: Field) -> list[str]:
        """Return the list that stands below a line with the field's words."""
        lines = [line for line in self.text.split("\n") if line.strip()]
        for line, following in itertools.pairwise(lines):
            if listed(following) and not listed(line) and fit(list(field.words), line) >= FIT:
                return listed(self.text, line)
        return []

    # --- Plain values --------------------------------------------------------------------------------

    def _plain(self, shape: Schema, name: str, path: str) -> Any:
        field = field_of(name or "value", shape, path)
        special = self._special(field, shape)
        if special is not MISSING:
            return special
        return _first_valid(self.finder.candidates(field, shape), shape, self.root)

    def _special(self, field: Field, shape: Schema) -> Any:
        """Fill the fields that ask for an ability rather than for a value."""
        last = field.words[-1] if field.words else ""
        if value_type(shape) in ("number", "integer"):
            share = self.first_share if field.name.casefold() in _SHARES else None
            return MISSING if share is None else _first_valid([share], shape, self.root)
        if last in ("summary", "abstract", "overview", "tldr", "gist", "zusammenfassung"):
            return _first_valid(
                [summarise(self.parts, Amount(characters=shape.get("maxLength")), self.model, None)],
                shape,
                self.root,
            )
        if last in ("answer", "quote", "evidence", "citation", "source", "place") and self.question:
            found = passages(self.question, self.parts, self.model)
            if found:
                return found[0].sentence.place if last in ("citation", "source", "place") else found[0].sentence.text
        if last == "language":
            return language(self.text) or MISSING
        if last in ("keywords", "tags", "topics"):
            return ", ".join(key_phrases(self.text, 5)) or MISSING
        if last == "sentiment":
            verdicts = ranked(self.text, [Label("positive"), Label("negative"), Label("neutral")], self.model)
            return _first_valid([verdicts[0].label.name if verdicts[0].score else "neutral"], shape, self.root)
        return MISSING

    # --- Choices --------------------------------------------------------------------------------

    def _enum(self, shape: Schema, name: str) -> Any:
        options = [one for one in shape["enum"] if one is not None]
        field = field_of(name or "value", {**shape, "type": "string"}, name)
        for caption in sorted(self.captions, key=lambda one: -fit(list(field.words), one.label)):
            if fit(list(field.words), caption.label) >= FIT:
                said = caption.value.casefold().strip(" .")
                if (
                    match := next(
                        (one for one in options if str(one).casefold().replace("_", " ") == said.replace("_", " ")),
                        None,
                    )
                ) is not None:
                    self.first_share = self.first_share or 1.0
                    return match
        if not options or not all(isinstance(one, str) for one in options):
            shown = stems(self.text)
            return next((one for one in options if str(one).casefold() in shown), MISSING)
        if field.kind == "currency" and (
            found := [one.value for one in findings("currency", self.text) if one.value in options]
        ):
            return found[0]
        verdicts = self._verdicts(shape)
        self.first_share = self.first_share or verdicts[0].share
        if verdicts[0].score > 0:
            return verdicts[0].label.name
        from_rest = [one for one in options if set(words(one.replace("_", " "))) & _REST]
        return from_rest[0] if from_rest else MISSING

    def _verdicts(self, shape: Schema) -> list[Verdict]:
        described = str(shape.get("description", ""))
        labels: list[Label] = []
        for option in shape["enum"]:
            if isinstance(option, str):
                about = re.search(
                    rf"\b{re.escape(option)}\b[\"'`]?\s*(?:[:=(–-]|means|if|when|for)\s*([^;.\n)]+)",
                    described,
                    re.IGNORECASE,
                )
                labels.append(Label(option, about.group(1) if about else ""))
        return ranked(self.text, labels, self.model)

    def _boolean(self, shape: Schema, name: str, path: str) -> Any:
        """True where the text has the field's words un-negated; false where it denies them or does not
        speak of them."""
        field = field_of(name, {**shape, "type": "string"}, path)
        wants = [word for word in field.words if not common(word) and word not in _AUXILIARY]
        for caption in self.captions:
            if (
                wants
                and fit(wants, caption.label) >= FIT
                and (said := _yes_or_no(caption.value, MISSING)) is not MISSING
            ):
                return said
        if not wants:
            return MISSING
        for sentence in sentences(self.parts):
            bag = stems(sentence.text)
            met = [
                max(
                    (meets(word, other) >= 0.9 or (len(word) > 4 and other.startswith(stem(word))) for other in bag),
                    default=False,
                )
                for word in wants
            ]
            if all(met):
                return not re.search(
                    r"\b(?:not|no|never|none|without|n't|nicht|kein\w*)\b|n't\b", sentence.text.casefold()
                )
        if seeds_for(wants) and ranked(self.text, [Label(" ".join(wants))], self.model)[0].score >= _SPOKEN:
            return True
        return MISSING if nullable(shape) else False


_SHARES = frozenset(["confidence", "probability", "certainty", "likelihood", "confidence_score"])
_PHRASES = frozenset(["keyword", "keywords", "tag", "tags", "topic", "topics", "keyphrase", "keyphrases", "phrases"])
_POINTS = frozenset(["point", "points", "highlight", "highlights", "takeaway", "takeaways", "sentences", "bullets"])
_LISTS_WORDS = """
item items list entries action actions step steps task tasks requirement requirements todo todos things
points
"""
_LISTS = frozenset(_LISTS_WORDS.split())
_REST = frozenset(
    ["other", "neutral", "unknown", "none", "normal", "medium", "general", "misc", "sonstiges", "unclear"]
)
_AUXILIARY_WORDS = """
is has have was are does requires required needs needed contains requested mentions mentioned can flag
"""
_AUXILIARY = frozenset(_AUXILIARY_WORDS.split())


def _distinct(items: Schema, shape: Schema) -> bool:
    return bool(shape.get("uniqueItems")) or value_type(items) != "object"


def _first_valid(candidates: list[Any], shape: Schema, root: Schema) -> Any:
    for value in candidates:
        if value not in ("", None) and not problem(value, shape, root):
            return value
    return MISSING


def _yes_or_no(text: str, otherwise: Any) -> Any:
    first = (words(text) or [""])[0]
    if first in ("yes", "true", "ja", "oui", "si", "y", "x", "checked", "paid", "done"):
        return True
    return False if first in ("no", "false", "nein", "non", "n", "none", "unpaid", "open") else otherwise
