"""The caller half of the gate: what is asked of the ledger, what of the models, and what is settled."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.activities.embedding import embedding
from headgate.activities.llm_prompt import MAX_TOKENS_UNDER_BUDGET, PIECES_MAX, llm_prompt
from headgate.core.json_schema import problems_with
from headgate.core.values import (
    Assignment,
    CallError,
    Candidate,
    Failure,
    PassedOver,
    Price,
    RateReport,
    Usage,
    Variant,
)
from headgate.ports import (
    Admission,
    Admitted,
    Attempt,
    CallRequest,
    Denied,
    EmbeddingAnswer,
    Hit,
    ModelAnswer,
    ModelRequest,
    ProviderError,
    Settlement,
    Thought,
    ToolCall,
)

PRICE = Price(input=1_000_000_000, output=4_000_000_000)
USED = Usage(input_tokens=100, output_tokens=50, cache_read_tokens=20, reasoning_tokens=5)
COST = 100 * 1000 + 50 * 4000


def task(**fields: Any) -> Assignment:
    known = {"activity_id": "claim-1", "workflow_id": "run-1", "activity_key": "ask", "place": "ask"}
    return Assignment(**known, activity_name="llm_prompt", **fields)


@dataclass
class Ledger:
    """An activity's context that admits as it is told (by default the first candidate) and notes down all."""

    task: Assignment = field(default_factory=task)
    admissions: list[Admission | Literal["first", "last"]] = field(default_factory=list)
    asked: list[tuple[str, list[Candidate]]] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    reuse: list[tuple[str, ...]] = field(default_factory=list)
    admitted: list[str] = field(default_factory=list)
    settled: list[tuple[str, Any]] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    streamed: list[str] = field(default_factory=list)
    logged: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    settling: asyncio.Event | None = None

    async def admit(self, request: CallRequest) -> tuple[str, Admission]:
        candidates = request.candidates
        self.asked.append((request.request_hash, list(candidates)))
        self.passed_over += request.passed_over
        self.pauses.append(request.pause_seconds)
        self.reuse.append(request.reuse)
        call_id = f"call-{len(self.asked)}"
        wanted = self.admissions.pop(0) if self.admissions else "first"
        if not isinstance(wanted, str):
            return call_id, wanted
        index = 0 if wanted == "first" else len(candidates) - 1
        self.admitted.append(call_id)
        skipped = tuple(candidate.model for candidate in candidates[:index])
        return call_id, Admitted(candidates[index].model, candidates[index].worst_case, skipped)

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        if self.settling is not None:
            await self.settling.wait()
        self.settlements.append(settlement)
        self.settled.append((call_id, settlement.usage or settlement.outcome))

    def stream(self, text: str) -> None:
        self.streamed.append(text)

    def restart_stream(self) -> None:
        self.streamed.clear()

    def log(self, message: str, **fields: Any) -> None:
        self.logged.append((message, fields))


Outcome = ModelAnswer | Exception | asyncio.Event


class Models:
    """A provider whose models' outcomes are listed by name: an answer, an error, or an event to wait for."""

    def __init__(self, outcomes: dict[str, Outcome], price: Price | None = PRICE, name: str = "lab") -> None:
        self.name = name
        self.outcomes = outcomes
        self.requests: list[ModelRequest] = []
        self.asked = asyncio.Event()
        self.prices: dict[str, Price] = {}
        self._price = price

    async def request(self, request: ModelRequest) -> ModelAnswer:
        self.requests.append(request)
        self.asked.set()
        outcome = self.outcomes[request.model]
        if isinstance(outcome, asyncio.Event):
            await outcome.wait()
            raise AssertionError("nobody sets it")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        yield "so "
        answer = await self.request(request)
        yield answer.content
        yield answer

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        self.requests.append(ModelRequest(model=model, messages=()))
        outcome = self.outcomes[model]
        if isinstance(outcome, Exception):
            raise outcome
        vectors = tuple((float(len(text)), 0.0) for text in inputs)
        return EmbeddingAnswer(embeddings=vectors, model=model, usage=Usage(input_tokens=10 * len(inputs)))

    def price(self, model: str) -> Price | None:
        return self.prices.get(model, self._price if model in self.outcomes else None)

    def count(self, request: ModelRequest) -> int:
        return sum(len(message.content) for message in request.messages)


def says(content: str, **fields: Any) -> ModelAnswer:
    return ModelAnswer(content=content, model="m", usage=USED, **fields)


def fails(status: int = 0, code: str = "provider_error", **fields: Any) -> ProviderError:
    return ProviderError(f"lab said {status} ({code}).", status=status, code=code, **fields)


def prompt(models: Models, ledger: Ledger, **parameters: Any) -> Any:
    asked = {"model": "lab/m", "prompt": "How far is the moon?", **parameters}
    running = llm_prompt({"lab": models})(asked, ledger)
    return asyncio.run(running)


def failure(models: Models, ledger: Ledger, **parameters: Any) -> Failure:
    with pytest.raises(Attempt) as caught:
        prompt(models, ledger, **parameters)
    return caught.value.failure


# --- The result ----------------------------------------------------------------------------------------


