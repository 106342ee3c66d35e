"""The command line as people use it: real processes, a real terminal, one database."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import apsw
import pytest

pytestmark = pytest.mark.slow

SECONDS_MAX = 30
ECHO = "name: say\nactivities:\n  a: {use: echo, with: {x: '{{ INPUT.k }}'}}\n"
GATE = """
name: gate
activities:
  first: {use: echo, with: {x: 1}}
  ok: {use: approval, after: [first], with: {title: Send it?}}
  last: {use: echo, after: [ok], with: {by: "{{ ok.by }}", approved: "{{ ok.approved }}"}}
"""


def environment(**more):
    """Ours without anybody's keys, settings or colours."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return kept | {"PYTHONWARNINGS": "error::ResourceWarning", "PYTHONUTF8": "1"} | more


def command(*arguments):
    return [sys.executable, "-m", "headgate", *map(str, arguments)]


def headgate(folder, *arguments, **more):
    """Run a verb to its end, with no terminal anywhere."""
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=SECONDS_MAX,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Warning" not in done.stderr
    assert "Traceback" not in done.stderr
    return done


def json_of(folder, *arguments):
    done = headgate(folder, *arguments, "--json")
    return json.loads(done.stdout)


class Process:
    """A verb that goes on; its stderr is read as it comes."""

    def __init__(self, folder, *arguments, **more):
        self._popen = subprocess.Popen(
            command(*arguments), cwd=folder, env=environment(**more), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self._popen.pid
        self.lines = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._popen.kill()
        self._popen.wait()
        self._reader.join()
        self._popen.stdout.close()
        self._popen.stderr.close()

    def _read(self):
        for line in self._popen.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def until(self, text):
        """Return the first line that holds `text`, as soon as there is one."""
        with self._news:
            self._news.wait_for(lambda: self._ended or any(text in line for line in self.lines), SECONDS_MAX)
            return next((line for line in self.lines if text in line), None) or pytest.fail(
                f"{text!r} never came; what came: {self.lines}"
            )

    def signal(self, number):
        self._popen.send_signal(number)

    def end(self):
        """Return the exit code and what stood on stdout."""
        code = self._popen.wait(SECONDS_MAX)
        self._reader.join()
        assert not any("Traceback" in line or "Warning" in line for line in self.lines), self.lines
        return code, self._popen.stdout.read()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "say.yaml").write_text(ECHO)
    (tmp_path / "gate.yaml").write_text(GATE)
    return tmp_path


# --- One process ---------------------------------------------------------------------------------------------------


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


# --- Two processes -------------------------------------------------------------------------------------------------


def test_while_a_run_waits_other_processes_read_it_and_approve_it(folder):
    with Process(folder, "run", "gate.yaml") as first:
        first.until("To go on, elsewhere: headgate approve")

        shown = json_of(folder, "show", "-")
        listed = json_of(folder, "runs", "--status", "waiting")
        events = headgate(folder, "events", "-").stdout
        approved = headgate(folder, "approve", "-", "--by", "ada")

        assert first.end() == (0, json.dumps({"last": {"by": "ada", "approved": True}}, indent=2) + "\n")
    assert (shown["status"], len(listed)) == ("waiting", 1)
    assert "activity_suspended" in events
    assert approved.returncode == 0
    assert "headgate work" not in approved.stderr


def test_a_second_run_is_handed_to_the_owner_and_followed_there(folder):
    with Process(folder, "run", "gate.yaml") as owner:
        owner.until("To go on, elsewhere")

        second = headgate(folder, "run", "say.yaml", "--input", "k=5")
        headgate(folder, "approve", json_of(folder, "runs", "--status", "waiting")[0]["id"])

        assert owner.end()[0] == 0
    assert second.returncode == 0
    assert f"Process {owner.pid} owns the database" in second.stderr
    assert json.loads(second.stdout) == {"a": {"x": 5}}


def test_an_owner_whose_own_run_has_ended_finishes_what_was_handed_to_it_once(folder):
    script = (
        "import os, time\n"
        f"open('{folder}/begun', 'a').write('x')\n"
        f"while not os.path.exists('{folder}/go'):\n    time.sleep(0.02)\n"
        "OUTPUT = {'done': True}\n"
    )
    flow = {"name": "long", "activities": {"a": {"use": "script", "with": {"script": script}}}}
    (folder / "long.yaml").write_text(json.dumps(flow))
    with Process(folder, "run", "gate.yaml") as owner:
        owner.until("To go on, elsewhere")
        waiting = json_of(folder, "runs", "--status", "waiting")[0]["id"]
        with Process(folder, "run", "long.yaml") as second:
            second.until("a  running")

            headgate(folder, "approve", waiting)
            owner.until("Going on for 1 run that another process handed over")
            (folder / "go").touch()

            assert second.end()[0] == owner.end()[0] == 0
    assert (folder / "begun").read_text() == "x"


