"""A text in parts, lines and sentences, each sentence with its place."""

from __future__ import annotations

import re

import msgspec

__all__ = ["Part", "Sentence", "sentences"]


class Part(msgspec.Struct, frozen=True):
    """A piece of material. `id` is the name that the prompt gives it, or empty."""

    text: str
    id: str = ""


class Sentence(msgspec.Struct, frozen=True):
    """A sentence (or a line that is none: a heading, a list item, a form's row) and where it stands in its
    part."""

    text: str
    line: int
    number: int
    """1-based among the sentences of the part."""
    paragraph: int
    source: str = ""
    part: int = 0
    heading: str = ""
    is_heading: bool = False
    one_line: bool = False
    """The part has one line only, so that the number says more than the line."""

    @property
    def place(self) -> str:
        """Return where the sentence stands, in words."""
        where = [f"source {self.source}"] if self.source else []
        where += [f"under “{self.heading}”"] if self.heading and not self.is_heading else []
        where += [f"sentence {self.number}" if self.one_line else f"line {self.line}"]
        return ", ".join(where)


_ABBREVIATIONS_WORDS = """
mr mrs ms dr prof st no nr inc ltd co corp vs etc e.g i.e eg ie approx fig art sec vol jr sr dept est al
bzw z.b ca abs str tel usw u.a d.h jan feb mar apr jun jul aug sep sept oct nov dec a.m p.m u.s u.k ph.d
m mme mlle dhr
"""
_ABBREVIATIONS = frozenset(_ABBREVIATIONS_WORDS.split())


def sentences(parts: tuple[Part, ...]) -> list[Sentence]:
    """Return every sentence of `parts`, in order."""
    found: list[Sentence] = []
    for number, part in enumerate(parts):
        found.extend(_of_part(part, number))
    return found


def _of_part(part: Part, number: int) -> list[Sentence]:
    found: list[Sentence] = []
    heading, paragraph = "", 0
    blocks = _blocks(part.text)
    one_line = len(part.text.strip().splitlines()) <= 1
    for block in blocks:
        paragraph += block.starts_paragraph
        titled = _is_heading(block.text, alone=block.alone)
        shown = block.text.strip().strip("#*= ").rstrip(":") if titled else ""
        heading = shown or heading
        for offset, text in _split(block.text):
            line = block.line + block.text[:offset].count("\n")
            found.append(
                Sentence(
                    shown or text,
                    line,
                    len(found) + 1,
                    paragraph,
                    part.id,
                    number,
                    heading,
                    bool(shown),
                    one_line,
                )
            )
    return found


class _Block(msgspec.Struct):
    text: str
    line: int
    starts_paragraph: bool
    alone: bool


_OWN_LINE = r"\s*(?:[-*•–+]\s|\d{1,3}[.)]\s|#{1,6}\s|\||>\s|[\w][^.!?:]{0,40}:(?:\s|$))"


def _blocks(text: str) -> list[_Block]:
    """Join wrapped lines of prose; keep headings, list items, table rows and `label: value` lines apart."""
    blocks: list[_Block] = []
    fresh = True
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if not line.strip():
            fresh = True
            continue
        blank_after = index + 1 == len(lines) or not lines[index + 1].strip()
        if not fresh and _continues(blocks[-1].text, line):
            blocks[-1].text += "\n" + line
            blocks[-1].alone = False
        else:
            blocks.append(_Block(line, index + 1, fresh, fresh and blank_after))
        fresh = False
    return blocks


def _continues(before: str, line: str) -> bool:
    last = before.rsplit("\n", 1)[-1]
    if re.match(_OWN_LINE, line) or re.match(r"\s*(?:#{1,6}\s|\|)", last) or "\t" in line or "   " in line.strip():
        return False
    wrapped = len(last.strip()) >= 50 and not last.rstrip().endswith(":")
    return wrapped or (line.lstrip()[:1].islower() and not last.rstrip().endswith((".", "!", "?", ":", ",")))


def _is_heading(text: str, *, alone: bool) -> bool:
    shown = text.strip()
    if re.match(r"#{1,6}\s+\S", shown):
        return True
    if "\n" in text or len(shown) > 70 or shown.endswith((".", "!", "?", ",", ";")) or ": " in shown:
        return False
    if re.match(r"(?:§\s*|Article\s+|Section\s+)?\d{1,2}(?:\.\d+)*\.?\s+[A-ZÄÖÜ]\S*(?:\s+\S+){0,5}$", shown):
        return not re.search(r"\d{2,}", shown[3:])
    letters = re.sub(r"[\W\d_]", "", shown)
    return alone and len(shown.split()) <= 8 and len(letters) >= 3 and not re.search(r"\d|@|[$€£]", shown)


def _split(block: str) -> list[tuple[int, str]]:
    """Return the sentences of a block with their offsets; abbreviations and initials do not end one."""
    found: list[tuple[int, str]] = []
    start = 0
    for match in re.finditer(r"[.!?…]+[\"'”’»)\]]*(?=\s+[\"'“‘„«(\[]*[^\Wa-zß-öø-ÿ_]|\s*\n|\s*$)|[。！？]", block):
        before = re.split(r"[\s(]", block[start : match.start()])[-1].casefold()
        single = match.group().startswith(".") and (
            before in _ABBREVIATIONS or (len(before) == 1 and before.isalpha()) or _ordinal(before, block, match.end())
        )
        if single and match.end() < len(block.rstrip()):
            continue
        _add(found, block, start, match.end())
        start = match.end()
    _add(found, block, start, len(block))
    return found


def _ordinal(before: str, block: str, end: int) -> bool:
    """Tell whether `before.` is a number that goes on: `3. Mai`, or a list mark at the start of its line."""
    return before.isdigit() and len(before) <= 2 and block[end : end + 1] == " " and block[end + 1 :][:1].isalpha()


def _add(found: list[tuple[int, str]], block: str, start: int, end: int) -> None:
    raw = block[start:end]
    text = re.sub(r"\s*\n\s*", " ", raw).strip()
    text = re.sub(r"^(?:[-*•–+]|>|\(?[a-z0-9]{1,2}[.)])\s+", "", text) if not found else text
    if re.search(r"\w", text):
        found.append((start + len(raw) - len(raw.lstrip()), text))
