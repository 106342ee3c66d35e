"""Personal data and secrets end to end: a whole app on a SQLite file, with texts of the blind set in and out.

What goes in is scrubbed before it is stored; what the model says of its own (here the worst: the very texts, cut
anywhere) is scrubbed on its way back, in the stream too. Then everything that was written or sent is searched.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.policies.labelled import Found, Haystack, PiiItem, Set, leaks, pii

from headgate.app import App
from headgate.core.values import Price, Usage
from headgate.ports import EmbeddingAnswer, ModelAnswer, ModelRequest, ProviderError, StartRequest
from headgate.stores.sqlite import SqliteLog

SET: Set = "blind"
"""Whoever mends rules runs this with `second` in its place, and leaves the blind set to the one run that counts."""
LEAKS_MAX = 0
PATIENCE_SECONDS = 120.0
BLOCK_CHARACTERS = 256 * 1024
"""What is searched at once: read in every way it takes a hundred times its length, and a database has megabytes."""
OVERLAP_CHARACTERS = 16 * 1024
"""More than a value has in any disguise, so that each is whole in one block."""
DEFINITION = """
name: letters
policies: [{use: pii, restore: false}, {use: secrets, restore: false}]
scrub: input
activities:
  answer:
    use: llm_prompt
    for_each: "{{INPUT.letters}}"
    streaming: true
    cache: true
    on_failure: continue
    retry: 1
    with:
      model: lab/m
      system_prompt: "You know {{INPUT.letters[0]}}"
      messages:
        - {role: user, content: "Answer {{ITEM}}"}
        - {role: assistant, content: "", tool_calls: [{id: "1", name: look, arguments: {at: "{{ITEM}}"}}]}
        - {role: tool, tool_call_id: "1", content: "{{ITEM}}"}
      tools: [{name: look, description: "Looks at {{ITEM}}", parameters: {type: object}}]
      extra: {note: "{{ITEM}}"}
  keep:
    use: embedding
    with: {model: lab/e, input: "{{INPUT.letters}}", batch_size: 50}
"""


class Remembers:
    """A provider that knows all the texts by heart and says them, cut anywhere; every seventh call fails, with one in
    its complaint. It notes all that it was sent."""

    name = "lab"

    def __init__(self, items: list[PiiItem]) -> None:
        self.items = items
        self.sent: list[bytes] = []

    def price(self, model: str) -> Price | None:
        return Price()

    def count(self, request: ModelRequest) -> int:
        return 10

    async def request(self, request: ModelRequest) -> ModelAnswer:
        number = len(self.sent)
        self.sent.append(msgspec.json.encode(request))
        text = self.items[number % len(self.items)].text
        if number % 7 == 3:
            raise ProviderError(f"cannot say {text}", code="provider_unavailable", status=503)
        return ModelAnswer(content=f"I remember: {text} So do you.", model="m", usage=Usage(), reasoning=text)

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        answer = await self.request(request)
        length = 1 + len(self.sent) % 9
        for at in range(0, len(answer.content), length):
            yield answer.content[at : at + length]
        yield answer

    async def embed(self, model: str, inputs: Iterable[str]) -> EmbeddingAnswer:
        self.sent.append(msgspec.json.encode(list(inputs)))
        return EmbeddingAnswer(embeddings=tuple((1.0,) for _ in inputs), model="e", usage=Usage())


@pytest.mark.parametrize("name", [SET])
def test_nothing_of_the_listed_kinds_gets_anywhere(
    name: Set, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    items = pii(name)
    provider, streamed = Remembers(items), list[str]()
    caplog.set_level(logging.DEBUG)

    asyncio.run(run_all(items, provider, streamed, tmp_path / "headgate.db"))

    assert len(provider.sent) >= len(items)
    assert sum(map(len, streamed)) > 10_000
    written = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(name.endswith(".db") for name in written)
    out, err = capfd.readouterr()
    expect_no_leaks(items, {"sent": b"\n".join(provider.sent), "streams": "\n".join(streamed), **written})
    expect_no_leaks(items, {"log lines": caplog.text, "stdout": out, "stderr": err})


async def run_all(items: list[PiiItem], provider: Remembers, streamed: list[str], path: Path) -> None:
    texts = [item.text for item in items]
    app = App(SqliteLog(path), providers={"lab": provider}, environment={}, folder=path.parent / "state")
    publish = app.streams.publish
    pieces: dict[tuple[Any, ...], list[str]] = {}

    def noted(run_id: str, place: str, epoch: int, text: str) -> None:
        pieces.setdefault((run_id, place, epoch), []).append(text)
        publish(run_id, place, epoch, text)

    app.streams.publish = noted
    async with app, asyncio.timeout(PATIENCE_SECONDS):
        started = await app.desk.start(StartRequest(definition=DEFINITION, input={"letters": texts}))
        row = await app.engine.finished(started.id)
        assert row.head.status == "completed", row.head.error
        before_the_end = {f.name: f.read_bytes() for f in path.parent.iterdir() if f.is_file()}
        expect_no_leaks(items, before_the_end)  # the write-ahead log among them
        assert any(name.endswith("-wal") for name in before_the_end)
    streamed += ["".join(told) for told in pieces.values()]


def expect_no_leaks(items: list[PiiItem], said: dict[str, str | bytes]) -> None:
    """Fail with the number of values that can be read, by place and kind, and with no text."""
    found: set[tuple[str, str, Found]] = set()  # two blocks show what lies in both
    for place, text in said.items():
        for block in blocks(text):
            haystack = Haystack(block)
            found.update((place, item.id, one) for item in items for one in leaks(item, haystack))
    kinds = Counter(f"{one.kind} {one.disguise or 'plain'} in {place}" for place, _, one in found)
    assert len(found) <= LEAKS_MAX, f"{len(found)} values got out: {dict(kinds)}"


def blocks(text: str | bytes) -> Iterator[str | bytes]:
    step = BLOCK_CHARACTERS - OVERLAP_CHARACTERS
    for start in range(0, max(1, len(text) - OVERLAP_CHARACTERS), step):
        yield text[start : start + BLOCK_CHARACTERS]


def test_the_search_finds_what_got_out():
    item = pii("tuning")[0]

    with pytest.raises(AssertionError, match="1 values got out"):
        expect_no_leaks([item], {"somewhere": f"x {item.found[0].value} y"})


@pytest.mark.parametrize("before", [BLOCK_CHARACTERS - 10, 2 * BLOCK_CHARACTERS - OVERLAP_CHARACTERS - 10])
def test_the_search_finds_what_lies_between_two_blocks(before: int):
    item = pii("tuning")[0]
    said = "-" * before + item.found[0].value + "-" * 20

    with pytest.raises(AssertionError, match="1 values got out"):
        expect_no_leaks([item], {"somewhere": said.encode()})