def test_the_result_says_who_answered_what_and_at_what_cost():
    ledger, models = Ledger(), Models({"m": says("384,400 km")})

    result = prompt(models, ledger)

    assert result == {
        "content": "384,400 km",
        "parsed": None,
        "tool_calls": [],
        "model": "m",
        "provider": "lab",
        "finish_reason": "Stop",
        "cost_usd": COST / 10**9,
        "usage": {
            "prompt_tokens": 100,
            "output_tokens": 50,
            "total_tokens": 150,
            "cached_tokens": 20,
            "cache_write_tokens": 0,
            "reasoning_tokens": 5,
        },
        "cache_hit": False,
        "budget_skipped_models": [],
    }
    assert ledger.settled == [("call-1", msgspec.structs.replace(USED, provider="lab", model="m"))]


def test_a_simulated_price_makes_a_simulated_result():
    models = Models({"m": says("x")}, price=msgspec.structs.replace(PRICE, simulated=True))

    assert prompt(models, Ledger())["simulated"] is True


def test_the_model_that_answered_is_priced_where_it_has_a_price_of_its_own():
    ledger, models = Ledger(), Models({"alias": msgspec.structs.replace(says("x"), model="m-2026")})
    models.prices["m-2026"] = Price(input=2_000_000_000)

    result = prompt(models, ledger, model="lab/alias")

    assert result["cost_usd"] == 200_000 / 10**9
    assert ledger.settled[0][1].cost_nano == 200_000
    assert ledger.settled[0][1].price == Price(input=2_000_000_000)


def test_a_price_that_was_set_for_the_model_asked_for_wins_over_the_listed_one_of_the_model_that_answered():
    ledger, models = Ledger(), Models({"deployment": msgspec.structs.replace(says("x"), model="gpt-9")})
    models.prices["deployment"] = Price(input=3_000_000_000, id="set:lab/deployment")
    models.prices["gpt-9"] = Price(input=2_000_000_000, id="list:lab/gpt-9")

    result = prompt(models, ledger, model="lab/deployment")

    assert result["cost_usd"] == 300_000 / 10**9
    assert ledger.settled[0][1].price is None


BATCHED = Price(500_000_000, 1_000_000_000, id="list:lab/m#batch")
TIERED = msgspec.structs.replace(
    PRICE, id="list:lab/m", variants=(Variant(input=500_000_000, output=1_000_000_000, name="batch"),)
)


def test_the_service_tier_that_answered_is_priced_and_the_log_keeps_only_that_price():
    usage = msgspec.structs.replace(USED, tier="batch")
    ledger, models = Ledger(), Models({"m": msgspec.structs.replace(says("x"), usage=usage)}, price=TIERED)

    result = prompt(models, ledger)

    (settled,) = (outcome for _, outcome in ledger.settled)
    assert ledger.asked[0][1][0].price == msgspec.structs.replace(TIERED, variants=())
    assert (settled.price, settled.cost_nano) == (BATCHED, BATCHED.cost(USED))
    assert result["cost_usd"] == BATCHED.cost(USED) / 10**9


def test_at_the_standard_tier_nothing_but_the_tokens_is_told():
    usage = msgspec.structs.replace(USED, tier="default")
    ledger, models = Ledger(), Models({"m": msgspec.structs.replace(says("x"), usage=usage)}, price=TIERED)

    result = prompt(models, ledger)

    assert (ledger.settled[0][1].price, ledger.settled[0][1].cost_nano) == (None, None)
    assert result["cost_usd"] == COST / 10**9


@pytest.mark.parametrize("asked", [{"service_tier": "batch"}, {"speed": "batch"}])
def test_a_tier_that_is_asked_for_is_reserved_where_it_is_the_dearer_one(asked: dict[str, str]):
    dear = msgspec.structs.replace(TIERED, variants=(Variant(input=9_000_000_000, output=1, name="batch"),))
    cheap, dearer = Ledger(), Ledger()

    prompt(Models({"m": says("x")}, price=TIERED), cheap, prompt="x" * 100, max_tokens=10, extra=asked)
    prompt(Models({"m": says("x")}, price=dear), dearer, prompt="x" * 100, max_tokens=10, extra=asked)

    assert cheap.asked[0][1][0].worst_case == 100 * 1000 + 10 * 4000, "it may be served at the standard tier"
    assert dearer.asked[0][1][0].worst_case == 100 * 9000 + 1


def test_a_tier_whose_price_is_not_known_makes_the_model_an_unpriced_one():
    ledger = Ledger()

    prompt(Models({"m": says("x")}, price=TIERED), ledger, extra={"service_tier": "priority"})

    assert ledger.asked[0][1] == [Candidate("lab/m", 0, None, 20)]


def test_a_billed_failure_is_priced_by_the_model_and_the_tier_that_failed():
    ledger, models = Ledger(), Models({}, price=None)
    models.prices |= {"m": PRICE, "m-2026": TIERED}
    used = msgspec.structs.replace(USED, model="m-2026", tier="batch")
    models.outcomes["m"] = fails(400, "invalid_request", usage=used)

    failure(models, ledger)

    assert ledger.settled[0][1].cost_nano == BATCHED.cost(USED)
    assert ledger.settled[0][1].price == BATCHED


def test_tool_calls_are_data():
    models = Models({"m": says("", tool_calls=(ToolCall("t", "add", {"a": 1}),), finish_reason="ToolUse")})

    result = prompt(models, Ledger(), response_schema={"type": "object"}, tools=[{"name": "add"}])

    assert result["tool_calls"] == [{"id": "t", "name": "add", "arguments": {"a": 1}}]
    assert result["parsed"] is None


def test_a_streaming_task_passes_text_on_as_it_comes():
    ledger = Ledger(task(streaming=True))

    result = prompt(Models({"m": says("far")}), ledger)

    assert ledger.streamed == ["so ", "far"]
    assert result["content"] == "far"


