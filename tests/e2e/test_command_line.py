"""The command line as people use it: real processes, one at a time, and one database."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import apsw
import pytest
from tests.e2e.command_line import SECONDS_MAX, environment, headgate, json_of

pytestmark = pytest.mark.slow


def test_a_run_prints_its_outputs_on_stdout_and_all_else_on_stderr(folder):
    done = headgate(folder, "run", "say.yaml", "--input", "k=3")

    assert done.returncode == 0
    assert json.loads(done.stdout) == {"a": {"x": 3}}
    assert done.stderr.splitlines()[0] == "database: .headgate/headgate.db"
    assert "a  completed" in done.stderr
    assert "trace " in done.stderr


def test_the_state_folder_ignores_itself_and_holds_nothing_but_the_database_afterwards(folder):
    headgate(folder, "run", "say.yaml", "--input", "k=3")

    assert (folder / ".headgate/.gitignore").read_text() == "*\n"
    assert {path.name for path in (folder / ".headgate").iterdir()} == {".gitignore", "headgate.db", "headgate.db.lock"}


def test_json_is_one_document_with_iso_times_and_decimal_money(folder):
    done = headgate(folder, "run", "say.yaml", "--input", "k=3", "--budget", "0.10", "--json")

    run = json.loads(done.stdout)
    assert (done.stderr, done.stdout.count("\n")) == ("", 1)
    assert run["outputs"] == {"a": {"x": 3}}
    assert (run["limit_usd"], run["cost_usd"]) == ("0.1", "0")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", run["created_at"])


def test_quiet_prints_the_result_only(folder):
    done = headgate(folder, "run", "say.yaml", "--input", "k=3", "--quiet")

    assert done.stderr == ""
    assert json.loads(done.stdout) == {"a": {"x": 3}}


FAILING = (
    "name: bad\nactivities:\n  a: {use: script, with: {script: 'raise ValueError(17)'}, retry: {max_attempts: 1}}\n"
)
DEAR = """
name: dear
budget: 0.0000001
activities:
  a: {use: llm_prompt, with: {model: demo/small, prompt: Summarise this text., max_tokens: 1000}}
