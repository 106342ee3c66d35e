"""What a process does with a database that another one owns, and when that one ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from tests.e2e.command_line import GATE, Process, headgate, json_of

pytestmark = pytest.mark.slow


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