def test_a_task_that_does_not_stream_streams_nothing():
    ledger = Ledger()

    prompt(Models({"m": says("far")}), ledger)

    assert ledger.streamed == []


# --- What is asked of the gate -------------------------------------------------------------------------


def test_the_worst_case_is_the_counted_input_and_all_of_max_tokens():
    ledger = Ledger()

    prompt(Models({"m": says("x")}), ledger, prompt="x" * 100, max_tokens=10)

    assert ledger.asked[0][1] == [Candidate("lab/m", 100 * 1000 + 10 * 4000, PRICE, 100, 10)]


def test_a_task_under_a_budget_gets_a_limit_that_is_sent_reserved_and_hashed():
    models = Models({"m": says("x")})
    free, limited, explicit = Ledger(), Ledger(task(budget_remaining_nano=5)), Ledger()

    prompt(models, free, prompt="")
    prompt(models, limited, prompt="")
    prompt(models, explicit, prompt="", max_tokens=MAX_TOKENS_UNDER_BUDGET)

    assert [request.max_tokens for request in models.requests] == [None, 1024, 1024]
    assert limited.asked[0][1][0].worst_case == 1024 * 4000
    assert limited.asked == explicit.asked
    assert free.asked[0][0] != limited.asked[0][0]


def test_the_hash_is_of_what_is_asked_and_of_whom_and_not_of_who_asks():
    def digest(ledger: Ledger, **parameters: Any) -> str:
        prompt(Models({"m": says("x"), "n": says("y")}), ledger, **parameters)
        return ledger.asked[0][0]

    same = {digest(Ledger(task(trace_id=str(n)), []), tools=[{"name": "a", "x": 1}]) for n in range(3)}
    elsewhere = Ledger(msgspec.structs.replace(task(), activity_key="other", timeout_seconds=9.0))

    assert len(same) == 1
    assert digest(elsewhere, tools=[{"x": 1, "name": "a"}]) in same
    assert digest(Ledger(), tools=[]) not in same
    assert digest(Ledger()) != digest(Ledger(), model="lab/n")
    assert digest(Ledger()) != digest(Ledger(), temperature=0)
    assert len(same.pop()) == 64


def test_an_unpriced_model_is_offered_as_such():
    ledger = Ledger()

    result = prompt(Models({"m": says("x")}, price=None), ledger, max_tokens=10)

    assert ledger.asked[0][1] == [Candidate("lab/m", 0, None, 20, 10)]
    assert result["cost_usd"] == 0.0


def test_what_the_gate_denies_is_the_failure_and_nobody_is_asked():
    denied = Failure("budget_exceeded", "It is $0.02 short.", retryable=False)
    ledger, models = Ledger(admissions=[Denied(denied)]), Models({"m": says("x")})

    assert failure(models, ledger) == denied
    assert (models.requests, ledger.settled) == ([], [])


CACHED = {"settings": {"cache_calls": True}}
FULL = ModelAnswer(
    content='{"km": 1}',
    model="m-2026",
    usage=USED,
    finish_reason="ToolUse",
    tool_calls=(ToolCall("t", "add", {"a": 1}),),
    reasoning="first this, then that",
    thoughts=(Thought(provider="lab", seal="c2VhbA==", text="first this", call="t"),),
    notes=("top_p was left out",),
)


def test_a_hit_is_an_earlier_result_for_nothing_tools_and_reasoning_kept():
    first, models = Ledger(task(**CACHED)), Models({"m": FULL})
    earlier = prompt(models, first, response_schema=SCHEMA)
    kept = msgspec.json.decode(msgspec.json.encode([one.answer for one in first.settlements[0].answers]))
    again, nobody = Ledger(task(**CACHED), admissions=[Hit("lab/m", tuple(kept))]), Models({"m": says("x")})

    result = prompt(nobody, again, response_schema=SCHEMA)

    assert result == {**earlier, "cost_usd": 0.0, "cache_hit": True}
    assert (earlier["reasoning"], earlier["parsed"]) == ("first this, then that", {"km": 1})
    assert earlier["thoughts"] == [{"provider": "lab", "seal": "c2VhbA==", "text": "first this", "call": "t"}]
    assert (nobody.requests, again.settled) == ([], [])


def test_a_hit_is_streamed_in_pieces_and_they_are_its_text():
    text = "Tides follow the moon. " * 5_000
    kept = msgspec.to_builtins(says(text))
    ledger = Ledger(task(streaming=True), admissions=[Hit("lab/m", (kept,))])

    prompt(Models({"m": says("x")}), ledger)

    assert "".join(ledger.streamed) == text
    assert 100 < len(ledger.streamed) <= PIECES_MAX


def test_only_a_task_that_caches_asks_for_answers_of_equal_calls_and_gives_its_own():
    with_cache, without = Ledger(task(**CACHED)), Ledger()

    for ledger in (with_cache, without):
        prompt(Models({"m": says("x")}), ledger)

    assert [len(reuse) for reuse in with_cache.reuse] == [1]
    assert len(with_cache.settlements[0].answers) == 1
    assert (without.reuse, without.settlements[0].answers) == ([()], ())


@pytest.mark.parametrize(
    "answer",
    [
        says("cut", finish_reason="MaxTokens"),
        says("filtered", finish_reason="ContentFilter"),
        says("no JSON"),
        says('{"km": "far"}'),
    ],
)
def test_what_was_cut_or_filtered_or_does_not_fit_its_schema_is_not_kept(answer: ModelAnswer):
    schema = None if answer.finish_reason != "Stop" else SCHEMA
    ledger = Ledger(task(**CACHED))

    with suppress(Attempt):
        prompt(Models({"m": answer}), ledger, response_schema=schema)

    assert ledger.settlements[0].answers == ()


