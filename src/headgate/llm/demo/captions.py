"""Captions and what they caption: `Label: value` lines, table rows of two, and the words that mean the
same label."""

from __future__ import annotations

import re

import msgspec

from headgate.llm.demo.words import common, stem, words

__all__ = ["Caption", "captions", "fit", "known", "meets"]

_SAME = (
    "customer client buyer kunde käufer billed bill sold consumer",
    "vendor supplier seller lieferant merchant issuer provider verkäufer anbieter",
    (
        "total sum gesamt gesamtbetrag gesamtsumme summe grand montant endbetrag bruttobetrag "
        "rechnungsbetrag payable totaal totale"
    ),
    "subtotal net netto zwischensumme nettobetrag",
    "tax vat mwst ust umsatzsteuer mehrwertsteuer gst tva iva sales-tax",
    "due payable fällig fälligkeit zahlbar deadline fälligkeitsdatum until by bis payment",
    "date datum dated day tag fecha data",
    "number no nr nummer num ref reference id code numéro numero",
    "email e-mail mail mailadresse",
    "phone tel telephone telefon mobile cell handy fon rufnummer",
    "subject re betreff regarding titel title objet",
    "address anschrift adresse street",
    "invoice rechnung bill rechnungsnummer rechnungsdatum facture factura",
    "order bestellung bestellnummer bestell auftrag auftragsnummer purchase po",
    "quantity qty menge anzahl count amount pieces stück pcs units quantité cantidad",
    "price preis rate einzelpreis cost each prix unit precio stückpreis",
    "description item article product bezeichnung artikel leistung beschreibung produkt position service",
    "name named called",
    "company firm firma organization organisation employer unternehmen business",
    "amount betrag sum value montant importe",
    "start begin commencement effective beginn from starts begins starting commences",
    "end expiry expiration expires until ends ending ende ablauf termination",
    "delivery shipping ship shipped delivered lieferung lieferdatum liefertermin versand",
    "issue issued issuance ausgestellt ausstellungsdatum",
    "birth born birthday geburtsdatum geboren dob",
    "sign signed signature signing unterzeichnet",
    "sender from absender",
    "recipient to empfänger addressee",
    "author by written verfasser",
    "priority urgency priorität severity",
    "position role job title stelle",
    "city town stadt ort",
    "country land nation",
    "location place ort venue city standort",
    "departure from leaving origin source",
    "destination to arrival target",
    "salary compensation gehalt pay wage",
    "duration term length laufzeit period",
    "account konto acct kundennummer",
    "cap limit maximum max exceed ceiling",
    "refund erstattung rückerstattung reimbursement refunded",
    "landlord lessor vermieter",
    "tenant lessee mieter",
)


class Caption(msgspec.Struct, frozen=True):
    """A label in a text, the value behind it, and where the value stands."""

    label: str
    value: str
    start: int
    end: int


def captions(text: str) -> list[Caption]:
    """Return every `Label: value` of `text`, in order; a label that ends its line captions the next line."""
    found: list[Caption] = []
    for match in re.finditer(
        (
            r"^[ \t>*|-]*(?:\*\*)?([^\W\d_](?:[^:\n|]|(?<=\S):(?=\S)){0,48}?)(?:\*\*)?\s*(?::(?:\*\*)?|"
            r"\||\t|\s{3,}|\.{3,})[ \t]*(.*)$"
        ),
        text,
        re.MULTILINE,
    ):
        value, start = match.group(2), match.start(2)
        if not value.strip() and (below := re.compile(r"\s*([^\n]+)").match(text, match.end())):
            value, start = below.group(1), below.start(1)
        shown = value.strip().strip("|*").strip()
        if shown:
            found.append(Caption(match.group(1).strip(" *"), shown, start, start + len(value)))
    for match in re.finditer(
        (
            r"(?:^|[.;,|]\s+|\s{2,})([A-ZÄÖÜ][\w.-]*(?: [\w.-]+){0,2}):[ \t]+([^;,|\n]+?)(?=[.;,|](?:\s|"
            r"$)|\s{2,}|$)"
        ),
        text,
        re.MULTILINE,
    ):
        if not any(
            caption.start <= match.start(2) < caption.end and caption.start == match.start(2) for caption in found
        ):
            found.append(Caption(match.group(1), match.group(2).strip(), match.start(2), match.end(2)))
    return found + _defined(text)


def _defined(text: str) -> list[Caption]:
    """Read `Acme Ltd., of 1 Main Street ("the Customer")` as the caption of the name."""
    pattern = (
        r"([A-ZÄÖÜ][^,;()\n\"“]{1,60}?)(?:,[^()\"“”\n]{0,90})?\s*"
        r"\((?:the|hereinafter|hereafter|referred to|as|nachfolgend|der|die|das|\s|,)*[\"“„']\s*(?:the |"
        r"der |die )?(\w+)[\"”“']\)"
    )
    found: list[Caption] = []
    for match in re.finditer(pattern, text, re.IGNORECASE):
        value = re.sub(r"^.*?\b(?:between|and|by|zwischen|und)\s+(?=[A-ZÄÖÜ])", "", match.group(1))
        found.append(Caption(match.group(2), value.strip(), match.end(1) - len(value), match.end(1)))
    return found


_stem_meanings: dict[str, tuple[str, ...]] = {}


def _meanings(word: str) -> tuple[str, ...]:
    """Return the stems of the words that label the same as `word`, its own first."""
    if not _stem_meanings:
        for line in _SAME:
            group = tuple(dict.fromkeys(stem(one) for one in line.split()))
            for one in group:
                _stem_meanings[one] = (*_stem_meanings.get(one, ()), *group)
    mine = stem(word)
    return tuple(dict.fromkeys((mine, *_stem_meanings.get(mine, ()))))


def known(label: str) -> bool:
    """Tell whether a label has a word that labels something in particular (`Invoice date`, not `Remarks`)."""
    return any(len(_meanings(word)) > 1 for word in words(label))


def fit(field: list[str], label: str) -> float:
    """Return how well a label fits a field's words, 0 to 1: the share of the field's words it has, and of
    its own."""
    has = [stem(word) for word in words(label)]
    wants = [word for word in field if not common(word)] or field
    if not has or not wants:
        return 0.0
    met = [max((meets(word, one) for one in has), default=0.0) for word in wants]
    known = [max((meets(word, one) for word in wants), default=0.0) for one in has if not common(one) or len(has) == 1]
    return (sum(met) / len(wants)) * (0.5 + 0.5 * sum(known) / max(1, len(known)))


def meets(word: str, other: str) -> float:
    """Return how surely the stem `other` of a text labels what the folded word `word` of a field asks for."""
    if stem(word) == other:
        return 1.0
    same = _meanings(word)
    if other in same:
        return 0.9
    if other.startswith("sub"):
        return 0.0
    compound = any(
        len(one) >= 4 and len(other) > len(one) and (other.startswith(one) or other.endswith(one)) for one in same
    )
    return 0.8 if compound or (len(other) >= 5 and same[0].startswith(other)) else 0.0
