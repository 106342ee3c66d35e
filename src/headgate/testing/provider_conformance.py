"""What every provider of models promises, as scenarios that each adapter is run through.

A scenario is an async function that takes a `Rig` and asserts; `PROMISES` has all of them by name, the name being the
sentence it proves. What a vendor does not offer stands in the rig's `lacks`: then the scenario asserts that the
provider says so, instead of doing something else in silence. Providers without a server (`scripted/`, `demo/`) run
those of `WITHOUT_SERVER`. Refusals and breaks stand in `provider_refusals`, bad input in `provider_bad_input`.
"""

from __future__ import annotations

import msgspec

from headgate.core.values import Usage
from headgate.ports import FinishReason, Message, ToolCall
from headgate.testing import provider_bad_input, provider_refusals
from headgate.testing.provider_rig import (
    PIXEL,
    PROMISES,
    SCHEMA,
    TOOL,
    WITHOUT_SERVER,
    Rig,
    Said,
    bare,
    failed,
    of_all,
    promise,
    refused,
    request_of,
    streamed,
)

__all__ = ["PROMISES", "WITHOUT_SERVER", "Rig", "Said"]

TASK = "Summarise this text:\n\nThe moon is 384,400 km from the earth. It takes a month to go around it."
"""One that the offline demo models can do, too."""

assert provider_bad_input, provider_refusals  # imported for the promises they hold


# --- Answers ---------------------------------------------------------------------------------------------------


@of_all
async def an_answer_has_text_a_model_and_usage(rig: Rig) -> None:
    rig.will_say(Said(), streamed=False)

    answer = await rig.provider.request(request_of(rig, TASK))

    assert answer.content
    assert answer.model
    assert answer.finish_reason == "Stop"
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


@of_all
async def a_stream_yields_texts_and_then_the_answer_that_they_make(rig: Rig) -> None:
    rig.will_say(Said(), streamed=True)

    texts, answer = await streamed(rig, request_of(rig, TASK))

    assert texts
    assert "".join(texts) == answer.content
    assert answer.finish_reason == "Stop"
    assert answer.usage.output_tokens > 0


@promise
async def an_answer_is_what_was_said_whole_or_streamed(rig: Rig) -> None:
    said = Said(texts=("größer", " als", " π 🚀"))

    rig.will_say(said, streamed=False)
    whole = await rig.provider.request(request_of(rig))
    rig.will_say(said, streamed=True)
    texts, answer = await streamed(rig, request_of(rig))

    assert whole.content == answer.content == "größer als π 🚀"
    assert texts == ["größer", " als", " π 🚀"]
    assert bare(whole.usage) == bare(answer.usage) == Usage(input_tokens=20, output_tokens=9)
    assert whole.model == answer.model
    assert len(rig.asked) == 2


@promise
async def messages_reach_the_model_with_the_parameters(rig: Rig) -> None:
    rig.will_say(Said(), streamed=False)
    messages = (
        Message("system", "Be brief."),
        Message("user", "Hello"),
        Message("assistant", "Well met"),
        Message("user", "How far?"),
    )

    await rig.provider.request(
        request_of(rig, messages=messages, temperature=0.25, stop_sequences=("HALT",), max_tokens=77)
    )

    (body,) = rig.asked
    for part in ("Be brief.", "Hello", "Well met", "How far?", "0.25", "HALT", "77"):
        assert part in body, f"{part!r} did not reach the model: {body}"
    assert body.index("Hello") < body.index("Well met") < body.index("How far?")


@promise
async def fields_of_the_vendors_own_reach_it_and_none_that_change_what_was_reserved(rig: Rig) -> None:
    rig.will_say(Said(), streamed=False)

    await rig.provider.request(request_of(rig, extra={"vendor_field": {"deep": 1}}))
    error = await refused(rig, request_of(rig, extra={"max_tokens": 100_000}))

    assert "vendor_field" in rig.asked[0]
    assert "How far" in rig.asked[0]
    assert (error.kind, error.sent) == ("invalid_request", False)
    assert len(rig.asked) == 1


@promise
async def a_seed_is_sent_or_refused(rig: Rig) -> None:
    rig.will_say(Said(), streamed=False)

    if "seed" not in rig.lacks:
        await rig.provider.request(request_of(rig, seed=4711))
        assert "4711" in rig.asked[0]
        return
    error = await refused(rig, request_of(rig, seed=4711))
    answer = await rig.provider.request(request_of(rig, seed=4711, drop_unsupported=True))

    assert (error.kind, error.sent) == ("missing_capability", False)
    assert "seed" in answer.notes[0]
    assert "4711" not in rig.asked[0]