"""
SLOW = "name: slow\ntimeout: 1s\nactivities:\n  a: {use: wait, with: {duration: 10m}}\n"


@pytest.mark.parametrize(
    ("flow", "code", "said"),
    [(FAILING, 1, "ValueError"), (DEAR, 4, "budget_exceeded"), (SLOW, 6, "timed_out")],
)
def test_a_run_that_fails_says_why_with_its_trace_and_exits_with_its_own_code(folder, flow, code, said):
    (folder / "f.yaml").write_text(flow)

    done = headgate(folder, "run", "f.yaml")

    assert (done.returncode, done.stdout) == (code, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: run ")
    assert said in last
    assert re.search(r"\(trace [0-9a-f]{32}\)$", last)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml cannot be read: No such file"),
        (["run", "say.yaml", "--input", "k"], "expected name=value"),
        (["run", "say.yaml", "--budget", "much"], "expected dollars"),
        (["run", "say.yaml", "--models", "nowhere.yaml"], "cannot be read"),
        (["run", "say.yaml", "--activities", "not_there_at_all"], "ModuleNotFoundError"),
        (["run", "torn.yaml"], "torn.yaml:2:1: the file cannot be read as YAML"),
        (["run", "binary.yaml"], "not UTF-8"),
        (["run", "typed.yaml", "--input", "n=many"], "expected n to be a whole number"),
        (["show", "-"], "There is no database"),
        (["work"], "There is no database"),
        (["runn", "say.yaml"], 'Did you mean "run"?'),
        (["state", "-"], "--at"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_nothing_behind(folder, arguments, said):
    (folder / "torn.yaml").write_text("a: [1\n")
    (folder / "binary.yaml").write_bytes(b"name: \xff\n")
    (folder / "typed.yaml").write_text("name: t\ninputs: {n: {type: integer}}\nactivities:\n  a: {use: echo}\n")

    done = headgate(folder, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (folder / ".headgate").exists()


def test_an_error_under_json_is_a_document_with_its_branch_and_places(folder):
    (folder / "torn.yaml").write_text("name: x\nactivitis: {}\n")

    done = headgate(folder, "run", "torn.yaml", "--json")

    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["branch"], error["code"]) == (2, "invalid", "invalid_definition")
    assert (2, 1) in [(problem["line"], problem["column"]) for problem in error["problems"]]


def test_check_prints_places_and_suggestions_and_what_holds_by_default(folder):
    (folder / "typo.yaml").write_text("name: x\nactivities:\n  a: {use: echo, retrry: 3}\n")
    (folder / "defaults.yaml").write_text(
        "name: d\nbudget: 1\nactivities:\n  p: {use: llm_prompt, with: {model: demo/small, prompt: x}}\n"
        "  h: {use: http_request, with: {method: POST, url: 'http://localhost/'}}\n"
    )

    done = headgate(folder, "check", "typo.yaml", "defaults.yaml")

    assert done.returncode == 2
    assert re.search(r'^typo.yaml:3:\d+: .*Did you mean "retry"', done.stdout, re.MULTILINE)
    assert re.search(
        r"^  p  llm_prompt +4 attempts .*max_tokens 1024 \(by default, under a budget\)", done.stdout, re.MULTILINE
    )
    assert "sent again only when it certainly did not leave" in done.stdout


def test_check_refuses_an_unpriced_model_under_a_budget(folder):
    text = "name: d\nbudget: 1\nactivities:\n  p: {use: llm_prompt, with: {model: openai/gpt-unheard-of, prompt: x}}\n"
    (folder / "f.yaml").write_text(text)

    done = headgate(folder, "check", "f.yaml")

    assert done.returncode == 2
    assert "no price is known of openai/gpt-unheard-of" in done.stdout


def test_what_was_started_and_left_is_done_by_work(folder):
    started = headgate(folder, "run", "say.yaml", "--input", "k=1", "--detach")
    before = json_of(folder, "show", started.stdout.strip())

    done = headgate(folder, "work")

    assert before["status"] == "running"
    assert done.returncode == 0
    assert json_of(folder, "show", "-")["status"] == "completed"


def test_work_says_that_a_run_waits_for_a_person(folder):
    waiting = headgate(folder, "run", "gate.yaml", "--no-wait")

    done = headgate(folder, "work")

    assert (waiting.returncode, done.returncode) == (3, 3)
    assert "waits for approval 'ok'" in done.stderr


def test_an_approval_without_an_owner_is_recorded_and_work_goes_on(folder):
    headgate(folder, "run", "gate.yaml", "--no-wait")

    approved = headgate(folder, "approve", "-", "--by", "ada", "--comment", "fine")
    between = json_of(folder, "show", "-")
    worked = headgate(folder, "work")

    assert "`headgate work` goes on" in approved.stderr
    assert between["status"] == "running"
    assert worked.returncode == 0
    assert json_of(folder, "show", "-")["outputs"] == {"last": {"by": "ada", "approved": True}}


def test_an_approval_with_work_goes_on_at_once_and_ends_with_the_runs_code(folder):
    headgate(folder, "run", "gate.yaml", "--no-wait")

    done = headgate(folder, "approve", "-", "--by", "ada", "--work")

    assert done.returncode == 0
    assert json.loads(done.stdout) == {"last": {"by": "ada", "approved": True}}


def test_a_failed_run_goes_on_from_what_failed_with_a_mended_script_of_models(folder):
    (folder / "f.yaml").write_text(
        "name: two\nactivities:\n  a: {use: llm_prompt, with: {model: scripted/m, prompt: x}}\n"
        "  b: {use: llm_prompt, after: [a], with: {model: scripted/m, prompt: y}, retry: {max_attempts: 1}}\n"
    )
    (folder / "broken.yaml").write_text("models: {a: [{text: one}], b: [{error: {status: 500, message: broken}}]}\n")
    (folder / "mended.yaml").write_text("models: {b: [{text: two}]}\n")

    failed = headgate(folder, "run", "f.yaml", "--models", "broken.yaml")
    retried = headgate(folder, "retry", "-", "--models", "mended.yaml", "--work")

    assert (failed.returncode, retried.returncode) == (1, 0)
    assert json.loads(retried.stdout)["b"]["content"] == "two"


def test_pause_and_resume_and_cancel_say_what_they_did(folder):
    headgate(folder, "run", "gate.yaml", "--no-wait")

    paused = headgate(folder, "pause", "-", "--reason", "lunch")
    at_lunch = json_of(folder, "show", "-")
    resumed = headgate(folder, "resume", "-")
    cancelled = json_of(folder, "cancel", "-")

    assert (paused.returncode, resumed.returncode) == (0, 0)
    assert "is paused: lunch" in at_lunch["waiting_for"]
    assert cancelled["status"] == "cancelled"


def test_a_signal_carries_its_data(folder):
    (folder / "f.yaml").write_text(
        "name: s\nactivities:\n  a: {use: echo, wait_for: go, with: {got: '{{ SIGNAL.n }}'}}\n"
    )
    waiting = headgate(folder, "run", "f.yaml", "--no-wait")

    done = headgate(folder, "signal", "-", "go", "--data", '{"n": 4}', "--work")

    assert (waiting.returncode, done.returncode) == (3, 0)
    assert json.loads(done.stdout) == {"a": {"got": 4}}


def test_runs_are_listed_with_short_ids_that_are_taken_by_every_verb(folder):
    for number in range(3):
        headgate(folder, "run", "say.yaml", "--input", f"k={number}")
    listed = headgate(folder, "runs")
    whole = json_of(folder, "runs", "--limit", "2")

    ids = [line.split()[0] for line in listed.stdout.splitlines()]

    assert [len(id_) for id_ in ids] == [6, 6, 6]
    assert [run["id"][:6] for run in whole] == ids[:2]
    assert json_of(folder, "show", ids[2])["outputs"] == {"a": {"x": 0}}


def test_the_state_after_an_event_is_that_of_then(folder):
    headgate(folder, "run", "say.yaml", "--input", "k=3")

    early, late = json_of(folder, "state", "-", "--at", "2"), json_of(folder, "state", "-", "--at", "4")
    beyond = headgate(folder, "state", "-", "--at", "99")

    assert (early["status"], early["activities"][0]["status"]) == ("running", "running")
    assert (late["status"], late["outputs"]) == ("completed", {"a": {"x": 3}})
    assert (beyond.returncode, "there is no event 99" in beyond.stderr) == (2, True)


def test_events_are_json_lines_with_times_and_can_be_filtered(folder):
    headgate(folder, "run", "say.yaml", "--input", "k=3")

    lines = headgate(folder, "events", "-", "--json").stdout.splitlines()
    some = headgate(folder, "events", "-", "--type", "activity_completed", "--after", "1").stdout.splitlines()

    events = [json.loads(line) for line in lines]
    assert [event["version"] for event in events] == [1, 2, 3, 4]
    assert all(event["at"].endswith("Z") and event["trace_id"] for event in events)
    assert len(some) == 1
    assert "activity_completed" in some[0]


def test_every_log_line_of_a_run_carries_its_trace(folder):
    (folder / "acts.py").write_text(
        "import logging\n"
        "def loud(p, c):\n    logging.getLogger('mine').info('hello')\n    c.log('there')\n    return 1\n"
    )
    (folder / "f.yaml").write_text("name: l\nactivities:\n  a: {use: loud}\n")

    done = headgate(folder, "run", "f.yaml", "--activities", "acts.py", "--log-level", "info", "--log-json", "--json")

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in lines] == ["hello", "there"]
    assert {line["trace_id"] for line in lines} == {json.loads(done.stdout)["trace_id"]}


def test_the_database_of_a_newer_release_is_left_alone(folder):
    headgate(folder, "run", "say.yaml", "--input", "k=3")
    connection = apsw.Connection(str(folder / ".headgate/headgate.db"))
    connection.pragma("user_version", 99)
    connection.close()

    for verb in (["runs"], ["run", "say.yaml", "--input", "k=1"], ["work"]):
        done = headgate(folder, *verb)

        assert done.returncode == 2, verb
        assert "written by a newer Headgate (schema 99" in done.stderr


def test_a_folder_that_cannot_be_made_and_a_file_that_is_no_database_are_told(folder):
    (folder / ".headgate").write_text("in the way")
    (folder / "text.db").write_text("no database at all " * 100)

    in_the_way = headgate(folder, "run", "say.yaml", "--input", "k=1")
    no_database = headgate(folder, "run", "say.yaml", "--input", "k=1", "--db", "text.db")

    assert in_the_way.returncode == 75
    assert "cannot be made here" in in_the_way.stderr
    assert no_database.returncode == 75
    assert "is not an SQLite database" in no_database.stderr


def test_the_database_is_named_by_option_or_environment(folder):
    headgate(folder, "run", "say.yaml", "--input", "k=1", "--db", "one.db")

    by_variable = headgate(folder, "runs", HEADGATE_DB="one.db")

    assert by_variable.stderr == "database: one.db\n"
    assert not (folder / ".headgate").exists()


@pytest.mark.parametrize("verb", ["version", "runs"])
def test_a_verb_that_only_looks_imports_nothing_heavy(folder, verb):
    headgate(folder, "run", "say.yaml", "--input", "k=1")
    program = (
        "import sys\nfrom headgate.cli.program import program\n"
        f"program.main(['{verb}'], standalone_mode=False)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'jinja2', 'httpx2', 'rich', 'yaml'}),"
        " [name for name in sys.modules if name.startswith('headgate.llm')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )

    assert done.stdout.splitlines()[-1] in ("[] []", "['yaml'] []")


def test_doctor_names_what_is_missing_and_never_what_a_key_is(folder):
    headgate(folder, "run", "say.yaml", "--input", "k=1")

    done = headgate(folder, "doctor", "--offline", MISTRAL_API_KEY="very-secret")

    assert done.returncode == 0
    assert "synchronous FULL" in done.stdout
    assert "no key: set OPENAI_API_KEY" in done.stdout
    assert re.search(r"mistral +configured", done.stdout)
    assert "very-secret" not in done.stdout + done.stderr
