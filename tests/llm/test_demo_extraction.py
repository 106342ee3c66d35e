"""The demo models fill schemas: what the text says, in the schema's shape, and nothing else."""

from __future__ import annotations

import asyncio
import json
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.llm.demo import DemoProvider
from headgate.ports import Message, ModelRequest, ProviderError

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
DATE = {"type": "string", "format": "date"}


def record(**properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def extract(text, schema, model="small"):
    request = ModelRequest(
        model=model, messages=(Message("user", f"Extract the data.\n\n{text}"),), response_schema=schema
    )
    return json.loads(asyncio.run(DemoProvider().request(request)).content)


def assert_valid(value, schema):
    """A validator of its own, so that the demo models do not mark their own homework."""
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if value is None:
        assert "null" in types
        return
    python = {
        "string": str,
        "number": (int, float),
        "integer": int,
        "boolean": bool,
        "object": dict,
        "array": list,
    }
    assert any(isinstance(value, python[name]) for name in types if name != "null"), (value, schema)
    assert not isinstance(value, bool) or "boolean" in types
    if "enum" in schema:
        assert value in schema["enum"]
    if schema.get("format") == "date":
        assert date.fromisoformat(value).isoformat() == value
    assert len(value) <= schema.get("maxLength", 10**9) if isinstance(value, str) else True
    if isinstance(value, dict):
        assert set(schema.get("required", [])) <= set(value) <= set(schema["properties"])
        for name, inner in value.items():
            assert_valid(inner, schema["properties"][name])
    if isinstance(value, list):
        for item in value:
            assert_valid(item, schema["items"])


CUSTOMERS = st.sampled_from(["Wren & Sons", "Atelier Dubois", "Kowalski Metall", "Fjord Shipping", "Blue Kettle Café"])
DATES = st.dates(date(1999, 1, 1), date(2039, 12, 28))
CENTS = st.integers(100, 9_999_999)
WRITTEN_DATES = st.sampled_from(["%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%d.%m.%Y", "%d %b %Y"])


@settings(max_examples=40, deadline=None)
@given(
    CUSTOMERS,
    DATES,
    DATES,
    CENTS,
    st.integers(1000, 99999),
    WRITTEN_DATES,
    st.permutations(range(5)),
    st.booleans(),
)
def test_an_invoice_gives_its_own_number_dates_customer_and_total_wherever_they_stand(
    customer, issued, due, cents, number, form, order, comma
):
    amount = f"{cents // 100:,}.{cents % 100:02d}"
    shown = amount.translate(str.maketrans(",.", ".,")) + " EUR" if comma else f"${amount}"
    lines = [
        f"Invoice No: RX-{number}",
        f"Invoice date: {issued.strftime(form)}",
        f"Due date: {due.strftime(form)}",
        f"Customer: {customer}",
        f"Total: {shown}",
    ]
    text = "INVOICE\n\n" + "\n".join(lines[index] for index in order)
    schema = record(
        invoice_number=TEXT, invoice_date=DATE, due_date=DATE, customer_name=TEXT, total=NUMBER, currency=TEXT
    )

    found = extract(text, schema)

    assert_valid(found, schema)
    assert found == {
        "invoice_number": f"RX-{number}",
        "invoice_date": issued.isoformat(),
        "due_date": due.isoformat(),
        "customer_name": customer,
        "total": cents / 100,
        "currency": "EUR" if comma else "USD",
    }


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Oak board", "Brass hinge", "Wood glue", "Sanding belt"]),
            st.integers(1, 40),
            st.integers(100, 90000),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_every_row_of_a_table_becomes_an_item(rows):
    lines = [f"{name:<20}{count:>6}   ${cents // 100}.{cents % 100:02d}" for name, count, cents in rows]
    text = "Delivery note\n\nArticle                Qty   Unit price\n" + "\n".join(lines) + "\n\nTotal   $1.00"
    schema = record(
        items={
            "type": "array",
            "items": record(description=TEXT, quantity={"type": "integer"}, unit_price=NUMBER),
        }
    )

    found = extract(text, schema)

    assert_valid(found, schema)
    assert found["items"] == [
        {"description": name, "quantity": count, "unit_price": cents / 100} for name, count, cents in rows
    ]


LEASE = (
    'This lease is made between Halden Homes LLC ("Landlord") and Rosa Quispe ("Tenant"). The term begins on '
    "March 1, 2026 and ends on 28 February 2028. The monthly rent is €985, and the Tenant pays a "
    "deposit of €1,970. "
    "Smoking is not allowed."
)


def test_prose_gives_parties_terms_and_sums_by_the_words_beside_them():
    schema = record(
        landlord=TEXT,
        tenant=TEXT,
        start_date=DATE,
        end_date=DATE,
        monthly_rent=NUMBER,
        deposit=NUMBER,
        smoking_allowed={"type": "boolean"},
    )

    found = extract(LEASE, schema)

    assert found == {
        "landlord": "Halden Homes LLC",
        "tenant": "Rosa Quispe",
        "start_date": "2026-03-01",
        "end_date": "2028-02-28",
        "monthly_rent": 985,
        "deposit": 1970,
        "smoking_allowed": False,
    }


def test_a_german_letter_is_read_as_well():
    letter = (
        "Guten Tag,\nam 17. März 2026 habe ich bei Ihnen ein Fahrrad bestellt (Bestellnummer 5521-K). "
        "Bitte erstatten Sie "
        "mir 1.249,00 € auf mein Konto.\nMit freundlichen Grüßen\nJens Albrecht"
    )
    schema = record(order_number=TEXT, order_date=DATE, amount=NUMBER, currency=TEXT, sender_name=TEXT, language=TEXT)

    found = extract(letter, schema)

    assert list(found.values()) == ["5521-K", "2026-03-17", 1249, "EUR", "Jens Albrecht", "de"]


def test_a_field_that_the_text_does_not_have_is_null_where_that_is_allowed():
    schema = record(delivery_date={"anyOf": [DATE, {"type": "null"}]}, fax={"type": ["string", "null"]}, tenant=TEXT)

    found = extract(LEASE, schema)

    assert found == {"delivery_date": None, "fax": None, "tenant": "Rosa Quispe"}


def test_a_field_that_is_not_required_is_left_out():
    schema = {"type": "object", "properties": {"tenant": TEXT, "delivery_date": DATE}, "required": ["tenant"]}

    assert extract(LEASE, schema) == {"tenant": "Rosa Quispe"}


def test_a_required_field_that_the_text_does_not_have_is_refused_by_name():
    with pytest.raises(ProviderError, match=r"`terms\.delivery_date`") as refused:
        extract(LEASE, record(tenant=TEXT, terms=record(delivery_date=DATE)))

    assert (refused.value.kind, refused.value.status, refused.value.retryable) == ("demo_cannot", 422, False)


def test_a_due_date_is_not_taken_from_another_date():
    with pytest.raises(ProviderError, match="due_date"):
        extract("Invoice date: 2026-05-04\nTotal: $12.00", record(due_date=DATE))


def test_references_wrappers_and_nested_objects_of_a_schema_are_followed():
    schema = {
        "name": "order",
        "strict": True,
        "schema": {
            **record(buyer={"$ref": "#/$defs/Person"}),
            "$defs": {"Person": record(name=TEXT, email=TEXT)},
        },
    }

    found = extract("Order 88-12\nBuyer: Nils Aaby\nE-mail: nils@aaby.example", schema)

    assert found == {"buyer": {"name": "Nils Aaby", "email": "nils@aaby.example"}}


def test_lists_below_their_headings_and_after_their_labels_are_read():
    minutes = (
        "Attendees: Odile, Ravi and Tomasz\n\nDecisions:\n- The fair is moved to June.\n\nActions:\n- "
        "Ravi rents a tent\n- Odile calls the band"
    )
    items = {"type": "array", "items": TEXT}

    found = extract(minutes, record(attendees=items, actions=items))

    assert found == {
        "attendees": ["Odile", "Ravi", "Tomasz"],
        "actions": ["Ravi rents a tent", "Odile calls the band"],
    }


def test_enums_flags_and_summaries_of_a_ticket_come_from_the_abilities_for_them():
    ticket = (
        "Hello,\nthe app crashes with an error whenever I open the camera. I need this fixed urgently, "
        "our shop is blocked.\n"
        "My customer number is K-4410.\nRegards,\nIda Lund"
    )
    schema = record(
        category={"type": "string", "enum": ["billing", "bug", "other"]},
        urgency={"type": "string", "enum": ["low", "high"]},
        customer_number=TEXT,
        summary={"type": "string", "maxLength": 90},
        confidence={"type": "number", "minimum": 0, "maximum": 1},
    )

    found = extract(ticket, schema)

    assert_valid(found, schema)
    assert (found["category"], found["urgency"], found["customer_number"]) == ("bug", "high", "K-4410")
    assert "crashes" in found["summary"]
    assert 0 < found["confidence"] < 1


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300), st.sampled_from(["small", "large"]))
def test_whatever_the_text_the_answer_is_valid_or_the_request_is_refused(text, model):
    schema = record(
        total={"type": ["number", "null"]},
        when={"type": ["string", "null"], "format": "date"},
        words={"type": "array", "items": TEXT},
        mood={"type": "string", "enum": ["positive", "neutral"]},
    )

    try:
        found = extract(text, schema, model)
    except ProviderError as refused:
        assert refused.kind == "demo_cannot"  # noqa: PT017  # an answer is as good: `raises` would demand the refusal
    else:
        assert_valid(found, schema)


def test_a_point_means_thousands_in_a_text_that_writes_cents_behind_a_comma():
    assert extract("Versand: 4,90 €\nGesamtbetrag: 1.500 €", record(total=NUMBER)) == {"total": 1500}
    assert extract("Shipping: $4.90\nTotal: $1.500", record(total=NUMBER)) == {"total": 1.5}