MATTERS: dict[str, st.SearchStrategy[Any]] = {
    "prompt": st.text(max_size=5),
    "system_prompt": st.text(min_size=1, max_size=5),
    "temperature": st.sampled_from([0, 0.5, 1]),
    "top_p": st.sampled_from([0.1, 0.9]),
    "max_tokens": st.integers(1, 3),
    "seed": st.integers(0, 3),
    "stop_sequences": st.lists(st.sampled_from("ab"), min_size=1, max_size=2),
    "reasoning": st.sampled_from(["low", "high"]),
    "tools": st.lists(st.sampled_from([{"name": "a"}, {"name": "b"}]), min_size=1, max_size=2),
    "tool_choice": st.sampled_from(["auto", "none"]),
    "extra": st.fixed_dictionaries({"k": st.integers(0, 2)}),
    "drop_unsupported": st.just(True),
}
ASKED = st.fixed_dictionaries({}, optional=MATTERS).map(lambda asked: {"prompt": "?", **asked})
CHANGES = st.sampled_from(sorted(MATTERS)).flatmap(lambda name: MATTERS[name].map(lambda value: (name, value)))


def hash_of_asked(parameters: dict[str, Any], model: Any = "lab/m", **fields: Any) -> str:
    ledger = Ledger(msgspec.structs.replace(task(**CACHED), **fields))
    prompt(Models({"m": says("x"), "n": says("x")}), ledger, model=model, **parameters)
    return ledger.reuse[0][0]


@given(ASKED, CHANGES)
def test_requests_that_differ_in_anything_that_matters_share_no_answer(asked: dict[str, Any], change: tuple[str, Any]):
    changed = {**asked, change[0]: change[1]}

    assert (hash_of_asked(asked) == hash_of_asked(changed)) == (asked == changed)


@given(
    ASKED,
    st.permutations(["lab/m", "lab/n"]),
    st.text(min_size=1, max_size=3),
    st.floats(1, 9),
    st.booleans(),
)
def test_requests_that_differ_in_who_asks_or_of_whom_or_for_how_long_share_theirs(
    asked: dict[str, Any], models: list[str], who: str, seconds: float, streaming: bool
):
    elsewhere = {"activity_key": who, "trace_id": who, "timeout_seconds": seconds, "streaming": streaming}

    assert hash_of_asked(dict(reversed(asked.items())), models, **elsewhere) == hash_of_asked(asked)


@pytest.mark.parametrize("schema", [{"type": "object"}, {"type": "object", "required": []}])
def test_a_schema_matters(schema: dict[str, Any]):
    plain, with_schema = Ledger(task(**CACHED)), Ledger(task(**CACHED))

    prompt(Models({"m": says("{}")}), plain)
    prompt(Models({"m": says("{}")}), with_schema, response_schema=schema)

    assert plain.reuse != with_schema.reuse


def test_what_a_model_said_before_it_failed_is_taken_back_where_another_is_asked_and_stays_where_none_is():
    for models, streamed in ((["lab/a", "lab/b"], ["so ", "y"]), (["lab/a"], ["so "])):
        ledger = Ledger(task(streaming=True))
        outcomes = Models({"a": fails(503), "b": says("y")})
        if len(models) == 1:
            failure(outcomes, ledger, model=models)
        else:
            prompt(outcomes, ledger, model=models)

        assert ledger.streamed == streamed


def test_models_that_did_not_fit_the_budget_are_named():
    ledger = Ledger(admissions=["last"])

    result = prompt(Models({"a": says("x"), "b": says("y")}), ledger, model=["lab/a", "lab/b"])

    assert (result["content"], result["budget_skipped_models"]) == ("y", ["lab/a"])


# --- Failures and the next model -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (fails(429, "rate_limited", retryable=True), "never_sent"),
        (fails(500, "provider_unavailable", retryable=True), "never_sent"),
        (fails(0, "timed_out", retryable=True), "lost"),
        (fails(0, "connection_failed", retryable=True), "lost"),
        (fails(0, "connection_failed", retryable=True, sent=False), "never_sent"),
        (fails(200, "malformed_response", retryable=True), "lost"),
        (fails(400, "context_too_long"), "never_sent"),
        (fails(400, "content_filter"), "never_sent"),
        (fails(0, "missing_address", sent=False), "never_sent"),
        (fails(422, "demo_cannot"), "never_sent"),
        (fails(0, "missing_key", sent=False), "never_sent"),
        (
            fails(503, "provider_unavailable", usage=USED),
            msgspec.structs.replace(USED, provider="lab", model="a"),
        ),
    ],
)
def test_a_model_that_cannot_serve_is_settled_and_the_next_one_admitted_anew(error: ProviderError, outcome: Any):
    ledger = Ledger()

    result = prompt(Models({"a": error, "b": says("y")}), ledger, model=["lab/a", "lab/b"])

    assert result["content"] == "y"
    assert [[candidate.model for candidate in asked] for _, asked in ledger.asked] == [
        ["lab/a", "lab/b"],
        ["lab/b"],
    ]
    assert ledger.settled == [
        ("call-1", outcome),
        ("call-2", msgspec.structs.replace(USED, provider="lab", model="b")),
    ]
    assert ledger.logged[0][1]["code"] == error.kind
    assert ledger.passed_over == [PassedOver("lab/a", str(error), error.kind)]
    assert ledger.settlements[0].error == CallError(error.kind, error.status, error.retry_after_seconds)


