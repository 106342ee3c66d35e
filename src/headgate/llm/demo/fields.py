"""What a field asks for, judged by its name, format and description: a kind of thing, or what stands
behind a caption."""

from __future__ import annotations

import re

import msgspec

from headgate.llm.demo.findings import Kind
from headgate.llm.demo.schema import Schema
from headgate.llm.demo.words import common, name_words

__all__ = ["Field", "field_of"]


class Field(msgspec.Struct, frozen=True):
    """A field to fill. `qualifiers` are the words of its name that its kind does not explain (`due` of
    `due_date`)."""

    name: str
    path: str
    description: str
    kind: Kind | None
    words: tuple[str, ...]
    qualifiers: tuple[str, ...]


_FORMATS: dict[str, Kind] = {
    "date": "date",
    "date-time": "datetime",
    "email": "email",
    "uri": "url",
    "url": "url",
    "uuid": "uuid",
    "time": "time",
}
_BY_NAME: tuple[tuple[Kind, str], ...] = (
    ("email", "email mail emails mails e-mail"),
    ("phone", "phone telephone tel mobile cell fax telefon phones"),
    ("url", "url website link homepage uri webpage urls links websites"),
    ("iban", "iban"),
    ("uuid", "uuid guid"),
    ("currency", "currency währung currencies"),
    ("percent", "percent percentage pct rate prozent discount"),
    ("postal", "zip postcode postal plz zipcode"),
    ("date", "date datum deadline day birthday dob dates deadlines dated"),
    ("time", "time uhrzeit hour"),
    (
        "amount",
        (
            "amount total price cost sum subtotal tax vat net gross balance fee betrag salary rent revenue "
            "budget amounts prices value rate deposit"
        ),
    ),
    ("identifier", "number no nr id code reference ref identifier sku tracking nummer ticket ids iso"),
    (
        "company",
        (
            "company vendor supplier seller merchant organization organisation firm employer organizations "
            "companies manufacturer"
        ),
    ),
    (
        "person",
        (
            "person customer client author sender recipient contact assignee employee signatory people "
            "persons "
            "participant attendees participants "
            "attendee manager candidate patient tenant landlord buyer signer reporter name names owner"
        ),
    ),
    ("place", "city location place destination origin town country venue cities places locations"),
)
_KIND_WORDS: dict[Kind, frozenset[str]] = {kind: frozenset(names.split()) for kind, names in _BY_NAME}
_GENERIC: dict[Kind, frozenset[str]] = {
    "amount": frozenset(["amount", "price", "value", "cost", "sum", "amounts", "prices", "betrag"]),
    "number": frozenset(["number", "count", "num", "amount", "value", "total"]),
    "date": frozenset(["date", "datum", "day", "dates", "dated"]),
    "datetime": frozenset(["date", "time", "at", "datetime", "timestamp"]),
    "identifier": frozenset(["number", "no", "nr", "id", "code", "reference", "ref", "identifier", "nummer", "ids"]),
    "person": frozenset(["person", "people", "persons", "name", "names", "full", "first", "last"]),
    "place": frozenset(("city", "place", "location", "town", "cities", "places", "locations", "name")),
    "company": frozenset(["company", "organization", "organisation", "firm", "organizations", "companies", "name"]),
}
"""Words of a field's name that its kind explains; for the other kinds these are the words that tell the
kind."""


def field_of(name: str, schema: Schema, path: str) -> Field:
    """Return what the property `name` of a schema asks for."""
    found = list(name_words(name))
    description = str(schema.get("description", "") or schema.get("title", "") or "")
    kind = _kind(found, schema, description)
    explained = _GENERIC.get(kind, _KIND_WORDS.get(kind, frozenset())) if kind else frozenset()
    qualifiers = tuple(
        word for word in found if word not in explained and (not common(word) or word in ("from", "to", "by"))
    )
    if kind in ("amount", "number") and qualifiers in (("due",), ("balance", "due"), ("payable",)):
        qualifiers = ("total",)
    return Field(name, path, description, kind, tuple(found), qualifiers)


def _kind(found: list[str], schema: Schema, description: str) -> Kind | None:
    types = schema.get("type", "string")
    types = [types] if isinstance(types, str) else types
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    last_first = list(reversed(found))
    if set(found) & _KIND_WORDS["postal"]:
        return "postal"
    if "number" in types or "integer" in types:
        if any(word in _KIND_WORDS["percent"] for word in last_first) and "rate" not in found[:1]:
            return "percent"
        return "amount" if any(word in _KIND_WORDS["amount"] for word in found) and "integer" not in types else "number"
    for word in last_first:
        if word in ("name", "names") and len(found) > 1:
            continue
        for kind, names in _KIND_WORDS.items():
            if word in names:
                return kind
    if found[-1:] in (["name"], ["names"]):
        return "person" if set(found) & {"full", "first", "last", "user", "person"} or len(found) == 1 else None
    return _by_description(description)


def _by_description(description: str) -> Kind | None:
    folded = description.casefold()
    hints: tuple[tuple[str, Kind], ...] = (
        (r"\bdate\b|iso 8601|yyyy-mm-dd", "date"),
        (r"\be-?mail address", "email"),
        (r"\b(?:phone|telephone) number", "phone"),
        (r"\burl\b|web address", "url"),
        (r"\biso 4217|currency code", "currency"),
    )
    return next((kind for pattern, kind in hints if re.search(pattern, folded)), None)
