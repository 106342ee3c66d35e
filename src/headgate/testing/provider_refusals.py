"""What every provider promises when its vendor refuses, breaks off or stands still: one name, one request, no leak."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from headgate.testing.provider_rig import WAIT_SECONDS_MAX, Rig, Said, collect, promise, refused, request_of

__all__ = ["REFUSALS"]

# --- Refusals ------------------------------------------------------------------------------------------------------

REFUSALS = {
    # our code: whether asking again may help
    "authentication": False,
    "content_filter": False,
    "context_too_long": False,
    "invalid_request": False,
    "not_found": False,
    "provider_unavailable": True,
    "quota_exhausted": False,
    "rate_limited": True,
}


async def _each_refusal(rig: Rig, *, by_stream: bool) -> None:
    for number, (code, retryable) in enumerate(REFUSALS.items(), 1):
        rig.will_refuse(code)
        error = await refused(rig, request_of(rig), by_stream=by_stream)
        assert (error.kind, error.retryable, error.sent) == (code, retryable, True), f"{error} ({error.kind})"
        assert error.status >= 400
        assert len(rig.asked) == number, "one call is one request, whatever it meets"
        assert (error.retry_after_seconds == 7.0) == (code == "rate_limited"), error.retry_after_seconds


@promise
async def every_refusal_has_one_name_and_one_request(rig: Rig) -> None:
    await _each_refusal(rig, by_stream=False)


@promise
async def every_refusal_of_a_stream_has_one_name_and_one_request(rig: Rig) -> None:
    await _each_refusal(rig, by_stream=True)


@promise
async def a_model_that_is_not_there_is_answered_with_those_that_are_like_it(rig: Rig) -> None:
    if "names" in rig.lacks:
        return
    rig.will_refuse("not_found")
    misspelt = rig.model[:-1] + ("x" if rig.model[-1] != "x" else "y")

    error = await refused(rig, request_of(rig, model=misspelt))

    assert "Did you mean" in str(error)
    assert f"{rig.name}/" in str(error).partition("Did you mean")[2]


@promise
async def an_error_inside_a_stream_ends_it_with_what_was_used(rig: Rig) -> None:
    rig.will_fail_inside(Said())

    text, error = await collect(rig, request_of(rig))

    assert (error.kind, error.retryable) == ("provider_unavailable", True), f"{error} ({error.kind})"
    assert error.usage is not None
    assert error.usage.output_tokens > 0
    assert text == "384,400 km"
    assert len(rig.asked) == 1


# --- Breaking off ----------------------------------------------------------------------------------------------------


async def _breaks_off(rig: Rig, *, politely: bool) -> None:
    rig.will_break_off(Said(), 2, politely=politely)

    text, error = await collect(rig, request_of(rig))

    assert (error.kind, error.retryable, error.sent) == ("connection_failed", True, True), f"{error} ({error.kind})"
    assert error.usage is not None
    assert error.usage.input_tokens > 0
    assert error.usage.output_tokens >= len("384,400") / 4
    assert text == "384,400"
    assert len(rig.asked) == 1


@promise
async def a_stream_that_is_cut_fails_with_what_was_used(rig: Rig) -> None:
    await _breaks_off(rig, politely=False)


@promise
async def a_stream_that_ends_without_its_end_is_cut(rig: Rig) -> None:
    await _breaks_off(rig, politely=True)


async def _times_out(rig: Rig, *, by_stream: bool, said: Said | None) -> None:
    rig.will_fall_silent(said)
    request = request_of(rig, timeout_seconds=0.2)

    async with asyncio.timeout(WAIT_SECONDS_MAX):
        error = await refused(rig, request, by_stream=by_stream)
        await rig.hung_up.wait()

    assert (error.kind, error.retryable, error.sent) == ("timed_out", True, True), f"{error} ({error.kind})"
    assert len(rig.asked) == 1
    await _no_connection_is_left(rig)


@promise
async def a_call_that_takes_too_long_is_given_up_and_not_repeated(rig: Rig) -> None:
    await _times_out(rig, by_stream=False, said=None)


@promise
async def a_stream_that_stands_still_is_given_up_and_not_repeated(rig: Rig) -> None:
    await _times_out(rig, by_stream=True, said=Said())


@promise
async def a_call_that_is_cancelled_closes_its_connection(rig: Rig) -> None:
    rig.will_fall_silent(None)
    calling = asyncio.ensure_future(rig.provider.request(request_of(rig)))

    async with asyncio.timeout(WAIT_SECONDS_MAX):
        await rig.received.wait()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await rig.hung_up.wait()

    assert calling.cancelled()
    assert len(rig.asked) == 1
    await _no_connection_is_left(rig)


@promise
async def a_stream_that_is_cancelled_closes_its_connection(rig: Rig) -> None:
    rig.will_fall_silent(Said())
    came = asyncio.Event()

    async def read() -> None:
        async for _ in rig.provider.stream(request_of(rig)):
            came.set()

    reading = asyncio.ensure_future(read())
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        await came.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await rig.hung_up.wait()

    assert reading.cancelled()
    await _no_connection_is_left(rig)


@promise
async def a_stream_that_is_left_closes_its_connection(rig: Rig) -> None:
    rig.will_fall_silent(Said())

    async with asyncio.timeout(WAIT_SECONDS_MAX):
        async with aclosing(rig.provider.stream(request_of(rig))) as items:  # pyright: ignore[reportArgumentType]  # they are generators
            first = await anext(items)
        await rig.hung_up.wait()

    assert first == "384"
    await _no_connection_is_left(rig)


async def _no_connection_is_left(rig: Rig) -> None:
    await rig.close()
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while rig.open_connections:  # noqa: ASYNC110 - the server learns of it in a turn of the loop or two
            await asyncio.sleep(0)
