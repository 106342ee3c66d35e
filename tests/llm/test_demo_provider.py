"""The demo provider keeps the port's promises: the same bytes everywhere, exact counts, limits, prices,
refusals."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.llm.demo import DemoProvider
from headgate.llm.demo.tokens import count_text, first_tokens, pieces
from headgate.ports import Message, ModelAnswer, ModelRequest, ProviderError, ToolCall

NEWS = (
    "The harbour of Esbrook was closed on Monday after a crane fell into the water. Nobody was hurt, "
    "the police said. "
    "Divers will raise the crane on Thursday. The closure delays eleven ships, among them a ferry with "
    "four hundred "
    "passengers. Mayor Ilse Brandt promised an inquiry into the crane's maintenance. The crane was "
    "built in 1974."
)
TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "track_parcel",
            "description": "Find out where a parcel is, by its tracking number",
            "parameters": {
                "type": "object",
                "properties": {"tracking_number": {"type": "string"}},
                "required": ["tracking_number"],
            },
        },
    },
    {
        "name": "book_table",
        "description": "Book a table in a restaurant",
        "input_schema": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "date": {"type": "string", "format": "date"},
                "guests": {"type": "integer"},
            },
            "required": ["city", "date"],
        },
    },
)


def ask(prompt, model="small", **rest):
    messages = prompt if isinstance(prompt, tuple) else (Message("user", prompt),)
    return asyncio.run(DemoProvider().request(ModelRequest(model=model, messages=messages, **rest)))


async def _streamed(request):
    return [item async for item in DemoProvider().stream(request)]


@pytest.mark.parametrize("model", ["small", "large"])
def test_a_stream_is_the_very_answer_in_words(model):
    request = ModelRequest(model=model, messages=(Message("user", f"Summarise: {NEWS}"),))

    *texts, last = asyncio.run(_streamed(request))

    assert last == ask(f"Summarise: {NEWS}", model)
    assert "".join(texts) == last.content
    assert len(texts) == len(last.content.split())


def test_usage_is_counted_and_the_count_before_is_exact():
    request = ModelRequest(model="small", messages=(Message("user", f"Summarise: {NEWS}"),), tools=TOOLS)

    answer = asyncio.run(DemoProvider().request(request))

    assert (answer.usage.provider, answer.usage.model) == ("demo", "small")
    assert answer.usage.input_tokens == DemoProvider().count(request) > count_text(NEWS)
    assert answer.usage.output_tokens == count_text(answer.content)


@given(st.text(max_size=200), st.integers(0, 50))
def test_tokens_and_pieces_put_together_are_the_text(text, count):
    prefix = first_tokens(text, count)

    assert text.startswith(prefix)
    assert count_text(prefix) == min(count, count_text(text))
    assert "".join(pieces(text)) == text


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60))
def test_no_answer_is_longer_than_max_tokens(max_tokens):
    answer = ask(f"List all people mentioned, the ships and the dates:\n{NEWS}", max_tokens=max_tokens)

    whole = ask(f"List all people mentioned, the ships and the dates:\n{NEWS}").content
    assert answer.usage.output_tokens <= max_tokens
    assert whole.startswith(answer.content)
    assert answer.finish_reason == ("Stop" if answer.content == whole else "MaxTokens")


def test_an_answer_ends_before_a_stop_sequence():
    answer = ask(f"Summarise in three sentences: {NEWS}", stop_sequences=("Divers", "crane"))

    assert answer.content == "The harbour of Esbrook was closed on Monday after a "
    assert answer.finish_reason == "Stop"


PROGRAM = """
import asyncio, sys, msgspec
sys.path.insert(0, sys.argv[1])
from headgate.llm.demo import DemoProvider
from headgate.ports import Message, ModelRequest
demo, news = DemoProvider(), sys.argv[2]
schema = {"type": "object", "properties": {"mood": {"enum": ["positive", "negative", "neutral"]},
    "tags": {"type": "array", "items": {"type": "string"}}, "year": {"type": ["integer", "null"]}},
    "required": ["mood", "tags", "year"]}
prompts = [(f"Summarise: {news}", {}), (f"Who is the mayor?\\n\\n{news}", {}),
    (news, {"response_schema": schema}), (f"Give me 5 keywords:\\n{news}", {}),
    (f"Classify as politics, sports or weather:\\n\\n{news}", {})]
for model in ("small", "large"):
    for prompt, rest in prompts:
        request = ModelRequest(model=model, messages=(Message("user", prompt),), **rest)
        print(msgspec.json.encode(asyncio.run(demo.request(request))))
