"""Every log line that concerns a run carries its trace id, and nobody passes it by hand."""

import asyncio
import gc
import logging

import msgspec
import pytest

from headgate.app import App
from headgate.core.errors import Unavailable
from headgate.engine.logs import JsonFormatter, PlainFormatter, log_to_stderr
from headgate.ports import Attempt, StartRequest
from headgate.stores.sqlite import SqliteLog

FLOW = """
name: w
activities:
  native: {use: transform, with: {x: "{{ INPUT.a }}"}}
  plain: {use: shouts, with: {x: 1}}
  async: {use: shouts_later, with: {x: 1}}
"""


@pytest.fixture
def root():
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


def shouts(parameters, context):
    logging.getLogger("mine").warning("from a thread")
    context.log("through the context", size=3)
    return 1


async def shouts_later(parameters, context):
    await asyncio.sleep(0)
    logging.getLogger("mine").warning("from loop U")
    return 1


def logged(tmp_path, capsys, work):
    log_to_stderr("INFO", as_json=True)

    async def run():
        app = App(
            SqliteLog(tmp_path / "x.db"), activities={"shouts": shouts, "shouts_later": shouts_later}, offline=True
        )
        async with app:
            return await work(app)

    result = asyncio.run(run())
    lines = [msgspec.json.decode(line) for line in capsys.readouterr().err.splitlines()]
    return result, lines


def test_lines_of_user_code_carry_the_trace_of_its_run(tmp_path, capsys, root):
    async def work(app):
        started = [await app.desk.start(StartRequest(definition=FLOW, input={"a": n})) for n in range(3)]
        await app.desk.settled()
        return {run.trace_id for run in started}

    traces, lines = logged(tmp_path, capsys, work)

    for message in ("from a thread", "from loop U", "through the context"):
        of_message = [line["trace_id"] for line in lines if line["message"] == message]
        assert sorted(of_message) == sorted(traces), message
    assert {line["trace_id"] for line in lines} == traces


def test_a_fault_of_the_engine_is_logged_with_the_trace_of_its_run(tmp_path, capsys, root):
    async def fault():
        raise ZeroDivisionError("ours")

    async def work(app):
        app.engine.spawn(fault(), "trace-of-the-run")
        await asyncio.sleep(0)  # the task fails
        await asyncio.sleep(0)  # and is told
        assert app.engine.failures

    _, lines = logged(tmp_path, capsys, work)

    (line,) = [line for line in lines if "Headgate engine task failed" in line["message"]]
    assert line["trace_id"] == "trace-of-the-run"
    assert "ZeroDivisionError: ours" in line["exception"]


def test_each_line_of_a_plain_traceback_names_the_trace():
    try:
        raise Attempt.failed("code", "two\nlines")
    except Attempt as error:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "it %s", ("broke\nbadly",), (type(error), error, None))
    record.trace_id = "t1"

    lines = PlainFormatter().format(record).splitlines()

    assert lines[0].endswith("ERROR x trace=t1 it broke")
    assert len(lines) > 2
    assert all("trace=t1" in line for line in lines)


def test_a_line_about_no_run_says_so():
    record = logging.LogRecord("x", logging.INFO, "f", 1, "hello", (), None)

    assert msgspec.json.decode(JsonFormatter().format(record))["trace_id"] == "-"


def test_the_level_is_that_of_the_last_call(capsys, root):
    log_to_stderr("INFO")
    log_to_stderr("ERROR")

    logging.getLogger("x").warning("quiet")
    logging.getLogger("x").error("loud")

    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["loud"]


class FullForAMoment(SqliteLog):
    """A log whose disk is full for one commit: the first that holds many results."""

    failed = False

    async def commit(self, batch):
        results = [row for item in batch for row in item.rows if "activity_completed" in row]
        if len(results) > 10 and not self.failed:
            self.failed = True
            raise Unavailable("The disk is full.")
        return await super().commit(batch)


@pytest.mark.slow
def test_reports_that_cannot_be_written_say_so_once_each_try_with_the_trace(tmp_path, capsys, root):
    root.handlers.clear()  # pytest's keep every error alive, and so hide that nobody looked at it
    log_to_stderr("WARNING", as_json=True)
    flow = 'name: f\nactivities:\n  many: {use: echo, for_each: "{{ range(30) }}", with: {x: "{{ ITEM }}"}}\n'

    async def run():
        async with App(FullForAMoment(tmp_path / "x.db"), offline=True) as app:
            started = await app.desk.start(StartRequest(definition=flow))
            await app.desk.settled()
            return await app.desk.show(started.id)

    view = asyncio.run(run())
    gc.collect()  # what nobody looked at would be logged by now

    lines = [msgspec.json.decode(line) for line in capsys.readouterr().err.splitlines()]
    assert view.status == "completed"
    assert 1 <= len(lines) <= 3
    assert {(line["trace_id"], line["message"]) for line in lines} == {
        (view.trace_id, "cannot report, trying again: The disk is full.")
    }