@pytest.mark.parametrize(
    "error", [fails(401, "authentication"), fails(400, "invalid_request"), fails(404, "not_found")]
)
def test_a_refusal_that_no_other_model_mends_ends_the_attempt(error: ProviderError):
    ledger, models = Ledger(), Models({"a": error, "b": says("y")})

    failed = failure(models, ledger, model=["lab/a", "lab/b"])

    assert (failed.code, failed.retryable) == (error.kind, False)
    assert len(models.requests) == 1
    assert ledger.settled == [("call-1", "never_sent")]


def test_when_all_models_fail_the_attempt_fails_and_any_hope_makes_it_retryable():
    limited = fails(429, "rate_limited", retryable=True, retry_after_seconds=7)
    outcomes: dict[str, Outcome] = {"a": limited, "b": fails(400, "context_too_long")}

    failed = failure(Models(outcomes), Ledger(), model=["lab/a", "lab/b"])

    assert failed == Failure("rate_limited", "lab said 429 (rate_limited). lab said 400 (context_too_long).", True, 7)


def test_a_denial_after_a_failed_model_says_both():
    denied = Denied(Failure("budget_exceeded", "Too dear.", retryable=False))
    ledger = Ledger(admissions=["first", denied])

    failed = failure(Models({"a": fails(500), "b": says("y")}), ledger, model=["lab/a", "lab/b"])

    assert (failed.code, failed.retryable) == ("budget_exceeded", False)
    assert "Too dear. Before that: lab said 500" in failed.message


def test_models_share_the_time_of_the_attempt():
    models = Models({"a": fails(0, "timed_out"), "b": says("y")})

    prompt(models, Ledger(task(timeout_seconds=100.0)), model=["lab/a", "lab/b"])

    first, second = (request.timeout_seconds or 0 for request in models.requests)
    assert 49 < first <= 50
    assert 98 < second <= 100


def test_a_model_is_asked_again_as_often_as_its_entry_says_after_a_pause_that_grows():
    models = Models({"a": fails(500, "provider_unavailable", retryable=True), "b": says("y")})
    ledger = Ledger()

    prompt(models, ledger, model=[{"model": "lab/a", "attempts": 4}, "lab/b"])

    assert [request.model for request in models.requests] == ["a", "a", "a", "a", "b"]
    assert ledger.pauses == [0.0, 0.5, 1.0, 2.0, 0.0]
    assert ledger.passed_over == [PassedOver("lab/a", "lab said 500 (provider_unavailable).", "provider_unavailable")]


def test_what_the_provider_asks_to_wait_is_the_pause_if_the_attempt_has_time_for_it():
    limited = fails(429, "rate_limited", retryable=True, retry_after_seconds=20.0)
    patient, hasty = Ledger(task(timeout_seconds=60.0)), Ledger(task(timeout_seconds=10.0))

    for ledger in (patient, hasty):
        models = Models({"a": limited, "b": says("y")})
        prompt(models, ledger, model=[{"model": "lab/a", "attempts": 2}, "lab/b"])

    assert (patient.pauses, hasty.pauses) == ([0.0, 20.0, 0.0], [0.0, 0.0])


def test_tries_share_the_time_of_the_attempt():
    models = Models({"a": fails(0, "timed_out", retryable=True), "b": says("y")})

    prompt(models, Ledger(task(timeout_seconds=100.0)), model=[{"model": "lab/a", "attempts": 3}, "lab/b"])

    seconds = [request.timeout_seconds or 0 for request in models.requests]
    assert [round(given) for given in seconds] == [25, 33, 50, 100]


def test_the_time_that_a_call_waits_is_not_the_attempts():
    class Crowded(Ledger):
        async def admit(self, request: CallRequest) -> tuple[str, Admission]:
            loop = asyncio.get_running_loop()
            later = loop.time() + 1_000
            loop.time = lambda: later
            return await super().admit(request)

    models = Models({"m": says("y")})

    prompt(models, Crowded(task(timeout_seconds=100.0)))

    assert 99 < (models.requests[0].timeout_seconds or 0) <= 100


FILTERED = says("", finish_reason="ContentFilter")


def test_an_answer_that_a_filter_took_is_paid_for_and_the_next_model_asked():
    ledger = Ledger()

    result = prompt(Models({"a": FILTERED, "b": says("y")}), ledger, model=["lab/a", "lab/b"])

    assert result["content"] == "y"
    assert [settlement.outcome for settlement in ledger.settlements] == ["used", "used"]
    assert [(one.model, one.code) for one in ledger.passed_over] == [("lab/a", "content_filter")]


@pytest.mark.parametrize("model", [["lab/a"], ["lab/b", "lab/a"]])
def test_the_last_models_answer_stands_also_where_a_filter_took_it(model: list[str]):
    result = prompt(Models({"a": FILTERED, "b": FILTERED}), Ledger(), model=model)

    assert (result["finish_reason"], result["content"]) == ("ContentFilter", "")


def test_an_answer_that_a_filter_cut_short_stands():
    cut = says("so far", finish_reason="ContentFilter")

    assert prompt(Models({"a": cut, "b": says("y")}), Ledger(), model=["lab/a", "lab/b"])["content"] == "so far"


