"""The examples do what they say: triage, fallback, research."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.examples_run import run_example, text_of

from headgate.core.money import nano

# --- triage -----------------------------------------------------------------------------------------------------------


def test_triage_files_every_letter_and_sends_the_digest_that_was_agreed_to(tmp_path: Path):
    letters = text_of("triage", "letters.txt")

    ran = run_example(tmp_path, "triage", {"letters": letters}, decision=(True, ""))

    assert ran.view.status == "completed"
    assert [record["topic"] for record in ran.outputs["records"]] == [
        *("repair", "praise", "refund", "repair", "refund", "other")
    ]
    assert [record["amount"] for record in ran.outputs["records"]] == [24, None, 39, None, 3.4, None]
    points = ran.outputs["digest"].removeprefix("- ").split("\n- ")
    assert len(points) == 4
    assert all(point in " ".join(letters.split()) for point in points)
    assert (ran.outputs["sent"], ran.outputs["by"]) == (True, "ada")
    ran.assert_paid_calls(13)


def test_triage_of_fewer_letters_asks_fewer_times(tmp_path: Path):
    letters = text_of("triage", "letters.txt").split("\n----\n")[1:4]

    ran = run_example(tmp_path, "triage", {"letters": "\n----\n".join(letters)}, decision=(False, ""))

    assert [record["topic"] for record in ran.outputs["records"]] == ["praise", "refund", "repair"]
    assert ran.outputs["sent"] is False
    ran.assert_paid_calls(7)


# --- fallback ---------------------------------------------------------------------------------------------------------


def fallback_inputs(questions: str = "") -> dict[str, object]:
    return {
        "text": text_of("fallback", "text.txt"),
        "questions": questions or text_of("fallback", "questions.txt"),
    }


def test_the_dear_model_answers_until_it_does_not_fit_and_then_the_cheap_one_does(tmp_path: Path):
    ran = run_example(tmp_path, "fallback", fallback_inputs())

    assert ran.view.status == "completed"
    assert ran.outputs["models"] == ["large", "large", "large", "small", "small"]
    assert [len(answer["budget_skipped_models"]) for answer in ran.activity("answer").output] == [
        0,
        0,
        0,
        1,
        1,
    ]
    assert "Agnes Tullock" in ran.outputs["answers"][0]
    assert "eight weeks" in ran.outputs["answers"][3]
    assert ran.outputs["answers"][4] == "not in the text"
    ran.assert_paid_calls(5)


def test_each_model_that_was_passed_over_stands_in_the_log_with_the_reason(tmp_path: Path):
    ran = run_example(tmp_path, "fallback", fallback_inputs())

    skipped = [event for event in ran.events if event.type == "model_skipped"]
    assert [event.place for event in skipped] == ["answer[3]", "answer[4]"]
    assert {event.fields["model"] for event in skipped} == {"demo/large"}
    dollars = r"\$[\d.]+"
    reason = rf"demo/large would cost up to {dollars}; the run's budget has {dollars} left of \$0\.0040*"
    assert all(re.fullmatch(reason, event.fields["reason"]) for event in skipped)


def test_a_larger_budget_keeps_the_dear_model_to_the_end(tmp_path: Path):
    ran = run_example(tmp_path, "fallback", fallback_inputs(), limit=nano("0.05"))

    assert ran.outputs["models"] == ["large"] * 5


def test_other_questions_get_other_answers(tmp_path: Path):
    questions = "When was the lamp changed to electricity?\nWhen are the steps closed?\n"

    ran = run_example(tmp_path, "fallback", fallback_inputs(questions))

    assert "1931" in ran.outputs["answers"][0]
    assert "November to March" in ran.outputs["answers"][1]
    ran.assert_paid_calls(2)


# --- research ---------------------------------------------------------------------------------------------------------


def research_inputs(question: str = "Why was the glassworks closed?", **more: object) -> dict[str, object]:
    return {"question": question, "sources": text_of("research", "sources.txt"), **more}


def test_research_goes_round_until_enough_sources_answer(tmp_path: Path):
    ran = run_example(tmp_path, "research", research_inputs())

    assert ran.view.status == "completed"
    assert ran.outputs["sources_read"] == 4
    assert len(ran.outputs["findings"]) == 2
    assert "run out of wood" in ran.outputs["findings"][0]
    assert "tenfold" in ran.outputs["findings"][1]
    assert [place for place in ran.places("activity_completed") if place.startswith(("search", "judge"))] == [
        *("search", "judge", "search@1", "judge@1", "search@2", "judge@2", "search@3", "judge@3")
    ]
    assert ran.places("activity_completed").count("report") == 1
    ran.assert_paid_calls(5)


def test_research_stops_at_the_first_source_where_one_is_enough(tmp_path: Path):
    ran = run_example(tmp_path, "research", research_inputs("When did the glassworks begin work?", enough=1))

    assert ran.outputs["sources_read"] == 2
    assert "1742" in ran.outputs["report"]
    ran.assert_paid_calls(3)


def test_research_reads_every_source_and_no_further_where_none_answers(tmp_path: Path):
    ran = run_example(tmp_path, "research", research_inputs("Which bishop consecrated the cathedral organ?"))

    assert ran.view.status == "completed"
    assert ran.outputs["sources_read"] == 5
    assert ran.outputs["findings"] == []
    assert ran.outputs["report"] is None
    assert ran.activity("report").status == "skipped"
    ran.assert_paid_calls(5)


def test_research_stops_searching_when_its_money_is_spent(tmp_path: Path):
    ran = run_example(
        tmp_path,
        "research",
        research_inputs("Which bishop consecrated the cathedral organ?"),
        change=("budget: 0.002", "budget: 0.00023"),
    )

    assert ran.view.status == "completed"
    assert ran.outputs["sources_read"] == 2
    assert ran.activity("search").cost <= nano("0.00023")
    ran.assert_paid_calls(2)


def test_research_goes_round_no_more_often_than_its_limit(tmp_path: Path):
    sources = "\n----\n".join(f"Page {number}. The baker sold {number} loaves." for number in range(1, 12))

    ran = run_example(
        tmp_path,
        "research",
        {"question": "Which bishop consecrated the cathedral organ?", "sources": sources},
    )

    assert ran.outputs["sources_read"] == 6
    loops = [event for event in ran.events if event.type == "loop_decided"]
    assert [event.fields["again"] for event in loops[:-1]] == [True] * 5
    assert loops[-1].fields["reason"] == "its limit of 6 iterations is reached"