# --- Tools, forms, images, thinking -------------------------------------------------------------------------------


@promise
async def a_tool_is_called_and_its_result_goes_back(rig: Rig) -> None:
    call = ToolCall("call_7", "measure_distance", {"target": "Ganymede"})
    said = Said(texts=(), calls=(call,), finish="ToolUse")

    rig.will_say(said, streamed=False)
    whole = await rig.provider.request(request_of(rig, tools=(TOOL,), tool_choice="auto"))
    rig.will_say(said, streamed=True)
    _, answer = await streamed(rig, request_of(rig, tools=(TOOL,)))
    rig.will_say(Said(), streamed=False)
    back = (
        Message("user", "How far is the moon?"),
        Message("assistant", "", whole.tool_calls),
        Message("tool", "384400 and a bit", tool_call_id=whole.tool_calls[0].id),
    )
    last = await rig.provider.request(request_of(rig, messages=back, tools=(TOOL,)))

    for got in (whole, answer):
        assert got.finish_reason == "ToolUse"
        assert [(one.name, one.arguments) for one in got.tool_calls] == [(call.name, call.arguments)]
        assert got.tool_calls[0].id
    assert "measure_distance" in rig.asked[0]
    assert '"target"' in rig.asked[0]
    assert "384400 and a bit" in rig.asked[2]
    assert "Ganymede" in rig.asked[2]
    assert last.content == "384,400 km"


@promise
async def two_tools_are_called_side_by_side(rig: Rig) -> None:
    calls = (
        ToolCall("call_1", "measure_distance", {"target": "moon"}),
        ToolCall("call_2", "measure_distance", {"target": "sun", "unit": "au"}),
    )
    rig.will_say(Said(texts=("Let me see.",), calls=calls, finish="ToolUse"), streamed=True)

    texts, answer = await streamed(rig, request_of(rig, tools=(TOOL,)))

    assert texts == ["Let me see."]
    assert [call.arguments for call in answer.tool_calls] == [call.arguments for call in calls]
    assert len({call.id for call in answer.tool_calls}) == 2


@promise
async def a_tool_can_be_demanded(rig: Rig) -> None:
    call = ToolCall("call_7", "measure_distance", {})
    rig.will_say(Said(texts=(), calls=(call,), finish="ToolUse"), streamed=False)

    other = {"name": "weigh_it", "description": "Weighs.", "parameters": {"type": "object", "properties": {}}}
    request = request_of(rig, tools=(TOOL, other), tool_choice={"name": "measure_distance"})

    answer = await rig.provider.request(request)

    assert answer.tool_calls[0].arguments == {}
    assert rig.asked[0].count("measure_distance") > rig.asked[0].count("weigh_it"), rig.asked[0]


@promise
async def a_schema_reaches_the_model_and_its_answer_is_text(rig: Rig) -> None:
    rig.will_say(Said(texts=('{"kilometres":', " 384400}")), streamed=False)

    answer = await rig.provider.request(request_of(rig, response_schema=SCHEMA))

    assert msgspec.json.decode(answer.content) == {"kilometres": 384400}
    assert "kilometres" in rig.asked[0]
    assert bool(answer.notes) == ("schema" in rig.lacks), answer.notes


@promise
async def an_image_is_sent_as_it_is(rig: Rig) -> None:
    rig.will_say(Said(), streamed=False)
    asked = Message("user", "What is this?", images=(PIXEL,))

    await rig.provider.request(request_of(rig, messages=(asked,)))

    assert PIXEL.partition(",")[2][:40] in rig.asked[0].replace("\\/", "/").replace("-", "+").replace("_", "/")
    assert "What is this?" in rig.asked[0]


@promise
async def an_image_by_address_is_passed_on_or_refused_and_never_fetched(rig: Rig) -> None:
    rig.will_say(Said(), streamed=False)
    asked = Message("user", "What is this?", images=("https://pictures.invalid/a.png",))

    if "image_urls" in rig.lacks:
        error = await refused(rig, request_of(rig, messages=(asked,)))
        assert (error.kind, error.sent, rig.asked) == ("missing_capability", False, [])
    else:
        await rig.provider.request(request_of(rig, messages=(asked,)))
        assert "https://pictures.invalid/a.png" in rig.asked[0]