print(asyncio.run(demo.embed("embed", [news])))
"""


@pytest.mark.slow
def test_the_same_request_gives_the_same_bytes_in_every_process():
    source = str(Path(__file__).parents[2] / "src")

    outputs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, source, NEWS],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    ]

    assert outputs[0].count(b"\n") == 11
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.parametrize(
    "prompt",
    [
        f"Translate the text into French:\n\n{NEWS}",
        f"Summarise in Spanish:\n\n{NEWS}",
        f"Write a poem about this text:\n\n{NEWS}",
        f"Write a polite reply to this message:\n\n{NEWS}",
        f"Rewrite this in a friendlier tone:\n\n{NEWS}",
        "Write a Python function that reverses a list",
        "Implement quicksort in Rust",
        "What is 12 * 34?",
        "Calculate the average of 3, 4 and 8.",
        "Who wrote Hamlet?",
        "Explain how black holes form.",
        "Tell me a joke",
        "Hello!",
        "Give me three ideas for a birthday party",
        "Summarise:",
        NEWS,
        f"Classify as zinc or tin:\n\n{NEWS}",
        " ",
    ],
)
@pytest.mark.parametrize("model", ["small", "large"])
def test_what_no_ability_can_do_is_refused_and_the_way_out_named(prompt, model):
    with pytest.raises(ProviderError) as refused:
        ask(prompt, model)

    assert (refused.value.kind, refused.value.status, refused.value.retryable) == ("demo_cannot", 422, False)
    assert "openai/" in refused.value.message
    assert "OPENAI_API_KEY" in refused.value.message
    assert "ollama/" in refused.value.message


def test_a_misspelled_model_is_named_with_the_one_that_was_meant():
    with pytest.raises(ProviderError, match="Did you mean demo/large") as unknown:
        ask("Summarise: One. Two.", "larg")

    assert (unknown.value.kind, unknown.value.retryable) == ("unknown_model", False)


def test_models_of_the_wrong_trade_are_refused():
    with pytest.raises(ProviderError, match="demo/small and demo/large"):
        ask("Summarise: One. Two.", "embed")
    with pytest.raises(ProviderError, match="demo/embed makes embeddings"):
        asyncio.run(DemoProvider().embed("small", ["x"]))


def test_prices_are_simulated_and_the_large_model_costs_ten_times_the_small():
    small, large, embed = (DemoProvider().price(name) for name in ("small", "large", "embed"))

    assert small is not None and large is not None and embed is not None  # noqa: PT018  # narrows all three
    assert [price.simulated for price in (small, large, embed)] == [True] * 3
    assert (small.input, small.output) == (200_000_000, 800_000_000)
    assert (large.input, large.output) == (2_000_000_000, 8_000_000_000)
    assert (embed.input, embed.output) == (20_000_000, 0)
    assert DemoProvider().price("medium") is None


@pytest.mark.parametrize("number", ["PX-55012", "ZZ9087", "LM-1-443"])
def test_a_tool_is_called_with_the_arguments_of_the_message(number):
    answer = ask(f"Where is my parcel with the tracking number {number}?", tools=TOOLS)

    assert answer.finish_reason == "ToolUse"
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [
        ("track_parcel", {"tracking_number": number})
    ]
    assert answer.usage.output_tokens > 0


@pytest.mark.parametrize(("city", "guests"), [("Gdansk", 3), ("Lyon", 12)])
def test_arguments_have_the_types_of_the_tools_schema(city, guests):
    answer = ask(f"Please book a table in {city} on 5 June 2026 for {guests} guests", tools=TOOLS)

    assert answer.tool_calls[0].name == "book_table"
    assert answer.tool_calls[0].arguments == {"city": city, "date": "2026-06-05", "guests": guests}


def test_no_tool_is_called_where_none_fits_or_an_argument_is_missing():
    assert ask(f"Summarise: {NEWS}", tools=TOOLS).tool_calls == ()
    assert ask(f"When will divers raise the crane?\n\n{NEWS}", tools=TOOLS).tool_calls == ()
    with pytest.raises(ProviderError):
        ask("Where is my parcel?", tools=TOOLS)


def test_a_forced_tool_whose_argument_is_missing_is_refused_by_the_arguments_name():
    with pytest.raises(ProviderError, match="tracking_number"):
        ask(
            "Where is my parcel?",
            tools=TOOLS,
            tool_choice={"type": "function", "function": {"name": "track_parcel"}},
        )


def test_after_a_tools_result_the_answer_quotes_it_and_calls_no_tool_again():
    call = ToolCall("call_1", "track_parcel", {"tracking_number": "PX-55012"})
    conversation = (
        Message("user", "Where is my parcel with the tracking number PX-55012?"),
        Message("assistant", "", tool_calls=(call,)),
        Message(
            "tool",
            "The parcel is in the depot of Turin. It will be delivered tomorrow.",
            tool_call_id="call_1",
        ),
    )

    answer = ask(conversation, tools=TOOLS)

    assert answer.finish_reason == "Stop"
    assert "depot of Turin" in answer.content


def _nearness(left, right):
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


def test_vectors_have_length_one_and_texts_that_share_words_lie_nearer():
    groups = [
        ("The parcel arrived two days late.", "My parcel was two days late when it arrived."),
        ("Cats sleep for most of the day.", "For most of the day, cats are sleeping."),
        ("The bank raised its interest rates again.", "Interest rates were raised again by the bank."),
    ]
    vectors = asyncio.run(DemoProvider().embed("embed", [text for group in groups for text in group])).embeddings

    assert all(len(vector) == 256 and math.isclose(math.hypot(*vector), 1, abs_tol=1e-6) for vector in vectors)
    for index, vector in enumerate(vectors):
        partner = index ^ 1
        others = [_nearness(vector, vectors[other]) for other in range(6) if other not in (index, partner)]
        assert _nearness(vector, vectors[partner]) > max(others) + 0.2


def test_an_embedding_counts_its_input_and_accepts_empty_text():
    answer = asyncio.run(DemoProvider().embed("embed", ["", NEWS]))

    assert answer.usage.input_tokens == count_text(NEWS)
    assert math.isclose(math.hypot(*answer.embeddings[0]), 1, abs_tol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=400),
    st.sampled_from(["Summarise:", "Who?", "Classify as a or b:", "Extract the date:", "Keywords:", ""]),
)
def test_whatever_the_prompt_there_is_an_answer_or_a_refusal(text, start):
    try:
        answer = ask(f"{start} {text}")
    except ProviderError as refused:
        assert refused.kind == "demo_cannot"  # noqa: PT017  # an answer is as good: `raises` would demand the refusal
    else:
        assert isinstance(answer, ModelAnswer)
        assert answer.content
