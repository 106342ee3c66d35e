"""Repeated things in a text: table rows with a header, line items without one, list items, blocks of
captions."""

from __future__ import annotations

import re

import msgspec

from headgate.llm.demo.findings import findings
from headgate.llm.demo.numbers import FoundNumber, numbers

__all__ = ["Row", "blocks", "line_items", "listed", "tables"]


class Row(msgspec.Struct, frozen=True):
    """One row: cells under their column labels."""

    cells: tuple[tuple[str, str], ...]
    line: str = ""


def tables(text: str) -> list[list[Row]]:
    """Return the tables of `text` (Markdown, tabs, semicolons, commas, or aligned by spaces) that have a
    header."""
    found: list[list[Row]] = []
    run: list[tuple[str, list[str]]] = []
    for line in [*text.split("\n"), ""]:
        if re.fullmatch(r"\s*\|?[\s:|+=-]{3,}\|?\s*", line) and run:
            continue
        cells = _cells(line, len(run[0][1]) if run else 0)
        if run and len(cells) != len(run[0][1]):
            found += _table(run)
            run = []
        if len(cells) >= 2:
            run.append((line, cells))
    return found


def _cells(line: str, expected: int) -> list[str]:
    shown = line.strip()
    if shown.startswith("|"):
        return [cell.strip() for cell in shown.strip("|").split("|")]
    for separator in (r"\t+", r"\s*;\s*", r"\s{2,}", r",(?!\d{2}\b)\s*"):
        cells = [cell.strip() for cell in re.split(separator, shown)]
        if (len(cells) >= 3 and (not expected or len(cells) == expected)) or (
            expected == 2 == len(cells) and separator == r"\t+"
        ):
            return [cell.strip('"') for cell in cells]
    return []


def _table(run: list[tuple[str, list[str]]]) -> list[list[Row]]:
    header = run[0][1]
    if len(run) < 2 or any(re.search(r"\d", cell) or len(cell) > 30 for cell in header) or not all(header[1:]):
        return []
    rows = [Row(tuple(zip(header, cells, strict=True)), line) for line, cells in run[1:] if not _sums_up(line)]
    return [rows] if rows else []


def _sums_up(line: str) -> bool:
    return bool(
        re.match(
            r"\W*(?:sub-?\s?total|grand total|total|net|tax|vat|gst|sum|amount due|balance|discount|"
            r"mwst|ust|zwischensumme|gesamt|summe|"
            r"netto|brutto|montant|tva|paid|due|rechnungsbetrag|zzgl)",
            line.casefold(),
        )
    )


def line_items(text: str) -> list[Row]:
    """Return lines such as `2 x Lamp @ $5.00` or `Lamp   2   5.00   10.00` as rows of description,
    quantity, price, total."""
    found: list[Row] = []
    for line in text.split("\n"):
        row = None if _sums_up(line) or re.match(r"\s*[^\W\d][^:]{0,40}:\s", line) else _line_item(line)
        if row:
            found.append(row)
    return found


def _line_item(line: str) -> Row | None:
    shown = re.sub(r"^\s*(?:[-*•–]|\d{1,2}[.)])\s+", "", line).strip()
    if len(shown) > 160 or findings("date", shown):
        return None
    found = numbers(shown)
    money = [
        one
        for one in found
        if not one.percent and (one.currency or re.search(r"[.,]\d\d$", shown[one.start : one.end].strip()))
    ]
    if not money:
        return None
    count = _quantity(shown, found, money)
    cuts = [one.start for one in money] + ([count.start] if count and count.start > 2 else [])
    begins = count.end if count and count.start <= 2 else 0
    name = re.sub(
        r"[\s,;:@=|–-]+$|\b(?:qty|quantity|at|x|for|à|je)\W*$|[(\[]\s*$",
        "",
        shown[begins : min(c for c in cuts if c >= begins)].strip(),
        flags=re.IGNORECASE,
    )
    name = re.sub(
        r"^(?:x|×|pcs|stk|stück|units?|pieces?|mal)\b\.?\s+(?:of )?|^[×*]\s*",
        "",
        name.strip(),
        flags=re.IGNORECASE,
    ).strip(" ,:;-–|@")
    if not re.search(r"[^\W\d_]{2}", name) or re.search(r"[.!?]\s", name):
        return None
    cells = [("description", name), ("name", name)]
    if count:
        cells.append(("quantity", count.value))
    cells.append(("unit price", money[0].value))
    cells.append(("total amount", money[-1].value))
    cells += [("currency", money[0].currency)] if money[0].currency else []
    return Row(tuple(cells), line)


def _quantity(shown: str, found: list[FoundNumber], money: list[FoundNumber]) -> FoundNumber | None:
    pattern = (
        r"(?:^|\s|\()(?:(\d+)\s?(?:x|×|pcs?|stk|stück|units?|pieces?|hours?|h|std|mal)\b|(\d+)\s?[×*]|"
        r"(?:x|×|qty\.?:?|quantity:?|menge:?)\s?(\d+)\b)"
    )
    if match := re.search(pattern, shown, re.IGNORECASE):
        number = next(index for index in (1, 2, 3) if match.group(index))
        return FoundNumber(match.start(number), match.end(), match.group(number))
    whole = [one for one in found if one not in money and not one.percent and one.value.isdigit()]
    return next((one for one in whole if one.start == 0 or re.search(r"\s{2,}$|\t$", shown[: one.start])), None)


def listed(text: str, heading: str | None = None) -> list[str]:
    """Return the list items of `text`, bulleted or numbered; of the list below `heading` where one is
    named."""
    lines = text.split("\n")
    start = 0
    if heading is not None:
        start = next((index + 1 for index, line in enumerate(lines) if heading in line), len(lines))
    found: list[str] = []
    for line in lines[start:]:
        match = re.match(r"\s*(?:[-*•–]|\d{1,2}[.)]|\[[ x]\])\s+(?:\[[ x]\]\s+)?(.+)", line)
        if match:
            found.append(match.group(1).strip())
        elif heading is not None and line.strip() and found:
            break
    return found


def blocks(text: str) -> list[str]:
    """Return the pieces that may each tell of one thing: list items, else paragraphs, else lines, else
    sentences."""
    if len(items := listed(text)) > 1:
        return items
    paragraphs = [piece.strip() for piece in re.split(r"\n\s*\n", text) if piece.strip()]
    if len(paragraphs) > 1:
        return paragraphs
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) > 1:
        return lines
    return [piece for piece in re.split(r"(?<=[.;!?])\s+", text) if piece.strip()]
