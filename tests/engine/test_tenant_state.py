"""What activities keep beyond a run is a tenant's own, and into the server's files reaches the default tenant alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from headgate.activities.tenant_state import confined
from headgate.app import App, stateless_activities
from headgate.authoring import load_definition
from headgate.core.values import Assignment
from headgate.engine.start import Start
from headgate.ports import Attempt, state_folder_of
from headgate.stores.memory import MemoryLog

SAYS = """
name: says
inputs: {text: {type: string}}
activities:
  say: {use: conversation, with: {operation: append, conversation: c-1, role: user, content: "{{ INPUT.text }}"}}
  hear: {use: conversation, after: [say], with: {operation: history, conversation: c-1}}
outputs: {heard: "{{ hear.messages }}"}
"""
INDEXES = """
name: indexes
activities:
  keep:
    use: vector_index
    with: {collection: notes, model: demo/embed, items: [{id: one, text: the secret of acme}]}
"""
SEARCHES = """
name: searches
activities:
  find: {use: vector_search, with: {collection: notes, query: secret}}
"""


async def run_of(app: App, tenant: str, source: str, given: Any = None) -> Any:
    definition = load_definition(source, providers=frozenset({"demo"}))
    await app.engine.definitions.deploy(definition, tenant=tenant)
    started = await app.engine.start(Start(workflow=definition.name, input=given, tenant=tenant))
    row = await app.engine.finished(started.id)
    return row, (await app.desk.show(row.id)).outputs


def played(folder: Path, scene: Any) -> None:
    async def whole() -> None:
        async with App(MemoryLog(), environment={}, folder=folder) as app:
            await scene(app)

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_what_was_said_is_heard_by_the_same_tenant_alone(tmp_path: Path):
    async def scene(app: App) -> None:
        for tenant, text in (("acme", "of acme"), ("bolt", "of bolt"), ("default", "of ours"), ("acme", "and again")):
            _, heard = await run_of(app, tenant, SAYS, {"text": text})
            said = [message["content"] for message in heard["heard"]]
            assert said == {"and again": ["of acme", "and again"]}.get(text, [text])

    played(tmp_path, scene)


def test_a_collection_of_one_tenant_is_not_there_for_another(tmp_path: Path):
    async def scene(app: App) -> None:
        assert (await run_of(app, "acme", INDEXES))[0].head.status == "completed"

        assert (await run_of(app, "acme", SEARCHES))[0].head.status == "completed"
        for other in ("bolt", "default"):
            row, _ = await run_of(app, other, SEARCHES)
            assert "there is no collection 'notes'" in row.head.error

    played(tmp_path, scene)


@pytest.mark.parametrize(
    ("activity", "parameters"),
    [
        ("file_read", "{file: PATH}"),
        ("file_write", "{path: PATH, content: x}"),
        ("sqlite_query", "{db_url: PATH, query: select 1}"),
        ("script", "{script: 'OUTPUT = open(\"PATH\").read()'}"),
        ("document_text", "{file: PATH}"),
        ("llm_prompt", "{model: demo/small, prompt: look, images: [PATH]}"),
        ("llm_prompt", "{model: demo/small, prompt: look, images: [{path: PATH}]}"),
        ("llm_prompt", "{model: demo/small, messages: [{role: user, content: look, images: [PATH]}]}"),
    ],
)
def test_into_the_servers_files_reaches_the_default_tenant_alone(tmp_path: Path, activity: str, parameters: str):
    secret = tmp_path / "secret.txt"
    secret.write_text("of the server")
    text = f"name: reaches\nactivities:\n  one: {{use: {activity}, retry: 1, with: {parameters}}}\n"

    async def scene(app: App) -> None:
        source = text.replace("PATH", str(secret))
        row, _ = await run_of(app, "acme", source)
        assert "would reach into the server's own files" in row.head.error
        own, _ = await run_of(app, "default", source)
        assert "would reach" not in own.head.error

    played(tmp_path, scene)
    assert secret.read_text() in ("of the server", "x")


def test_what_names_no_file_is_as_it_was(tmp_path: Path):
    seen: list[dict[str, Any]] = []

    async def function(parameters: dict[str, Any], ctx: Any) -> None:
        seen.append(parameters)

    async def scene() -> None:
        class Context:
            task = Assignment(
                activity_id="r/p/1/n", workflow_id="r", activity_key="p", place="p", activity_name="x", tenant="acme"
            )

        activities = confined({"document_text": function, "llm_prompt": function, "echo": function})
        assert activities["echo"] is function
        for name, parameters in (
            ("document_text", {"file": "a text\nof two lines"}),
            ("document_text", {"content": "a text", "media_type": "text/plain"}),
            ("document_text", {"file": {"$file": "0" * 64}}),
            ("llm_prompt", {"prompt": "hello", "images": ["https://example.org/a.png", {"data": "aGk="}]}),
            ("llm_prompt", {"messages": [{"role": "user", "content": "hello"}]}),
            ("llm_prompt", {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]}),
        ):
            await activities[name](parameters, Context())

    asyncio.run(scene())
    assert len(seen) == 6


def test_a_worker_beside_the_owner_is_confined_as_the_owner_is(tmp_path: Path):
    async def scene() -> None:
        class Context:
            task = Assignment(
                activity_id="r/p/1/n", workflow_id="r", activity_key="p", place="p", activity_name="x", tenant="acme"
            )

        async with stateless_activities({}, prices_in=tmp_path) as activities:
            with pytest.raises(Attempt, match="would reach into the server's own files"):
                await cast("Any", activities["script"])({"script": "OUTPUT = 1"}, Context())

    asyncio.run(scene())


def test_no_name_of_a_tenant_leads_out_of_the_folder(tmp_path: Path):
    for tenant in ("..", "../..", "/etc", "a/b", "."):
        assert state_folder_of(tmp_path, tenant).resolve().parent == (tmp_path / "tenants").resolve()