class Limited(Models):
    """Models of which some are known to have no reasoning."""

    def cannot(self, request: ModelRequest) -> str:
        return f"{request.model} cannot reason" if request.reasoning and request.model.startswith("plain") else ""


def test_a_model_that_is_known_not_to_be_able_to_is_not_asked_unless_none_can():
    ledger, models = Ledger(), Limited({"plain": fails(0, "missing_capability", sent=False), "m": says("y")})

    prompt(models, ledger, model=["lab/plain", "lab/m"], reasoning="low")
    failed = failure(models, Ledger(), model="lab/plain", reasoning="low")

    assert [request.model for request in models.requests] == ["m", "plain"]
    assert ledger.passed_over == [PassedOver("lab/plain", "plain cannot reason", "missing_capability")]
    assert failed.code == "missing_capability"


class Restartable(Ledger):
    def restart_stream(self) -> None:
        self.streamed.append("|")


def test_a_try_after_text_went_out_begins_the_stream_anew_and_one_after_none_does_not():
    late, early = Restartable(task(streaming=True)), Restartable(task(streaming=True))

    prompt(Models({"a": fails(500), "b": says("y")}), late, model=["lab/a", "lab/b"])
    prompt(Silent({"a": fails(500), "b": says("y")}), early, model=["lab/a", "lab/b"])

    assert late.streamed == ["so ", "|", "so ", "y"]
    assert early.streamed == ["y"]


