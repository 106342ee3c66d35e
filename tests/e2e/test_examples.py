"""The examples do what they say: quickstart, documents, approval."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest
from tests.e2e.examples_run import EXAMPLES, run_example, text_of

from headgate.authoring import load_definition

NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/flow.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_accepted_as_it_stands(name: str):
    definition = load_definition(text_of(name, "flow.yaml"), source=f"examples/{name}/flow.yaml")

    assert definition.name == name
    assert definition.description


# --- quickstart -------------------------------------------------------------------------------------------------------


LETTER = """Kestrel Roofing Ltd

3 November 2025

Dear colleagues,

your invoice for our order QT-88150 asks for $1,250.50, but we agreed on less. Please send a corrected
invoice to books@kestrelroofing.example before the end of the month.

Piet Hollis
"""


def test_quickstart_makes_a_record_of_a_letter(tmp_path: Path):
    letter = text_of("quickstart", "letter.txt")

    ran = run_example(tmp_path, "quickstart", {"letter": letter})

    assert ran.view.status == "completed"
    assert ran.outputs["record"] == {
        "order_number": "PK-20417",
        "date": "2026-03-12",
        "amount": 418,
        "email": "office@marrowfinch.example",
        "topic": "delivery",
    }
    assert ran.outputs["summary"] in " ".join(letter.split())
    ran.assert_paid_calls(2)


def test_quickstart_makes_another_record_of_another_letter(tmp_path: Path):
    ran = run_example(tmp_path, "quickstart", {"letter": LETTER})

    record = ran.outputs["record"]
    assert record["order_number"] == "QT-88150"
    assert datetime.date.fromisoformat(record["date"]) == datetime.date(2025, 11, 3)
    assert record["amount"] == 1250.5
    assert record["email"] == "books@kestrelroofing.example"
    assert record["topic"] == "invoice"
    assert "Marrow" not in ran.outputs["summary"]
    ran.assert_paid_calls(2)


# --- documents --------------------------------------------------------------------------------------------------------


def test_documents_are_summarised_one_by_one_in_their_order(tmp_path: Path):
    documents = text_of("documents", "documents.txt").split("\n----\n")

    ran = run_example(tmp_path, "documents", {"documents": "\n----\n".join(documents)})

    summaries = ran.outputs["summaries"]
    assert ran.view.status == "completed"
    assert len(summaries) == len(documents) == 3
    for summary, document in zip(summaries, documents, strict=True):
        assert summary in " ".join(document.split())
    assert ran.outputs["digest"].count("\n- ") == 2
    assert sorted(ran.places("activity_scheduled")) == [
        *("digest", "split"),
        *(f"summarise[{item}]" for item in range(3)),
    ]
    ran.assert_paid_calls(4)


def test_as_many_documents_are_summarised_as_are_given(tmp_path: Path):
    documents = [
        f"Report {number}. The well at farm {number} gave {number} litres an hour. A hen was seen."
        for number in range(1, 8)
    ]

    ran = run_example(tmp_path, "documents", {"documents": "\n----\n".join(documents)})

    assert ran.activity("summarise").count == 7
    assert all(summary in document for summary, document in zip(ran.outputs["summaries"], documents, strict=True))
    assert all(re.search(rf"\b{number}\b", ran.outputs["summaries"][number - 1]) for number in range(1, 8))
    ran.assert_paid_calls(8)


# --- approval ---------------------------------------------------------------------------------------------------------


def test_an_approval_waits_for_a_person_and_costs_nothing_meanwhile(tmp_path: Path):
    ran = run_example(tmp_path, "approval", {"complaint": text_of("approval", "complaint.txt")})

    assert ran.view.status == "waiting"
    assert "waits for approval 'review'" in ran.view.waiting_for
    assert ran.statuses() == {"draft": "completed", "review": "waiting", "file": "not_scheduled"}
    ran.assert_paid_calls(1)


def test_what_was_approved_is_filed(tmp_path: Path):
    complaint = text_of("approval", "complaint.txt")

    ran = run_example(tmp_path, "approval", {"complaint": complaint}, decision=(True, "at once"))

    assert ran.view.status == "completed"
    assert ran.outputs["approved"] is True
    assert (ran.outputs["by"], ran.outputs["comment"]) == ("ada", "at once")
    assert ran.outputs["department"] == "repairs"
    assert all(sentence in " ".join(complaint.split()) for sentence in ran.outputs["summary"].split(". "))
    ran.assert_paid_calls(2)


def test_what_was_rejected_is_not_filed_and_no_model_is_asked_where_to(tmp_path: Path):
    complaint = text_of("approval", "complaint.txt")

    ran = run_example(tmp_path, "approval", {"complaint": complaint}, decision=(False, "too vague"))

    assert ran.view.status == "completed"
    assert ran.outputs["approved"] is False
    assert ran.outputs["department"] is None
    assert ran.activity("file").status == "skipped"
    ran.assert_paid_calls(1)


def test_another_complaint_goes_to_another_department(tmp_path: Path):
    complaint = (
        "I was charged twice for the month of May. My bank shows two debits of 31 euros on the same day. "
        "Please refund the second payment and send me a corrected bill. Billing told me on the phone that "
        "they cannot see it."
    )

    ran = run_example(tmp_path, "approval", {"complaint": complaint}, decision=(True, ""))

    assert ran.outputs["department"] == "billing"
    assert "euros" in ran.outputs["summary"] or "refund" in ran.outputs["summary"]
