"""What `--json` prints: times in ISO 8601, money as decimal strings, content untouched."""

from headgate.cli.json_form import error_form, event_form, iso, run_form
from headgate.core.errors import Invalid, Problem
from headgate.core.money import exact_dollars
from headgate.core.view import PlaceView, RunView
from headgate.ports import EventView


def test_money_is_an_exact_decimal_string_without_exponent():
    assert [exact_dollars(amount) for amount in (0, 1, 250_000_000, 1_000_000_000, 2**62 + 1, -5)] == [
        "0",
        "0.000000001",
        "0.25",
        "1",
        "4611686018.427387905",
        "-0.000000005",
    ]


def test_a_time_keeps_its_microseconds():
    assert iso(1_795_205_088_000_007) == "2026-11-20T20:04:48.000007Z"


def test_a_run_has_every_field_and_its_content_as_it_is():
    content = {"cost": 5, "at": 7, "price": {"input": 3}}
    activity = PlaceView(key="a", place="a", name="x", status="completed", output=content, cost=10, ended_at=1_000_000)
    run = RunView(
        id="r",
        workflow="w",
        definition="d",
        status="completed",
        version=1,
        trace_id="t",
        mode="realtime",
        created_at=1,
        updated_at=1,
        input=content,
        outputs=content,
        activities=(activity,),
    )

    form = run_form(run)

    assert form["input"] == form["outputs"] == form["activities"][0]["output"] == content
    assert form["activities"][0]["cost_usd"] == "0.00000001"
    assert form["activities"][0]["ended_at"] == "1970-01-01T00:00:01.000000Z"
    assert (form["limit_usd"], form["finished_at"], form["error"]) == (None, None, "")


def test_an_events_fields_are_converted_where_they_are_times_or_money_and_its_content_is_not():
    event = EventView(
        version=1,
        at=1_000_000,
        type="call_requested",
        fields={
            "candidates": [{"model": "m", "worst_case": 10, "price": {"input": 1_000_000_000, "simulated": True}}],
            "over": ["tree:r", 10, 5, 5],
            "until": 2_000_000,
        },
        content={"cost": 1},
    )

    form = event_form(event)

    assert form["fields"]["candidates"][0] == {
        "model": "m",
        "worst_case_usd": "0.00000001",
        "price": {"input_usd_per_million": "1", "simulated": True},
    }
    assert form["fields"]["over"]["limit_usd"] == "0.00000001"
    assert form["fields"]["until"] == "1970-01-01T00:00:02.000000Z"
    assert form["content"] == {"cost": 1}


def test_an_error_names_branch_code_and_places():
    form = error_form(Invalid("No.", (Problem("here", path="a.b", line=3),)))

    assert form["error"]["branch"] == "invalid"
    assert form["error"]["problems"] == [{"message": "here", "path": "a.b", "line": 3, "column": None, "source": ""}]


def test_the_price_of_long_calls_is_told_in_dollars_too():
    price = {"input": 3_000_000_000, "tiers": [{"above": 200_000, "input": 6_000_000_000}]}

    form = event_form(EventView(version=1, at=1, type="call_admitted", fields={"price": price}))

    assert form["fields"]["price"] == {
        "input_usd_per_million": "3",
        "tiers": [{"above": 200_000, "input_usd_per_million": "6"}],
    }