@promise
async def thinking_is_kept_apart_from_the_answer(rig: Rig) -> None:
    if "reasoning" in rig.lacks:
        return
    said = Said(reasoning="It is round.", usage=Usage(input_tokens=20, output_tokens=30, reasoning_tokens=12))

    rig.will_say(said, streamed=False)
    whole = await rig.provider.request(request_of(rig))
    rig.will_say(said, streamed=True)
    texts, answer = await streamed(rig, request_of(rig))

    assert whole.reasoning == answer.reasoning == "It is round."
    assert whole.content == answer.content == "".join(texts) == "384,400 km"


# --- Usage ------------------------------------------------------------------------------------------------------


@promise
async def usage_comes_in_buckets_that_are_parts_of_the_sums(rig: Rig) -> None:
    full = Usage(
        input_tokens=1000,
        output_tokens=300,
        cache_read_tokens=400,
        cache_write_tokens=0 if "cache_write" in rig.lacks else 100,
        cache_write_1h_tokens=0 if "cache_write_1h" in rig.lacks else 50,
        reasoning_tokens=0 if "reasoning_usage" in rig.lacks else 200,
        audio_input_tokens=0 if "audio" in rig.lacks else 30,
    )

    rig.will_say(Said(usage=full), streamed=False)
    whole = await rig.provider.request(request_of(rig))
    rig.will_say(Said(usage=full), streamed=True)
    _, answer = await streamed(rig, request_of(rig))

    assert bare(whole.usage) == full
    assert bare(answer.usage) == full


@promise
async def usage_that_is_not_reported_is_estimated_and_said_so(rig: Rig) -> None:
    rig.will_say(Said(usage=None), streamed=False)
    whole = await rig.provider.request(request_of(rig))
    rig.will_say(Said(usage=None), streamed=True)
    _, answer = await streamed(rig, request_of(rig))

    for usage in (whole.usage, answer.usage):
        assert usage.estimated
        assert usage.input_tokens >= len("How far is the moon?") / 4
        assert usage.output_tokens >= len("384,400 km") / 4


@promise
async def every_way_to_end_has_one_name(rig: Rig) -> None:
    ends: list[FinishReason] = (
        ["Stop", "MaxTokens"] if "filtered" in rig.lacks else ["Stop", "MaxTokens", "ContentFilter"]
    )
    for finish in ends:
        for by_stream in (False, True):
            rig.will_say(Said(finish=finish), streamed=by_stream)
            answer = (
                (await streamed(rig, request_of(rig)))[1] if by_stream else await rig.provider.request(request_of(rig))
            )
            assert answer.finish_reason == finish


@promise
async def an_ending_nobody_has_heard_of_is_an_error_and_loses_no_text(rig: Rig) -> None:
    for by_stream in (False, True):
        rig.will_say(Said(finish="unheard of"), streamed=by_stream)
        answer = (await streamed(rig, request_of(rig)))[1] if by_stream else await rig.provider.request(request_of(rig))
        assert (answer.finish_reason, answer.content) == ("Error", "384,400 km")


# --- Embeddings ---------------------------------------------------------------------------------------------------


@of_all
async def each_text_has_a_vector(rig: Rig) -> None:
    if "embeddings" in rig.lacks:
        return
    rig.will_embed([[0.5, 0.25], [1.0, -1.0]], 12)

    answer = await rig.provider.embed(rig.embedding_model, ["first text", "second text"])

    assert len(answer.embeddings) == 2
    assert len({len(vector) for vector in answer.embeddings}) == 1
    assert answer.embeddings[0] != answer.embeddings[1]
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens == 0


@promise
async def texts_are_embedded_in_their_order(rig: Rig) -> None:
    if "embeddings" in rig.lacks:
        refusal = await failed(rig, rig.provider.embed(rig.embedding_model, ["a"]))
        assert (refusal.kind, refusal.sent, rig.asked) == ("missing_capability", False, [])
        return
    rig.will_embed([[0.5, 0.25], [1.0, -1.0]], 12)

    answer = await rig.provider.embed(rig.embedding_model, ["first text", "second text"])

    assert answer.embeddings == ((0.5, 0.25), (1.0, -1.0))
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens == 0
    assert answer.usage.estimated or answer.usage.input_tokens == 12
    assert any("first text" in body for body in rig.asked)
