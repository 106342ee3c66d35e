"""What a followed run looks like: plain lines, and a picture that always fits."""

import io

import msgspec
import pytest
from rich.console import Console

from headgate.cli import live_display
from headgate.cli.live_display import LiveDisplay
from headgate.cli.output import Output
from headgate.cli.plain_display import PlainDisplay
from headgate.cli.words import now
from headgate.core.view import PlaceView, RunView
from headgate.ports import Ended, Gap, Restarted, Tokens


def place(key, status, **more):
    return PlaceView(key=key, place=more.pop("place", key), name="x", status=status, **more)


def run_of(*places, status="running", **more):
    at = now()
    return RunView(
        id="abcdefghijklmnop",
        workflow="flow",
        definition="d",
        status=status,
        version=1,
        trace_id="t1",
        mode="realtime",
        created_at=at,
        updated_at=at,
        activities=places,
        **more,
    )


# --- Plain lines ---------------------------------------------------------------------------------------------------


def lines_of(capsys, *views):
    display = PlainDisplay(Output())
    for view in views:
        display.changed(view)
    return capsys.readouterr().err.splitlines()


def test_each_change_is_one_line_and_what_did_not_change_is_none(capsys):
    first = run_of(place("a", "running", attempt=1), place("b", "not_scheduled"))
    second = run_of(place("a", "completed", attempt=1, scheduled_at=1_000_000, ended_at=3_500_000, cost=5_000_000))

    lines = lines_of(capsys, first, first, second)

    assert len(lines) == 3
    assert lines[0] == "run abcdefgh of flow (trace t1)"
    assert lines[1].split(maxsplit=3)[2:] == ["●", "a  running"]
    assert lines[2].endswith("a  completed  2.5 s  $0.005")


def test_a_retry_and_a_failure_say_why(capsys):
    retrying = place("a", "waiting", attempt=1, waits="retry", waiting_for="retries in 2.0 s after: 429 from x")
    failed = place("a", "failed", attempt=2, error_code="http_status", error="429 from x\nbody", ended_at=now())

    lines = lines_of(capsys, run_of(retrying), run_of(failed, status="failed"))

    assert "waiting  retries in 2.0 s after: 429 from x" in lines[1]
    assert "failed  http_status: 429 from x" in lines[2]


def test_a_fan_out_of_a_thousand_takes_about_ten_lines(capsys):
    views = [run_of(place("f", "running", attempt=1, count=1_000, done=done)) for done in range(1_001)]

    lines = lines_of(capsys, *views)

    assert 10 <= len(lines) <= 13
    assert "1000 of 1000 items done" in lines[-1]


def test_quiet_says_nothing(capsys):
    PlainDisplay(Output(quiet=True)).changed(run_of(place("a", "running")))

    assert capsys.readouterr().err == ""


def test_text_is_told_line_by_line_where_it_is_wanted_and_a_new_beginning_always(capsys):
    for texts in (False, True):
        display = PlainDisplay(Output(), texts=texts)
        for chunk in (
            Tokens("a", 1, 0, "one\ntw", 1),
            Tokens("a", 1, 6, "o \x1b[31mred\x9b", 1),
            Restarted("a", 2, 1),
            Tokens("a", 2, 0, "three ", 1),
            Gap("a", 2, 6, 1_006, 1),
            Tokens("a", 2, 1_006, "four " * 50, 1),
            Ended("a", 2, 1_256, "completed", 1),
        ):
            display.streamed(chunk)
        lines = capsys.readouterr().err.splitlines()

        assert [line for line in lines if "begins again" in line] == [lines[2] if texts else lines[0]]
        if texts:
            assert [line.split("  a  ", 1)[1] for line in lines[:2]] == ["one", "two \ufffd[31mred\ufffd"]
            assert lines[3].split("  a  ", 1)[1].startswith("three  … (1000 bytes are not kept) … four four")
            assert " ".join(" ".join(line.split("  a  ", 1)[1] for line in lines[3:]).split()).count("four") == 50
            assert max(map(len, lines)) < 190


def test_a_terminal_gets_nothing_that_it_would_take_for_a_command_and_a_pipe_all(capsys, monkeypatch):
    said = "a\x1b]52;c;x\x07\u009b31m\tü\r\nb\u202egnp\r!"
    Output().data(said)
    assert capsys.readouterr().out == f"{said}\n"

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    Output().data(said)
    Output(json=True).data(said)
    Output().error(said)
    shown = capsys.readouterr()

    assert not {"\x1b", "\x07", "\u009b", "\u202e", "\r"} & set(shown.out + shown.err)
    assert shown.out.startswith("a\ufffd]52;c;x\ufffd\ufffd31m\tü\nb\ufffdgnp\ufffd!\n")


def test_a_failure_in_a_models_own_words_is_safe_too(capsys):
    lines = lines_of(capsys, run_of(place("a", "failed", attempt=1, error_code="x", error="no \x1b[2J go")))

    assert lines[-1].endswith("x: no \ufffd[2J go")


