"""Keys of tenants for model providers: each tenant's calls carry its own, and nothing that is kept does."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.llm.fake_openai import FakeOpenAI, completion
from tests.llm.fakes.server import Reply, json_reply

from headgate.app import App
from headgate.authoring import load_definition
from headgate.core.codec import decode
from headgate.core.gate_events import CallRequested
from headgate.engine.logs import PlainFormatter
from headgate.engine.start import Start
from headgate.ports import Tenant
from headgate.stores.sqlite import SqliteLog

PROCESS, ACME, BOLT = "sk-process-58211-aa", "sk-acme-91872-bbbb", "sk-bolt-17344-cccc"
ASKS = """
name: asks
activities:
  ask: {use: llm_prompt, retry: 1, with: {model: openai/gpt-5.4-mini, prompt: "{{ INPUT.text }}", max_tokens: 9}}
  look: {use: look, after: [ask]}
"""
EMBEDS = """
name: embeds
activities:
  embed: {use: embedding, retry: 1, with: {model: openai/text-embedding-3-small, input: ["one"]}}
"""

Scene = Callable[[App, FakeOpenAI], Awaitable[None]]
seen: list[dict[str, Any]] = []


async def look(parameters: dict[str, Any], ctx: Any) -> Any:
    seen.append(dict(ctx.task.settings))
    return None


def played(folder: Path, scene: Scene, *replies: Reply, process_key: str = PROCESS) -> None:
    async def whole() -> None:
        async with FakeOpenAI(*replies) as server:
            environment = {"OPENAI_API_KEY": process_key, "OPENAI_BASE_URL": server.base_url}
            log = SqliteLog(folder / "log.db")
            async with App(log, environment=environment, folder=folder, activities={"look": look}) as app:
                await app.desk.set_secret("provider:openai", ACME, tenant="acme")
                await app.desk.set_secret("provider:openai", BOLT, tenant="bolt")
                await scene(app, server)

    asyncio.run(asyncio.wait_for(whole(), 30))


async def run_of(app: App, tenant: str, text: str = "hello", source: str = ASKS) -> Any:
    definition = load_definition(source, providers=frozenset({"openai"}), activities=frozenset({"look"}))
    await app.engine.definitions.deploy(definition, tenant=tenant)
    given = {"text": text} if "INPUT" in source else {}
    started = await app.engine.start(Start(workflow=definition.name, input=given, tenant=tenant))
    return await app.engine.finished(started.id)


def test_each_tenants_calls_carry_its_own_key_and_those_without_one_the_processs(tmp_path: Path):
    async def scene(app: App, server: FakeOpenAI) -> None:
        for tenant in ("acme", "bolt", "other", "default", "acme"):
            assert (await run_of(app, tenant)).head.status == "completed"
        assert (await run_of(app, "bolt", source=EMBEDS)).head.status == "completed"

        carried = [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]
        assert carried == [ACME, BOLT, PROCESS, PROCESS, ACME, BOLT]

    vector = {"data": [{"index": 0, "embedding": [0.5]}], "model": "e", "usage": {"prompt_tokens": 1}}
    played(tmp_path, scene, *(json_reply(completion("hello")) for _ in range(5)), json_reply(vector))


def test_a_key_that_is_changed_or_removed_is_so_with_the_next_call(tmp_path: Path):
    async def scene(app: App, server: FakeOpenAI) -> None:
        await run_of(app, "acme")
        await app.desk.set_secret("provider:openai", "sk-acme-second-key", tenant="acme")
        await run_of(app, "acme")
        await app.desk.remove_secret("provider:openai", tenant="acme")
        await run_of(app, "acme")

        carried = [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]
        assert carried == [ACME, "sk-acme-second-key", PROCESS]

    played(tmp_path, scene, *(json_reply(completion("hello")) for _ in range(3)))


def test_a_tenant_that_may_only_use_keys_of_its_own_is_told_to_set_one_and_nobody_is_asked(tmp_path: Path):
    async def scene(app: App, server: FakeOpenAI) -> None:
        for name in ("acme", "other"):
            await app.desk.set_tenant(Tenant(name=name, own_keys_only=True))

        refused = await run_of(app, "other")
        answered = await run_of(app, "acme")

        assert refused.head.status == "failed"
        assert "headgate secret set --tenant other provider:openai" in refused.head.error
        assert answered.head.status == "completed"
        assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {ACME}"]

    played(tmp_path, scene, json_reply(completion("hello")))


def test_a_key_gets_nowhere_but_to_its_provider(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    seen.clear()

    async def scene(app: App, server: FakeOpenAI) -> None:
        assert (await run_of(app, "acme")).head.status == "completed"
        failed = await run_of(app, "bolt", "fail")
        assert failed.head.status == "failed"
        assert BOLT not in failed.head.error
        for row in await app.engine.log.runs():
            assert ACME not in repr(await app.desk.events(row.id))
            assert BOLT not in repr(await app.desk.events(row.id))

    refusal = {"error": {"message": f"Incorrect API key provided: {BOLT}.", "type": "invalid_request_error"}}
    said = json_reply(completion(f"your key is {ACME}, isn't it?"))
    played(tmp_path, scene, said, json_reply(refusal, status=401))

    assert seen
    assert not any("provider_keys" in settings for settings in seen)
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        held = path.read_bytes()
        assert not any(key.encode() in held for key in (PROCESS, ACME, BOLT)), path
    lines = [PlainFormatter().format(record) for record in caplog.records]
    assert not any(key in line for line in lines for key in (ACME, BOLT))


def test_equal_calls_have_equal_hashes_whoever_pays_and_rates_are_held_for_each_account(tmp_path: Path):
    async def scene(app: App, server: FakeOpenAI) -> None:
        rows = [await run_of(app, tenant) for tenant in ("acme", "other")]

        events = [decode(stored.data)[0] for row in rows for stored in await app.engine.log.events(row.key)]
        asked = [event for event in events if isinstance(event, CallRequested)]
        assert len({event.request_hash for event in asked}) == 1
        own, shared = (event.candidates[0].account for event in asked)
        assert own == "acme"
        assert re.fullmatch(r"[0-9a-f]{8}", shared)  # of the process's key

    played(tmp_path, scene, *(json_reply(completion("hello")) for _ in range(2)))
