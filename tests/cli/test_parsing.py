"""What is given on the command line, and what becomes of it."""

import io

import click
import pytest
from click.testing import CliRunner

from headgate.authoring import load_definition
from headgate.cli import exit_codes
from headgate.cli.given_input import given_budget, given_input, given_json, given_labels
from headgate.cli.options import database_path
from headgate.cli.program import program
from headgate.cli.user_activities import load_activities
from headgate.core.errors import Invalid, NotFound, Unavailable
from headgate.core.view import PlaceView, RunView

FLOW = """
name: w
inputs:
  text: {type: string, required: false}
  notes: {type: file, required: false}
  count: {type: integer, required: false}
  any: {required: false}
activities:
  a: {use: echo, with: {x: 1}}
"""


@pytest.fixture
def definition():
    return load_definition(FLOW)


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("any=3", 3),
        ("any=[1, 2]", [1, 2]),
        ("any=true", True),
        ("any=plain words", "plain words"),
        ("any=", ""),
        ("any=a=b", "a=b"),
        ("any=007", "007"),
        ("count=12", 12),
    ],
)
def test_a_value_is_json_if_it_parses_and_text_otherwise(definition, pair, value):
    assert given_input(definition, (pair,), None) == {pair.partition("=")[0]: value}


def test_what_is_declared_a_text_stays_one_whatever_it_looks_like(definition):
    assert given_input(definition, ("text=12", "notes=[1]"), None) == {"text": "12", "notes": "[1]"}


def test_an_at_sign_takes_the_text_of_a_file(definition, tmp_path):
    (tmp_path / "n.txt").write_text("{not json}\n")

    assert given_input(definition, (f"notes=@{tmp_path}/n.txt",), None) == {"notes": "{not json}\n"}


def test_a_file_that_is_missing_or_no_text_is_named(definition, tmp_path):
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff")

    with pytest.raises(Invalid, match=r"--input notes: .*nowhere cannot be read: No such file"):
        given_input(definition, (f"notes=@{tmp_path}/nowhere",), None)
    with pytest.raises(Invalid, match=r"is not UTF-8 text \(byte 0\)"):
        given_input(definition, (f"notes=@{tmp_path}/picture",), None)


def test_single_inputs_add_to_the_whole_document(definition):
    assert given_input(definition, ("any=2",), '{"text": "a", "any": 1}') == {"text": "a", "any": 2}


def test_single_inputs_cannot_add_to_a_list(definition):
    with pytest.raises(Invalid, match="adds to a JSON object; --input-json gave a list"):
        given_input(definition, ("any=2",), "[1]")


def test_a_document_comes_from_the_text_a_file_or_stdin(tmp_path, monkeypatch):
    (tmp_path / "in.json").write_text('{"a": 1}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 2}'))

    assert given_json(str(tmp_path / "in.json"), "--data") == {"a": 1}
    assert given_json("-", "--data") == {"a": 2}
    assert given_json('{"a": 3}', "--data") == {"a": 3}
    assert given_json("4", "--data") == 4


@pytest.mark.parametrize("text", ["{", "[1,"])
def test_a_document_that_is_no_json_is_told_where_it_came_from(text):
    with pytest.raises(Invalid, match="--input-json is not JSON"):
        given_json(text, "--input-json")


@pytest.mark.parametrize("pair", ["nothing", "=x"])
def test_a_pair_without_name_or_equals_sign_is_refused(definition, pair):
    with pytest.raises(Invalid, match="expected name=value"):
        given_input(definition, (pair,), None)
    with pytest.raises(Invalid, match="--label: expected name=value"):
        given_labels((pair,))


@pytest.mark.parametrize(("text", "nano"), [("0.25", 250_000_000), ("$1", 1_000_000_000), ("0", 0), (None, None)])
def test_a_budget_is_dollars(text, nano):
    assert given_budget(text) == nano


@pytest.mark.parametrize("text", ["-1", "NaN", "Infinity", "ten", "1e12", ""])
def test_a_budget_that_is_no_amount_is_refused(text):
    with pytest.raises(Invalid, match="--budget: expected dollars"):
        given_budget(text)


def test_the_database_is_that_of_the_state_folder_unless_named():
    assert str(database_path(None)) == ".headgate/headgate.db"
    assert str(database_path("./some/x.db")) == "some/x.db"


def test_an_unknown_verb_is_answered_with_the_nearest():
    outcome = CliRunner().invoke(program, ["aprove", "-"])

    assert outcome.exit_code == 2
    assert 'There is no verb "aprove". Did you mean "approve"?' in outcome.output


WITHOUT_DATABASE = {"version", "explain", "help", "init", "schema", "demo"}


def test_every_verb_has_help_and_the_common_options():
    verbs = program.list_commands(None)
    for verb in verbs:
        outcome = CliRunner().invoke(program, [verb, "--help"])

        assert outcome.exit_code == 0, verb
        if isinstance(program.get_command(click.Context(program), verb), click.Group):
            continue  # its own verbs have them
        assert verb in WITHOUT_DATABASE or "--json" in outcome.output, verb
        assert verb in WITHOUT_DATABASE or "--db" in outcome.output, verb


def test_an_unknown_event_type_is_answered_with_the_nearest():
    outcome = CliRunner().invoke(program, ["events", "-", "--type", "run_complete"])

    assert 'Did you mean "run_completed"?' in str(outcome.exception)


def view(status, code="", *places):
    return RunView(
        id="r",
        workflow="w",
        definition="d",
        status=status,
        version=1,
        trace_id="t",
        mode="realtime",
        created_at=1,
        updated_at=1,
        error_code=code,
        activities=tuple(places),
    )


def waits(kind):
    return PlaceView(key="a", place="a", name="x", status="waiting", waits=kind)


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (view("completed"), 0),
        (view("failed", "activity_error"), 1),
        (view("waiting", "", waits("approval")), 3),
        (view("waiting", "", waits("signal")), 3),
        (view("waiting", "", waits("timer")), 0),
        (view("waiting", "", waits("approval"), waits("retry")), 0),
        (view("running", "", waits("approval")), 0),
        (view("failed", "budget_exceeded"), 4),
        (view("cancelled"), 5),
        (view("failed", "timed_out"), 6),
    ],
)
def test_the_exit_code_says_how_a_run_stands(run, code):
    assert exit_codes.code_of_run(run) == code


def test_the_exit_code_of_an_error_says_whether_to_try_again():
    assert [exit_codes.code_of_error(kind("x")) for kind in (Invalid, NotFound, Unavailable)] == [2, 2, 75]


def test_a_module_gives_its_public_functions_or_what_it_lists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open_ones.py").write_text("import json\ndef shout(p, c): return 1\ndef _hidden(p, c): return 2\n")
    (tmp_path / "listed.py").write_text("def a(p, c): return 1\nACTIVITIES = {'other-name': a}\n")

    found = load_activities(("open_ones.py", "listed"))

    assert sorted(found) == ["other-name", "shout"]


def test_a_module_that_cannot_be_imported_or_holds_nothing_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("1/0\n")
    (tmp_path / "empty_one.py").write_text("\n")

    with pytest.raises(Invalid, match=r"broken\.py cannot be imported: ZeroDivisionError"):
        load_activities(("broken.py",))
    with pytest.raises(Invalid, match="no ACTIVITIES map and no public function"):
        load_activities(("empty_one.py",))
    with pytest.raises(Invalid, match="ModuleNotFoundError"):
        load_activities(("not_there_at_all",))
