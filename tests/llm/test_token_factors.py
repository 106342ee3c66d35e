"""What answers teach: up at once, down slowly, never so far that the next prompt is reserved too little for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.llm.tokens.make_counts import read_counts
from tests.llm.tokens.texts import texts

from headgate.app import App
from headgate.core.values import Price, Usage
from headgate.llm.learning import LearningProvider
from headgate.llm.registry import build_providers
from headgate.llm.token_estimate import estimate_text
from headgate.llm.token_factors import (
    FACTOR_MAX,
    FACTOR_MIN,
    KINDS_MAX,
    LONG_TOKENS,
    MARGIN,
    SAMPLES_MIN,
    WINDOW,
    TokenFactors,
    kind_of_request,
)
from headgate.llm.token_weights import PROSE, kind_of
from headgate.ports import EmbeddingAnswer, Message, ModelAnswer, ModelRequest, ProviderError
from headgate.stores.memory import MemoryLog
from headgate.testing.log_conformance import HandmadeRun

ENGLISH, OTHER = f"{PROSE} 5000", "other 0005"


TEXTS: dict[str, str] = texts()
COUNTS: dict[str, dict[str, int]] = read_counts(TEXTS)
MODELS = {"o200k_base": "gpt-4o", "cl100k_base": "gpt-4", "gemini": "gemini-2", "claude_2": "claude", "llama2": "x"}


def taught(*needs: float, kind: str = ENGLISH, estimated: int = 10_000) -> TokenFactors:
    factors = TokenFactors()
    for need in needs:
        factors.learn("lab/m", kind, estimated=estimated, actual=round(need * estimated))
    return factors


def test_until_something_is_learnt_the_factor_is_one():
    assert TokenFactors().factor("lab/m", ENGLISH) == 1.0
    assert taught(*[0.5] * (SAMPLES_MIN - 1)).factor("lab/m", ENGLISH) == 1.0


def test_one_call_that_took_more_raises_the_factor_at_once_and_for_all_kinds():
    factors = taught(*[0.5] * 100, 1.2, 0.5)

    assert factors.factor("lab/m", ENGLISH) == pytest.approx(1.2 * MARGIN)
    assert factors.factor("lab/m", OTHER) == pytest.approx(1.2 * MARGIN)
    assert factors.factor("lab/n", ENGLISH) == 1.0


def test_what_a_vendor_adds_to_a_short_request_says_nothing_about_long_ones_of_other_kinds():
    factors = taught(2.0, kind="other 5000t", estimated=LONG_TOKENS - 1)

    assert factors.factor("lab/m", "other 5000t") > 2
    assert factors.factor("lab/m", "other 5000") == 1.0


def test_english_prose_that_took_less_often_enough_is_estimated_lower_but_not_far():
    assert taught(*[0.6] * SAMPLES_MIN).factor("lab/m", ENGLISH) == pytest.approx(0.75)
    assert taught(*[0.6] * SAMPLES_MIN, 0.7).factor("lab/m", ENGLISH) == pytest.approx(0.875)
    assert taught(*[0.1] * SAMPLES_MIN).factor("lab/m", ENGLISH) == FACTOR_MIN
    assert taught(*[0.95] * SAMPLES_MIN).factor("lab/m", ENGLISH) == 1.0


def test_other_texts_are_never_estimated_lower():
    assert taught(*[0.1] * WINDOW, kind=OTHER).factor("lab/m", OTHER) == 1.0


def test_an_old_call_is_forgotten_and_an_absurd_one_bounded():
    assert taught(50.0).factor("lab/m", ENGLISH) == FACTOR_MAX
    factors = taught(50.0, kind="other 5000t", estimated=LONG_TOKENS - 1)
    for _ in range(WINDOW):
        factors.learn("lab/m", "other 5000t", estimated=100, actual=50)
    assert factors.factor("lab/m", "other 5000t") == 1.0


def test_dated_names_are_the_model_that_they_are_dates_of():
    factors = TokenFactors()
    factors.seed([("lab", "m-2026-01-31", LONG_TOKENS, LONG_TOKENS * 2), ("lab", "n", 10, 99), ("lab", "o", 900, 90)])

    assert factors.factor("lab/m", ENGLISH) == factors.factor("lab/m-latest", OTHER) == 2 * MARGIN
    assert factors.factor("lab/n", ENGLISH) == factors.factor("lab/o", ENGLISH) == 1.0


def test_kinds_are_bounded_and_the_least_used_is_forgotten():
    factors = taught(1.5, estimated=10)
    for number in range(KINDS_MAX):
        factors.learn("lab/m", f"kind {number}", estimated=10, actual=5)

    assert factors.factor("lab/m", ENGLISH) == 1.0
    assert len(factors._needs) == KINDS_MAX


@given(
    st.lists(st.tuples(st.integers(-1, 10_000), st.integers(-1, 40_000)), max_size=60),
    st.sampled_from([ENGLISH, OTHER]),
)
def test_the_next_estimate_is_never_below_what_the_newest_calls_needed(calls: list[tuple[int, int]], kind: str):
    factors = TokenFactors()
    for estimated, actual in calls:
        factors.learn("lab/m", kind, estimated=estimated, actual=actual)

    factor = factors.factor("lab/m", kind)

    needs = [actual / estimated for estimated, actual in calls[-WINDOW:] if estimated > 0 and actual > 0]
    assert FACTOR_MIN <= factor <= FACTOR_MAX
    assert factor >= min(max(needs, default=0), FACTOR_MAX)


@pytest.mark.parametrize("vocabulary", list(MODELS))
def test_whatever_was_learnt_from_other_texts_no_text_is_estimated_too_low(vocabulary: str):
    """In any order: much English first, then Japanese, Arabic, code; or all of them through each other."""
    model = MODELS[vocabulary]
    english = [id_ for id_ in TEXTS if id_.startswith("english")]
    rest = [id_ for id_ in TEXTS if len(TEXTS[id_]) < 5_000]
    mixed = Random(vocabulary).sample(rest * 4, len(rest) * 4)
    estimates = {id_: estimate_text(TEXTS[id_], factor=1.0, model=model) for id_ in {*english, *rest}}
    kinds = {id_: kind_of([TEXTS[id_]]) for id_ in estimates}
    factors = TokenFactors()
    lowered = 0

    for id_ in english * 10 + mixed:
        factor = factors.factor("lab/m", kinds[id_])
        lowered += factor < 1
        assert estimates[id_] * factor >= COUNTS[id_][vocabulary], (id_, kinds[id_], factor)
        factors.learn("lab/m", kinds[id_], estimated=estimates[id_], actual=COUNTS[id_][vocabulary])

    assert lowered > 0


def test_requests_of_another_make_up_are_of_another_kind():
    def request(text: str, **fields: Any) -> ModelRequest:
        return ModelRequest(model="m", messages=(Message("user", text),), **fields)

    kinds = {
        kind_of_request(request(TEXTS["english/4000"])),
        kind_of_request(request(TEXTS["english/4000"], tools=({"name": "a"},))),
        kind_of_request(request(TEXTS["english/4000"], response_schema={"type": "object"})),
        *(kind_of_request(request(TEXTS[f"{id_}/4000"])) for id_ in ("german", "japanese", "arabic", "json", "csv")),
        kind_of_request(request(TEXTS["english/4000"] + TEXTS["japanese/20000"])),
    }

    assert len(kinds) == 9
    assert [kind_of([TEXTS[id_]]).startswith(PROSE) for id_ in ("english/100", "python/4000", "words/4000")] == [
        *(True, False, False),
    ]


# --- Where it is learnt -------------------------------------------------------------------------------------


class Lab:
    """A vendor that takes `need` times the tokens it was estimated at, and fails where it is told to."""

    name = "lab"

    def __init__(self, need: float, error: ProviderError | None = None, *, estimated: bool = False) -> None:
        self.need = need
        self.error = error
        self.estimated = estimated
        self.closed = False

    def count(self, request: ModelRequest) -> int:
        return 1_000

    def price(self, model: str) -> Price | None:
        return Price(1)

    def _answer(self, model: str) -> ModelAnswer:
        if self.error is not None:
            raise self.error
        usage = Usage(input_tokens=round(self.need * 1_000), estimated=self.estimated)
        return ModelAnswer(content="x", model=model, usage=usage)

    async def request(self, request: ModelRequest) -> ModelAnswer:
        return self._answer(request.model)

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        yield "x"
        yield self._answer(request.model)

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        return EmbeddingAnswer(embeddings=((1.0,),), model=model, usage=self._answer(model).usage)

    async def close(self) -> None:
        self.closed = True


ASKED = ModelRequest(model="m", messages=(Message("user", TEXTS["english/600"]),))


async def use(provider: LearningProvider, how: str, request: ModelRequest = ASKED) -> Usage:
    if how == "request":
        return (await provider.request(request)).usage
    if how == "embed":
        return (await provider.embed("m", [message.content for message in request.messages])).usage
    return [item async for item in provider.stream(request)][-1].usage


@pytest.mark.parametrize("how", ["request", "stream", "embed"])
def test_every_answer_teaches_and_carries_what_its_input_was_estimated_at(how: str):
    provider = LearningProvider(Lab(1.6), TokenFactors())
    before = provider.count(ASKED)

    usage = asyncio.run(use(provider, how))

    assert (usage.input_tokens, usage.estimated_input) == (1_600, 1_000)
    assert (before, provider.count(ASKED)) == (1_000, 2_000)


@pytest.mark.parametrize("how", ["request", "stream", "embed"])
def test_a_billed_failure_carries_it_too_and_teaches_nothing(how: str):
    error = ProviderError("no", status=400, usage=Usage(input_tokens=9_000))
    provider = LearningProvider(Lab(1, error), TokenFactors())

    with pytest.raises(ProviderError) as caught:
        asyncio.run(use(provider, how))

    assert caught.value is error
    assert error.usage == Usage(input_tokens=9_000, estimated_input=1_000)
    assert provider.count(ASKED) == 1_000


def test_our_own_count_and_a_request_with_images_teach_nothing():
    factors = TokenFactors()
    with_image = ModelRequest(model="m", messages=(Message("user", "see", images=("data:x",)),))

    asyncio.run(use(LearningProvider(Lab(2.0, estimated=True), factors), "request"))
    asyncio.run(use(LearningProvider(Lab(2.0), factors), "request", with_image))

    assert LearningProvider(Lab(2.0), factors).count(ASKED) == 1_000


def test_providers_of_vendors_learn_and_what_they_hold_open_is_closed():
    lab = Lab(1)
    providers = build_providers({"HEADGATE_PROVIDER_ACME_BASE_URL": "http://127.0.0.1:9"}, factors=TokenFactors())

    asyncio.run(LearningProvider(lab, TokenFactors()).close())

    assert lab.closed
    assert isinstance(providers["acme"], LearningProvider)
    assert isinstance(providers["openai"], LearningProvider)
    assert not isinstance(providers["demo"], LearningProvider)


def test_a_process_that_starts_learns_upwards_from_the_newest_spend_rows():
    async def start() -> float:
        log = MemoryLog()
        run = HandmadeRun(log, "run-1")
        await run.commit()
        await run.commit(spend=[run.spent(1, estimated_input=1_000, input_tokens=1_400)])
        async with App(log, environment={}, offline=True, work=False) as app:
            return app.factors.factor("acme/large", OTHER)

    assert asyncio.run(start()) == pytest.approx(1.4 * MARGIN)