def test_of_several_that_begin_at_once_one_owns_and_all_are_done(folder):
    processes = [Process(folder, "run", "say.yaml", "--input", f"k={number}") for number in range(4)]
    try:
        ends = [process.end() for process in processes]
    finally:
        for process in processes:
            process.__exit__()

    assert [code for code, _ in ends] == [0, 0, 0, 0]
    assert [json.loads(text)["a"]["x"] for _, text in ends] == [0, 1, 2, 3]
    assert len(json_of(folder, "runs")) == 4


def test_what_belongs_to_the_second_process_alone_cannot_be_handed_over(folder):
    (folder / "models.yaml").write_text("models: {a: [{text: x}]}\n")
    with Process(folder, "run", "gate.yaml") as owner:
        owner.until("To go on, elsewhere")

        second = headgate(folder, "run", "say.yaml", "--input", "k=5", "--models", "models.yaml")

    assert second.returncode == 2
    assert "--models is of this process and cannot be handed over" in second.stderr


def test_an_error_of_the_owner_is_the_same_in_the_second_process(folder):
    with Process(folder, "run", "gate.yaml") as owner:
        owner.until("To go on, elsewhere")
        there = headgate(folder, "approve", "-", "nope", "--json")
    here = headgate(folder, "approve", "-", "nope", "--json")

    assert json.loads(there.stdout) == json.loads(here.stdout)
    assert there.returncode == here.returncode == 2


def test_after_kill_minus_nine_of_the_owner_nothing_is_in_the_way(folder):
    with Process(folder, "run", "gate.yaml") as owner:
        owner.until("To go on, elsewhere")
        owner.signal(signal.SIGKILL)
        assert owner.end()[0] == -signal.SIGKILL
    assert (folder / ".headgate/headgate.db.sock").exists()  # it is dead, and stays where it was

    shown = json_of(folder, "show", "-")
    approved = headgate(folder, "approve", "-", "--by", "ada")
    worked = headgate(folder, "work")

    assert shown["status"] == "waiting"
    assert (approved.returncode, worked.returncode) == (0, 0)
    assert json_of(folder, "show", "-")["outputs"] == {"last": {"by": "ada", "approved": True}}


def test_a_follower_takes_the_place_of_an_owner_that_is_killed(folder):
    with Process(folder, "run", "gate.yaml") as owner:
        owner.until("To go on, elsewhere")
        with Process(folder, "run", "gate.yaml", "--label", "which=second") as follower:
            follower.until("To go on, elsewhere")
            owner.signal(signal.SIGKILL)
            follower.until("going on here")
            run = next(run for run in json_of(folder, "runs") if run["labels"])

            approved = headgate(folder, "approve", run["id"], "--by", "ada")

            assert follower.end() == (0, json.dumps({"last": {"by": "ada", "approved": True}}, indent=2) + "\n")
    assert approved.returncode == 0
    assert len(json_of(folder, "runs")) == 2  # the start was not repeated


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_process_that_is_asked_to_end_leaves_in_order_and_loses_nothing(folder, number, code):
    with Process(folder, "run", "gate.yaml") as process:
        process.until("To go on, elsewhere")
        process.signal(number)

        assert process.end() == (code, "")
        process.until("`headgate work` goes on with run")
    assert not (folder / ".headgate/headgate.db.sock").exists()
    assert json_of(folder, "show", "-")["status"] == "waiting"


def test_a_cancelled_run_ends_its_follower_with_its_code(folder):
    with Process(folder, "run", "gate.yaml") as process:
        process.until("To go on, elsewhere")
        headgate(folder, "cancel", "-", "--reason", "too late")

        assert process.end()[0] == 5


def test_events_are_followed_in_a_file_that_another_process_writes(folder):
    with Process(folder, "run", "gate.yaml") as owner:
        owner.until("To go on, elsewhere")
        with Process(folder, "events", "-", "-f") as follower:
            follower.until("database:")
            headgate(folder, "approve", "-")
            code, text = follower.end()
        owner.end()

    assert code == 0
    assert [line.split()[0] for line in text.splitlines()] == [str(n + 1) for n in range(len(text.splitlines()))]
    assert "run_completed" in text