class Silent(Models):
    """Models that fail before they say anything."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        answer = await self.request(request)
        yield answer.content
        yield answer


def test_what_a_provider_says_of_its_rates_goes_with_the_settlement():
    rates = RateReport(requests_left=3)
    told, refused = Ledger(), Ledger()

    prompt(Models({"m": msgspec.structs.replace(says("x"), rates=rates)}), told)
    failure(Models({"m": fails(429, "rate_limited", retryable=True, rates=rates)}), refused)

    assert [ledger.settlements[0].rates for ledger in (told, refused)] == [rates, rates]


# --- Answers by a schema -------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {"km": {"type": "integer"}, "unit": {"enum": ["km", "mi"]}},
    "required": ["km"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "content",
    ['{"km": 384400}', '```json\n{"km": 384400}\n```', 'Here it is:\n```\n{"km": 384400}```\nFine?'],
)
def test_json_by_the_schema_is_parsed_also_from_a_fenced_block(content: str):
    models = Models({"m": says(content)})

    result = prompt(models, Ledger(), response_schema=SCHEMA)

    assert result["parsed"] == {"km": 384400}
    assert result["content"] == content
    assert models.requests[0].response_schema == SCHEMA


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("About 384,400 km.", "no JSON"),
        ('{"km": "far"}', "expected $.km to be integer, got 'far'"),
        ("{}", "$.km is missing"),
        ('{"km": 1, "unit": "ly"}', "$.unit to be one of ['km', 'mi'], got 'ly'"),
        ('{"km": 1, "mi": 2}', "$.mi is not allowed"),
        ("[" * 100_000, "no JSON"),
        ('{"km": NaN}', "no JSON"),
    ],
)
def test_an_answer_beside_the_schema_fails_the_attempt_after_it_is_paid(content: str, said: str):
    ledger = Ledger()

    failed = failure(Models({"m": says(content, finish_reason="MaxTokens")}), ledger, response_schema=SCHEMA)

    assert (failed.code, failed.retryable) == ("invalid_response", True)
    assert said in failed.message
    assert "max_tokens" in failed.message
    assert ledger.settled[0][1].output_tokens == 50


@pytest.mark.parametrize(
    ("value", "schema", "problems"),
    [
        (1.0, {"type": "integer"}, 0),
        (True, {"type": "integer"}, 1),
        (True, {"enum": [1]}, 1),
        (None, {"type": ["string", "null"]}, 0),
        (
            [{"a": 1}, {"a": "x"}, {}],
            {"items": {"properties": {"a": {"type": "number"}}, "required": ["a"]}},
            2,
        ),
        ({"x": 1}, {"additionalProperties": {"type": "string"}}, 1),
        ([0] * 100, {"items": {"type": "string"}}, 5),
        (1, {"const": 2}, 1),
        ("anything", {"minLength": 100}, 0),
    ],
)
def test_the_schema_subset_is_checked(value: Any, schema: dict[str, Any], problems: int):
    assert len(problems_with(value, schema)) == problems


# --- Parameters ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"model": None}, "model"),
        ({"model": []}, "model"),
        ({"model": 3}, "model"),
        ({"model": ["lab/m", 3]}, "model"),
        ({"model": [{"model": "lab/m", "tries": 2}]}, "got tries"),
        ({"model": {"attempts": 2}}, "model"),
        ({"model": {"model": "lab/m", "attempts": 0}}, "attempts of lab/m"),
        ({"model": {"model": "lab/m", "attempts": True}}, "attempts of lab/m"),
        ({"model": {"model": "lab/m", "when_limited": "fall"}}, "wait or next"),
        ({"model": "m"}, "model"),
        ({"model": "lab/"}, "model"),
        ({"model": "elsewhere/m"}, "provider of this process (lab)"),
        ({"prompt": None}, "prompt or messages"),
        ({"messages": [{"role": "user", "content": "x"}]}, "prompt or messages, got both"),
        ({"prompt": None, "messages": "x"}, "messages"),
        ({"prompt": None, "messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"prompt": None, "messages": [{"role": "user"}]}, "messages[0].content"),
        ({"prompt": None, "messages": [{"role": "user", "content": "x", "name": "y"}]}, "name"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"stop_sequences": [1]}, "stop_sequences"),
        ({"tools": {"name": "x"}}, "tools"),
        ({"tool_choice": 1}, "tool_choice"),
        ({"response_schema": "json"}, "response_schema"),
        ({"seed": "x"}, "seed"),
        ({"extra": []}, "extra"),
        ({"prompt": "\ud800"}, "JSON"),
        ({"images": ["no-such.png"]}, "the image 'no-such.png' cannot be read"),
        ({"images": [__file__]}, "to be a PNG, JPEG, GIF or WebP image"),
        ({"images": "data:text/plain;base64,YQ=="}, "to be a data URL like"),
        ({"images": {"data": "%%%"}}, "to be base64"),
        ({"images": 3}, "to be an address, a path, or a map"),
        ({"drop_unsupported": "yes"}, "drop_unsupported to be true or false"),
        ({"reasoning": {"tokens": 3}}, "reasoning to be a word"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_a_wrong_parameter_is_named_and_nobody_is_asked(wrong: dict[str, Any], named: str):
    ledger, models = Ledger(), Models({"m": says("x")})

    failed = failure(models, ledger, **wrong)

    assert (failed.code, failed.retryable) == ("invalid_parameters", False)
    assert named in failed.message
    assert (ledger.asked, models.requests) == ([], [])


def test_parameters_reach_the_model_as_they_were_given():
    models = Models({"a/b": says("x")})

    prompt(
        models,
        Ledger(),
        model="lab/a/b",
        prompt={"rows": [1]},
        system_prompt="Be brief.",
        max_tokens=20.0,
        temperature=0,
        stop_sequences="END",
        seed=7,
        drop_unsupported=False,
        top_p=None,
        extra={"user": "u"},
    )

    (request,) = models.requests
    assert request.model == "a/b"
    assert [(message.role, message.content) for message in request.messages] == [
        ("system", "Be brief."),
        ("user", '{"rows":[1]}'),
    ]
    assert (request.max_tokens, request.temperature, request.stop_sequences) == (20, 0, ("END",))
    assert (request.seed, request.top_p, request.extra) == (7, None, {"user": "u"})
    assert request.activity_key == "ask"


def test_a_conversation_may_hold_tool_calls_and_their_answers():
    models = Models({"m": says("x")})
    messages = [
        {"role": "user", "content": "1+1?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t", "name": "add", "arguments": {"a": 1}}],
        },
        {"role": "tool", "tool_call_id": "t", "content": 2},
    ]

    prompt(models, Ledger(), prompt=None, messages=messages)

    assert models.requests[0].messages[1].tool_calls == (ToolCall("t", "add", {"a": 1}),)
    assert (models.requests[0].messages[2].tool_call_id, models.requests[0].messages[2].content) == ("t", "2")


def test_thoughts_of_a_result_go_into_a_message_of_the_assistant():
    models = Models({"m": FULL})
    earlier = prompt(models, Ledger())
    told = {"role": "assistant", "tool_calls": earlier["tool_calls"], "thoughts": earlier["thoughts"]}

    prompt(models, Ledger(), prompt=None, messages=[{"role": "user", "content": "?"}, told])

    assert models.requests[1].messages[1].thoughts == FULL.thoughts


def test_an_answer_without_calls_has_no_thoughts_to_give_back():
    answer = says("x", thoughts=FULL.thoughts)

    assert "thoughts" not in prompt(Models({"m": answer}), Ledger())


@pytest.mark.parametrize(
    ("role", "thoughts", "expected"),
    [
        ("user", [{"provider": "lab", "seal": "s"}], "expected thoughts in a message of the assistant"),
        ("assistant", [{"provider": "lab"}], r"expected messages\[0\].thoughts to be those of an earlier result"),
        ("assistant", "hm", r"expected messages\[0\].thoughts to be those of an earlier result"),
    ],
)
def test_thoughts_that_are_none_are_refused(role: str, thoughts: Any, expected: str):
    message = {"role": role, "content": "x", "thoughts": thoughts}

    with pytest.raises(Attempt, match=expected):
        prompt(Models({"m": says("x")}), Ledger(), prompt=None, messages=[message])


# --- Exactly one settlement ----------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
def test_a_call_that_is_cancelled_is_lost(streaming: bool):
    async def story() -> list[Any]:
        ledger, models = Ledger(task(streaming=streaming)), Models({"m": asyncio.Event()})
        running = asyncio.ensure_future(llm_prompt({"lab": models})({"model": "lab/m", "prompt": "?"}, ledger))
        await models.asked.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return ledger.settled

    assert asyncio.run(story()) == [("call-1", "lost")]


def test_a_settlement_goes_on_when_the_attempt_is_cancelled_in_the_middle_of_it():
    async def story() -> list[Any]:
        ledger = Ledger(settling=asyncio.Event())
        models = Models({"m": says("x")})
        running = asyncio.ensure_future(llm_prompt({"lab": models})({"model": "lab/m", "prompt": "?"}, ledger))
        await models.asked.wait()
        for _ in range(3):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ledger.settled == []
        assert ledger.settling is not None
        ledger.settling.set()
        for _ in range(3):
            await asyncio.sleep(0)
        return ledger.settled

    assert asyncio.run(story()) == [("call-1", msgspec.structs.replace(USED, provider="lab", model="m"))]


OUTCOMES = st.sampled_from(
    [
        says("x"),
        says('{"km": 1}'),
        fails(429, "rate_limited", retryable=True, retry_after_seconds=1),
        fails(500, "provider_unavailable", retryable=True),
        fails(503, "provider_unavailable", usage=USED),
        fails(0, "timed_out", retryable=True),
        fails(0, "connection_failed", sent=False, retryable=True),
        fails(200, "malformed_response", retryable=True),
        fails(401, "authentication"),
        fails(400, "context_too_long"),
        RuntimeError("a bug in a provider"),
        "hangs",
    ]
)
HIT = Hit("lab/m0", ({"content": "h", "model": "m0", "usage": {}},))
ADMISSIONS = st.sampled_from(["first", "last", Denied(Failure("budget_exceeded", "no")), HIT])


@given(
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=4),
    admissions=st.lists(ADMISSIONS, max_size=4),
    streaming=st.booleans(),
    schema=st.sampled_from([None, SCHEMA]),
)
def test_whatever_happens_every_admitted_call_is_settled_once(
    outcomes: list[Any], admissions: list[Any], streaming: bool, schema: dict[str, Any] | None
):
    async def story() -> Ledger:
        named = {f"m{n}": asyncio.Event() if outcome == "hangs" else outcome for n, outcome in enumerate(outcomes)}
        ledger, models = Ledger(task(streaming=streaming), list(admissions)), Models(named)
        parameters = {"model": [f"lab/{name}" for name in named], "prompt": "?", "response_schema": schema}
        running = asyncio.ensure_future(llm_prompt({"lab": models})(parameters, ledger))
        for _ in range(200):  # nothing in this story waits for time: either it is done by now, or it hangs
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return ledger

    ledger = asyncio.run(story())

    assert [call_id for call_id, _ in ledger.settled] == ledger.admitted
    assert len(ledger.asked) <= len(outcomes)


# --- Embeddings ----------------------------------------------------------------------------------------


def embed(models: Models, ledger: Ledger, **parameters: Any) -> Any:
    asked = {"model": "lab/e", "input": ["a", "bb", "ccc"], **parameters}
    running = embedding({"lab": models})(asked, ledger)
    return asyncio.run(running)


def test_embeddings_come_in_batches_each_admitted_and_settled():
    ledger = Ledger()

    result = embed(Models({"e": says("")}), ledger, batch_size=2)

    assert result == {
        "embeddings": [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]],
        "embedding_count": 3,
        "model": "e",
        "provider": "lab",
        "usage": {
            "prompt_tokens": 30,
            "output_tokens": 0,
            "total_tokens": 30,
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "reasoning_tokens": 0,
        },
        "cost_usd": 30_000 / 10**9,
    }
    assert [asked[0].worst_case for _, asked in ledger.asked] == [3000, 3000]
    assert [usage.input_tokens for _, usage in ledger.settled] == [20, 10]


def test_of_texts_to_embed_only_those_that_are_not_there_are_sent_and_the_order_is_theirs():
    class Noting(Models):
        sent: tuple[Sequence[str], ...] = ()

        async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
            self.sent = (*self.sent, tuple(inputs))
            return await super().embed(model, inputs)

    first, models = Ledger(task(**CACHED)), Noting({"e": says("")})
    whole = embed(models, first)
    kept = [one.answer for one in first.settlements[0].answers]
    again = Ledger(task(**CACHED), admissions=[Hit("lab/e", (kept[0], None, kept[2]))])

    result = embed(models, again)

    assert models.sent == (("a", "bb", "ccc"), ("bb",))
    assert result["embeddings"] == whole["embeddings"]
    assert (result["cache_hit"], result["reused_count"], whole["reused_count"]) == (False, 2, 0)
    assert result["cost_usd"] == 10_000 / 10**9
    assert [len(reuse) for reuse in again.reuse] == [3, 1]
    assert again.reuse[0][1:2] == again.reuse[1]
    assert sum(one["input_tokens"] for one in kept) == 30
    assert [one.share for one in first.settlements[0].answers] == [1, 2, 3]


def test_texts_that_are_all_there_are_embedded_for_nothing():
    first = Ledger(task(**CACHED))
    whole = embed(Models({"e": says("")}), first)
    kept = tuple(one.answer for one in first.settlements[0].answers)
    again = Ledger(task(**CACHED), admissions=[Hit("lab/e", kept)])

    result = embed(Models({"e": fails(500, "provider_unavailable")}), again)

    assert result == {**whole, "cost_usd": 0.0, "cache_hit": True, "reused_count": 3}
    assert again.settled == []


def test_no_input_is_no_call():
    ledger = Ledger()

    assert embed(Models({"e": says("")}), ledger, input=[])["embeddings"] == []
    assert ledger.asked == []


def test_an_embedding_that_fails_is_settled():
    ledger = Ledger()

    with pytest.raises(Attempt) as caught:
        embed(Models({"e": fails(500, "provider_unavailable", retryable=True)}), ledger)

    assert (caught.value.failure.code, caught.value.failure.retryable) == ("provider_unavailable", True)
    assert ledger.settled == [("call-1", "never_sent")]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"input": 3}, "input"),
        ({"input": ["a", None]}, "input"),
        ({"batch_size": 0}, "batch_size"),
        ({"x": 1}, "x"),
    ],
)
def test_wrong_embedding_parameters_are_named(wrong: dict[str, Any], named: str):
    with pytest.raises(Attempt, match=named) as caught:
        embed(Models({"e": says("")}), Ledger(), **wrong)

    assert caught.value.failure.code == "invalid_parameters"
