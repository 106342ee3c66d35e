"""What every provider promises when what comes back makes no sense, or nothing can come back."""

from __future__ import annotations

import asyncio
import socket

from headgate.core.values import Usage
from headgate.ports import Message, ModelProvider, ProviderError
from headgate.testing.provider_rig import Rig, Said, collect, failed, promise, refused, request_of, streamed

__all__ = ["unreachable"]

BODIES = (
    b"",
    b"not JSON",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"<html>Bad gateway</html>",
    b'{"a": ' * 5_000,
    b"\xff\xfe",
)


@promise
async def a_body_that_is_no_answer_is_named_so(rig: Rig) -> None:
    for number, body in enumerate(BODIES, 1):
        rig.will_send(body, streamed=False)
        error = await refused(rig, request_of(rig))
        assert (error.kind, error.retryable, error.sent) == ("malformed_response", True, True), (
            f"{body[:20]!r}: {error}"
        )
        assert len(rig.asked) == number


@promise
async def a_stream_of_nonsense_is_an_error_and_no_answer(rig: Rig) -> None:
    for number, body in enumerate((b"", b"data: {\n\n", b"data: []\n\n", b"\x00" * 64, b"data: null\n\n"), 1):
        rig.will_send(body, streamed=True)
        text, error = await collect(rig, request_of(rig))
        assert error.kind in ("malformed_response", "connection_failed"), f"{body[:20]!r}: {error}"
        assert (text, error.retryable) == ("", True)
        assert len(rig.asked) == number


@promise
async def a_usage_that_is_nonsense_loses_no_answer_and_is_estimated(rig: Rig) -> None:
    for usage in rig.nonsense:
        for by_stream in (False, True):
            rig.will_say(Said(usage=usage), streamed=by_stream)
            asked = request_of(rig)
            answer = (await streamed(rig, asked))[1] if by_stream else await rig.provider.request(asked)
            assert answer.content == "384,400 km"
            assert answer.usage.estimated, f"{usage!r} was taken for {answer.usage}"
            assert 0 < answer.usage.output_tokens < 100


@promise
async def a_token_of_a_megabyte_arrives(rig: Rig) -> None:
    huge = "x" * (1024 * 1024)
    rig.will_say(Said(texts=("a", huge, "b")), streamed=True)

    texts, answer = await streamed(rig, request_of(rig))

    assert len(answer.content) == len(huge) + 2
    assert texts[-1] == "b"


@promise
async def a_stream_without_end_is_stopped(rig: Rig) -> None:
    rig.will_stream_for_ever()

    text, error = await collect(rig, request_of(rig))

    assert error.kind == "malformed_response", f"{error} ({error.kind})"
    assert "reading was stopped" in str(error)
    assert text
    assert error.usage is not None
    assert len(rig.asked) == 1


@promise
async def a_redirect_is_not_followed_wherever_it_leads(rig: Rig) -> None:
    for number, address in enumerate(("http://127.0.0.1:1/v1/x", "http://10.0.0.1/", "https://other.invalid/"), 1):
        rig.will_redirect(address)
        error = await refused(rig, request_of(rig), by_stream=number == 2)
        assert (error.kind, error.retryable) == ("misconfigured", False), f"{error} ({error.kind})"
        assert "base URL" in str(error)
        assert len(rig.asked) == number


async def unreachable(rig: Rig, url: str) -> ProviderError:
    """Return the error of a call to an address where nobody can be asked."""
    provider = rig.elsewhere(url)
    try:
        error = await failed(rig, provider.request(request_of(rig)))
    finally:
        await _close(provider)
    assert (error.kind, error.sent, error.retryable) == ("connection_failed", False, True), f"{error} ({error.kind})"
    assert "was not sent" in str(error)
    return error


async def _close(provider: ModelProvider) -> None:
    close = getattr(provider, "close", None)
    if close is not None:
        await close()


@promise
async def a_connection_that_is_refused_was_not_sent(rig: Rig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else's

        await unreachable(rig, f"http://127.0.0.1:{taken.getsockname()[1]}")


@promise
async def a_host_that_has_no_address_was_not_asked(rig: Rig) -> None:
    await unreachable(rig, "http://models.invalid")


@promise
async def a_key_that_is_missing_is_named(rig: Rig) -> None:
    provider = rig.without_key()
    if provider is None:
        return

    for call in (provider.request(request_of(rig)), anext(aiter(provider.stream(request_of(rig))))):
        error = await failed(rig, call)
        assert (error.kind, error.sent) == ("missing_key", False)
        assert rig.key_variable in str(error)
    assert rig.asked == []


@promise
async def many_calls_at_a_time_do_not_mix(rig: Rig) -> None:
    rig.will_say(Said(usage=Usage(input_tokens=3, output_tokens=5)), streamed=True)
    requests = [request_of(rig, messages=(Message("user", f"question {number}"),)) for number in range(20)]

    answers = await asyncio.gather(*(streamed(rig, request) for request in requests))

    assert len(rig.asked) == 20
    assert {answer.content for _, answer in answers} == {"384,400 km"}
    assert {answer.usage.output_tokens for _, answer in answers} == {5}