def test_an_owner_that_works_for_ever_takes_runs_of_other_processes(folder):
    with Process(folder, "work", "--forever") as owner:
        owner.until("Working")
        done = headgate(folder, "run", "say.yaml", "--input", "k=9")
        second = headgate(folder, "work", "--forever")
        owner.signal(signal.SIGTERM)

        assert owner.end()[0] == 143
    assert json.loads(done.stdout) == {"a": {"x": 9}}
    assert (second.returncode, "works on its runs already" in second.stderr) == (75, True)


def test_a_database_with_a_very_long_path_has_its_socket_elsewhere(folder):
    deep = folder / ("long" * 30)
    deep.mkdir()
    (deep / "gate.yaml").write_text(GATE)
    with Process(deep, "run", "gate.yaml") as owner:
        owner.until("To go on, elsewhere")
        address = json.loads(json.loads((deep / ".headgate/headgate.db.lock").read_text())["address"])["path"]

        assert headgate(deep, "approve", "-").returncode == 0
        assert owner.end()[0] == 0
    assert len(address) <= 100
    assert not Path(address).parent.exists()


# --- A terminal ----------------------------------------------------------------------------------------------------


class Terminal:
    """A verb at a terminal of its own, 80 columns by `rows`."""

    def __init__(self, folder, *arguments, rows=24, **more):
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(sys.executable, command(*arguments), environment(**{"TERM": "xterm-256color"} | more))
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._descriptor)

    def until(self, text):
        deadline = time.monotonic() + SECONDS_MAX
        while text not in self.text:
            assert self._more(deadline), f"{text!r} never came; what came: {self.text}"

    def _more(self, deadline):
        ready, _, _ = select.select([self._descriptor], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"nothing more came, and it has not ended; what came: {self.text}"
        try:
            data = os.read(self._descriptor, 65_536)
        except OSError:  # Linux says EIO where the other side has closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def type(self, keys):
        os.write(self._descriptor, keys.encode())

    def end(self):
        deadline = time.monotonic() + SECONDS_MAX
        while self._more(deadline):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_at_a_terminal_y_and_enter_approve_what_is_asked(folder):
    with Terminal(folder, "run", "gate.yaml") as terminal:
        terminal.until("Approve ok: Send it?  y or n, then Enter:")
        terminal.until("or elsewhere: headgate approve")
        terminal.type("x\ry\r")

        assert terminal.end() == 0
    assert '"approved": true' in terminal.text
    assert "✓" in terminal.text


def test_at_a_terminal_n_and_enter_reject(folder):
    with Terminal(folder, "run", "gate.yaml") as terminal:
        terminal.until("y or n, then Enter:")
        terminal.type("n\r")

        assert terminal.end() == 0
    assert '"approved": false' in terminal.text


@pytest.mark.parametrize(("key", "code", "said"), [("y", 0, '"said": "one"'), ("n", 4, "refused")])
def test_at_a_terminal_y_raises_the_limit_that_a_call_asks_about_and_n_refuses(folder, key, code, said):
    (folder / "dear.yaml").write_text(
        "name: dear\nbudget: {limit: 0.000001, action: ask}\nactivities:\n"
        "  a: {use: llm_prompt, with: {model: scripted/m, prompt: hello, max_tokens: 20}}\n"
        "outputs: {said: '{{ a.content }}'}\n"
    )
    (folder / "models.yaml").write_text("models: {a: [{text: one}]}\nprices: {m: {output: 1000}}\n")

    with Terminal(folder, "run", "dear.yaml", "--models", "models.yaml") as terminal:
        terminal.until("Raise the run's budget to $0.02 for a?  y or n, then Enter:")
        terminal.type(f"{key}\r")

        assert terminal.end() == code
    assert said in terminal.text


def test_without_colour_the_picture_has_none(folder):
    with Terminal(folder, "run", "gate.yaml", NO_COLOR="1") as terminal:
        terminal.until("y or n, then Enter:")
        terminal.type("y\r")
        terminal.end()

    assert not re.search(r"\x1b\[[\d;]*3\d[\d;]*m", terminal.text)


def test_a_terminal_that_cannot_draw_gets_plain_lines(folder):
    with Terminal(folder, "run", "say.yaml", "--input", "k=1", TERM="dumb") as terminal:
        assert terminal.end() == 0

    assert "\x1b" not in terminal.text
    assert "a  completed" in terminal.text


def test_ctrl_c_at_a_terminal_leaves_the_terminal_as_it_was(folder):
    with Terminal(folder, "run", "gate.yaml") as terminal:
        terminal.until("y or n, then Enter:")
        terminal.type("\x03")

        assert terminal.end() == 130
    assert "`headgate work` goes on" in terminal.text
    assert terminal.text.rstrip().endswith("\x1b[?25h") or terminal.text.rfind("\x1b[?25h") > terminal.text.rfind(
        "\x1b[?25l"
    )