def test_a_text_begins_again_in_the_picture_in_place_of_what_it_said():
    run = run_of(place("a", "running", attempt=1))
    chunks = [Tokens("a", 1, 0, "old words", 1), Restarted("a", 2, 1)]

    again = "\n".join(drawn(run, tokens=chunks))
    gap = "\n".join(drawn(run, tokens=[*chunks, Gap("a", 2, 0, 9, 1), Tokens("a", 2, 9, "new words", 1)]))

    assert ("begins again" in again, "old words" in again) == (True, False)
    assert "… new words" in gap
    assert "begins" not in gap


# --- The picture ---------------------------------------------------------------------------------------------------


def drawn(run, *, width=80, height=24, tokens=(), footer=()):
    """Return the lines of the picture of a run on a screen of this size."""
    output = Output()
    display = LiveDisplay(output, lambda: list(footer))
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, no_color=True, legacy_windows=False
    )
    display._console = console
    for token in tokens:
        display.streamed(token)
    with console.capture() as capture:
        console.print(display._picture(run, last=False))
    text = live_display.Text.from_ansi(capture.get()).plain
    return text.rstrip("\n").splitlines()


def many(count):
    """A run of which a third has ended, one in nine is under way, and the rest is to come."""
    statuses = ["completed"] * (count // 3) + ["running"] * (count // 9)
    statuses += ["not_scheduled"] * (count - len(statuses))
    return run_of(*(place(f"activity_{number}", status) for number, status in enumerate(statuses)))


@pytest.mark.parametrize("height", [5, 8, 12, 24, 50])
@pytest.mark.parametrize("count", [1, 10, 40, 200])
def test_the_picture_is_never_higher_than_the_screen_nor_wider(count, height):
    lines = drawn(many(count), height=height, footer=["", "  Approve x?"])

    assert len(lines) < height
    assert max(map(len, lines)) <= 80


def test_what_does_not_fit_is_counted_and_what_is_under_way_comes_first():
    lines = drawn(many(60), height=14)

    assert sum("activity_2" in line and "more" not in line for line in lines) >= 6  # 20 to 25 are under way
    assert any("more have ended" in line for line in lines)
    assert any("more to come" in line for line in lines)


def test_counts_and_rows_together_are_all_activities():
    lines = drawn(many(90), height=12)

    counted = sum(int(line.split()[1]) for line in lines if " more " in line)
    assert counted + sum("activity_" in line for line in lines) == 90


def test_a_fan_out_is_one_line_and_a_few_of_its_items():
    items = tuple(place("f", "running", place=f"f[{number}]", attempt=1) for number in range(8))
    run = run_of(place("f", "running", count=40, done=12, items=items))

    lines = drawn(run)

    assert "12 of 40 items done, 8 under way" in lines[1]
    assert len(lines) == 5


def test_tokens_show_their_last_line_of_the_newest_attempt_only():
    run = run_of(place("a", "running", attempt=2))
    tokens = [
        Tokens("a", 1, 0, "old words", 1),
        Restarted("a", 2, 2),
        Tokens("a", 2, 0, "first line\nsecond ", 2),
        Tokens("a", 2, 18, "line", 2),
    ]

    text = "\n".join(drawn(run, tokens=tokens))

    assert "second line" in text
    assert "old words" not in text
    assert "first line" not in text


def test_the_words_of_an_attempt_that_failed_are_not_shown_for_the_next_one():
    run = run_of(place("a", "running", attempt=2))

    assert "old words" not in "\n".join(drawn(run, tokens=[Tokens("a", 1, 0, "old words", 1)]))


def test_control_characters_of_a_model_do_not_reach_the_terminal():
    run = run_of(place("a", "running", attempt=1))

    text = "\n".join(drawn(run, tokens=[Tokens("a", 1, 0, "red \x1b[31mred\x07", 1)]))
    assert "red" in text

    assert "\x1b" not in text
    assert "\x07" not in text


def test_the_header_says_cost_limit_and_that_prices_are_notional():
    run = run_of(place("a", "running"), cost=12_000_000, limit=250_000_000, simulated=True)

    assert "$0.012 of $0.25 (demo prices)" in drawn(run)[0]


def test_a_symbol_that_the_terminal_cannot_hold_becomes_a_letter(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))

    assert [Output().symbol(symbol) for symbol in "✓✗●"] == ["+", "x", "*"]


def test_a_view_may_lose_activities_without_harm():
    run = run_of()

    assert drawn(msgspec.structs.replace(run, status="completed", finished_at=now()))


def test_the_time_that_is_left_is_counted_down_without_news(monkeypatch):
    until = now() + 60_000_000
    run = run_of(
        place("t", "waiting", waits="timer", until=until, waiting_for="waits until …, for another 1 min"),
        place("r", "waiting", waits="retry", until=until, waiting_for="retries in 60 s after: 429 from x"),
    )
    monkeypatch.setattr("headgate.cli.words.now", lambda: until - 5_000_000)

    lines = drawn(run)

    assert "for another 5.0 s" in lines[1]
    assert "retries in 5.0 s after: 429 from x" in lines[2]
