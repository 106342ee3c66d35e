"""Test files: what can be said in them, and what is said about one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.core.errors import Invalid
from headgate.core.money import nano
from headgate.testing.case_file import find_case_files, load_cases
from headgate.testing.cases import Case, CaseSignal, Crash, Expected, Moment

FLOW = """
name: letters
inputs: {letter: string}
activities:
  draft: {use: llm_prompt, with: {model: openai/gpt-5, prompt: "{{ INPUT.letter }}", max_tokens: 9}}
  review: {use: approval, after: [draft], with: {title: ok?}}
  send: {use: http_request, after: [review], with: {method: POST, url: "https://example.com/"}}
"""

FULL = """
cases:
  - name: all that can be said
    input: {letter: Dear Sir}
    budget: 0.5
    models:
      draft: [{text: A}, {error: {status: 429, message: busy}, delay: 90s}]
    prices: {openai/gpt-5: {input: 1, output: "2.5"}}
    activities:
      send: [{error: {code: http_503, message: busy, retryable: true}}, {output: {status: 200}, delay: 1m}]
    signals:
      - {approve: review, after: 2d, by: ann, comment: well put, data: {x: 1}}
      - {reject: , activity: review, after: draft}
      - {name: posted, activity: send, after: draft + 3h, data: [1]}
    clock: 2030-01-31T09:00:00Z
    secrets: {KEY: abc}
    crash: {after: draft}
    unused: allowed
    expect:
      status: failed
      outputs: {draft: {any: true}}
      path: [draft, review]
      cost: 0.25
      cost_max: 0.30
      calls: {draft: 2}
      error: {code: http_503, contains: busy}
      events: {retry_scheduled: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "letters.yaml").write_text(FLOW)
    return tmp_path


def load(folder: Path, text: str) -> list[Case]:
    (folder / "letters.test.yaml").write_text(text)
    return load_cases(folder / "letters.test.yaml")


def test_all_that_can_be_said_is_read(folder: Path):
    (case,) = load(folder, FULL)

    assert case == Case(
        name="all that can be said",
        workflow=FLOW,
        source=str(folder / "letters.yaml"),
        folder=str(folder),
        input={"letter": "Dear Sir"},
        limit=nano("0.5"),
        models={"draft": ({"text": "A"}, {"error": {"status": 429, "message": "busy"}, "delay": 90.0})},
        prices={"openai/gpt-5": {"input": 1, "output": "2.5"}},
        activities={
            "send": (
                {"error": {"code": "http_503", "message": "busy", "retryable": True}},
                {"output": {"status": 200}, "delay": 60.0},
            )
        },
        signals=(
            CaseSignal(
                kind="approve",
                activity="review",
                after=Moment(delay=172_800_000_000),
                by="ann",
                comment="well put",
                data={"x": 1},
            ),
            CaseSignal(kind="reject", activity="review", after=Moment("draft")),
            CaseSignal(kind="signal", name="posted", activity="send", after=Moment("draft", 10_800_000_000), data=[1]),
        ),
        clock=1_896_080_400_000_000,
        secrets={"KEY": "abc"},
        crash=Crash("draft"),
        unused="allowed",
        expect=Expected(
            status="failed",
            outputs={"draft": {"any": True}},
            path=("draft", "review"),
            cost=nano("0.25"),
            cost_max=nano("0.30"),
            calls={"draft": 2},
            error_code="http_503",
            error_contains="busy",
            events={"retry_scheduled": 1},
        ),
        file=str(folder / "letters.test.yaml"),
        line=3,
    )


@pytest.mark.parametrize(
    ("wrong", "right", "says"),
    [
        ("    budget: 0.5", "    bugdet: 0.5", ':5:5: unknown key "bugdet" in a case. Did you mean "budget"?'),
        ("cost_max: 0.30", "costs_max: 0.30", 'unknown key "costs_max" in expect. Did you mean "cost_max"?'),
        ("{text: A}", "{txt: A}", ":7:15: "),
        ("crash: {after: draft}", "crash: {after: draftt}", 'no activity "draftt". Did you mean "draft"?'),
        ("calls: {draft: 2}", "calls: {drafts: 2}", ':25:23: the workflow has no activity "drafts".'),
        ("path: [draft, review]", "path: [draft, revue]", 'no activity "revue". Did you mean "review"?'),
        ("after: draft + 3h", "after: draff + 3h", ':14:47: the workflow has no activity "draff".'),
        ("after: 2d", "after: [2d]", ":12:34: expected after to be a time such as 3d"),
        ("status: failed", "status: faild", 'Did you mean "failed"?'),
        ("cost: 0.25", "cost: cheap", "expected cost to be an amount of US dollars"),
        ("{input: 1,", "{input: dear,", "to be a price in dollars per million tokens"),
        ("{output: {status: 200}, delay: 1m}", "{delay: 1m}", "expected a result to be {output: …}"),
        ("{name: posted, ", "{", "expected a signal to have one of"),
        ("clock: 2030-01-31T09:00:00Z", "clock: noon", "expected clock to be a time"),
        ("  - name: all that can be said\n    input:", "  - input:", "a case needs a `name`"),
        ("cases:", "case:", 'unknown key "case" in a test file. Did you mean "cases"?'),
        ("      draft: [", "      draft: [1, ", "expected draft[0] to be an answer"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(folder: Path, wrong: str, right: str, says: str):
    assert wrong in FULL

    with pytest.raises(Invalid) as error:
        load(folder, FULL.replace(wrong, right, 1))

    assert "letters.test.yaml:" in error.value.message
    assert says in error.value.message


def test_two_cases_of_one_name_are_told_apart(folder: Path):
    with pytest.raises(Invalid, match="the case in line 2 is named"):
        load(folder, "cases:\n  - name: a\n  - name: a\n")


def test_a_test_file_without_its_workflow_says_which_it_looked_for(tmp_path: Path):
    (tmp_path / "alone.test.yaml").write_text("cases: [{name: a}]\n")

    with pytest.raises(Invalid, match=r"there is no alone\.yaml beside this file"):
        load_cases(tmp_path / "alone.test.yaml")


def test_a_test_file_may_name_its_workflow_and_the_children_of_it(folder: Path):
    (folder / "child.yaml").write_text("name: child\nactivities:\n  a: {use: echo, with: {x: 1}}\n")
    (folder / "other.test.yaml").write_text("workflow: letters.yaml\nchildren: [child.yaml]\ncases: [{name: a}]\n")

    (case,) = load_cases(folder / "other.test.yaml")

    assert case.workflow == FLOW
    assert list(case.children) == [str(folder / "child.yaml")]


def test_a_wrong_workflow_is_said_with_its_own_place(folder: Path):
    (folder / "letters.yaml").write_text(FLOW.replace("use: approval", "use: aproval"))

    with pytest.raises(Invalid, match=r"letters\.yaml:6:\d+: .*Did you mean \"approval\""):
        load(folder, "cases: [{name: a}]\n")


def test_test_files_are_found_below_folders_in_order(tmp_path: Path):
    for name in ("b/x.test.yaml", "a/y.test.yml", "a/.venv/z.test.yaml", "a/plain.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    found = find_case_files([tmp_path, tmp_path / "b/x.test.yaml"])

    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a/y.test.yml", "b/x.test.yaml"]
    with pytest.raises(Invalid, match="There is no"):
        find_case_files([tmp_path / "nowhere"])
