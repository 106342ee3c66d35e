"""A text that streams at one node is read at another."""

from __future__ import annotations

from tests.engine.neighbours_lab import ASK, Node, begun, play, said
from tests.engine.tapped import TEXT, in_pieces
from tests.engine.two_nodes.nodes import until

from headgate.ports import Restarted, Tokens

MEGABYTE = "大🦉é" * 120_000
"""One token of more than a megabyte."""


def test_a_text_is_read_at_the_other_node_from_its_beginning_and_as_it_is_made():
    async def scene(worker: Node, reader: Node) -> None:
        run_id = await worker.start()
        worker.tap.say("Once upon ")
        here = worker.watch(run_id)
        await until(lambda: said(here) == "Once upon ")
        there = reader.watch(run_id)
        await until(lambda: said(there) == "Once upon ")
        worker.tap.say("a time")
        await until(lambda: said(there) == "Once upon a time")

        worker.tap.end("Once upon a time")
        await here.end()
        await there.end()

        assert there.heard()[:4] == ("Once upon a time", 0, 0, "completed")
        assert there.heard().position == here.heard().position
        assert there.updates[-1].run.status == "completed"

    play(scene)


def test_a_reader_goes_on_at_the_other_node_where_it_was_and_after_the_end_too():
    async def scene(worker: Node, reader: Node) -> None:
        run_id = await worker.start()
        worker.tap.say(*in_pieces(TEXT[:200]))
        here = worker.watch(run_id)
        await until(lambda: said(here) == TEXT[:200])
        await here.close()
        before = here.heard()

        there = reader.watch(run_id, resume=[before.position])
        worker.tap.say(*in_pieces(TEXT[200:]))
        await until(lambda: there.heard(before=before).text == TEXT)
        worker.tap.end(TEXT)
        await there.end()
        late = reader.watch(run_id, resume=[before.position])
        await late.end()

        for watcher in (there, late):
            assert watcher.heard(before=before)[:4] == (TEXT, 0, 0, "completed")
            assert watcher.chunks()[0].offset == len(TEXT[:200].encode())

    play(scene)


def test_what_a_model_said_before_it_failed_is_taken_back_at_the_other_node_too():
    async def scene(worker: Node, reader: Node) -> None:
        there = await begun(worker, reader, "Half a sen")
        worker.tap.fail()
        await until(lambda: isinstance(there.chunks()[-1], Restarted))
        worker.tap.say(TEXT, model="two")
        worker.tap.end(TEXT, model="two")
        await there.end()

        assert there.heard()[:4] == (TEXT, 1, 0, "completed")
        assert [chunk.epoch for chunk in there.chunks()] == [1, 2, 2, 2]

    play(scene)


def test_a_hundred_readers_of_a_long_text_are_one_there_and_each_has_all_of_it():
    long = MEGABYTE[:90_000]  # each reader keeps all of it

    async def scene(worker: Node, reader: Node) -> None:
        passed, hear = [], reader.texts._passed
        reader.texts._passed = lambda run_id, run, chunk: (passed.append(chunk), hear(run_id, run, chunk))
        run_id = await worker.start()
        there = [reader.watch(run_id) for _ in range(100)]
        worker.tap.say(long)
        await until(lambda: said(there[0]) == long)
        worker.tap.say("!")
        worker.tap.end(f"{long}!")
        for watcher in there:
            await watcher.end()

            assert watcher.heard()[:4] == (f"{long}!", 0, 0, "completed")
        assert "".join(chunk.text for chunk in passed if isinstance(chunk, Tokens)) == f"{long}!"

    play(scene)


def test_when_the_last_reader_has_gone_nothing_is_passed_on_or_kept():
    async def scene(worker: Node, reader: Node) -> None:
        run_id = await worker.start()
        there = [reader.watch(run_id) for _ in range(2)]
        worker.tap.say("Once")
        await until(lambda: said(there[0]) == said(there[1]) == "Once")

        await there[0].close()
        worker.tap.say(" more")
        await until(lambda: said(there[1]) == "Once more")
        await there[1].close()

        await until(lambda: not worker.texts._passed_on._readings)
        assert reader.texts.watched() == set()
        assert not reader.texts._streams.mirrored(run_id, "ask")

    play(scene)


def test_texts_of_many_runs_and_any_characters_come_each_to_its_own_reader():
    texts = [f'{number}: \x00\x01\\"{"🦉" * number}' * 100 for number in range(20)]

    async def scene(worker: Node, reader: Node) -> None:
        runs = []
        for number, text in enumerate(texts):
            model = f"m{number}"
            runs.append(await worker.start(ASK.replace("[tap/one, tap/two]", f"tap/{model}")))
            worker.tap.say(*in_pieces(text, 100), model=model)
        there = [reader.watch(run_id) for run_id in runs]
        for number, text in enumerate(texts):
            await until(lambda number=number, text=text: said(there[number]) == text)
            worker.tap.end(text, model=f"m{number}")
        for watcher, text in zip(there, texts, strict=True):
            await watcher.end()

            assert watcher.heard()[:4] == (text, 0, 0, "completed")

    play(scene)
