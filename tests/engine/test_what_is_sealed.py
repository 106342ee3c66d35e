"""What is sealed beside the runs: unreadable without the key, and what becomes of it when the key is changed."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.receiver import Receiver

from headgate.app import App
from headgate.engine.sealed_webhooks import WEBHOOK
from headgate.engine.sealing import WrongKey, new_key
from headgate.engine.webhooks import WebhookChange
from headgate.ports import Document, Webhook
from headgate.stores.sqlite import SqliteLog

OLD, NEW = new_key(), new_key()


class Machine:
    """A database, and the processes that open it one after the other, each with its keys."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def with_keys(self, keys: str, work: Callable[[App], Awaitable[None]]) -> None:
        async def process() -> None:
            log = SqliteLog(self.path)
            async with App(log, environment={"HEADGATE_KEY": keys}, folder=self.path.parent, work=False) as app:
                await work(app)

        asyncio.run(process())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "log.db")


async def only(app: App) -> Document:
    (document,) = await app.documents.list(WEBHOOK)
    return document


async def arrives(app: App, receiver: Receiver) -> bool:
    """Whether a message comes to where it should, with the password."""
    delivered = await app.telling.webhooks.test("default", (await only(app)).name)
    return delivered.status == 204 and receiver.got[-1].headers["authorization"] == _basic("ann:hush")


def _basic(login: str) -> str:
    return f"Basic {b64encode(login.encode()).decode()}"


def test_nothing_of_an_address_can_be_read_where_it_is_kept(machine: Machine):
    async def add(app: App) -> None:
        await app.telling.webhooks.add(Webhook(id="", url="https://ann:hush@hooks.example/services/t0ken"))
        (shown,) = await app.telling.webhooks.all("default")

        assert shown.url == "https://ann:***@hooks.example/services/t0ken"

    machine.with_keys(OLD, add)

    written = b"".join(path.read_bytes() for path in machine.path.parent.glob("log.db*"))
    assert b"webhook" in written
    assert not any(part in written for part in (b"hush", b"hooks.example", b"t0ken"))


def test_an_address_that_an_older_key_has_sealed_is_read_and_sealed_anew_with_the_next_change(machine: Machine):
    with Receiver() as receiver:

        async def add(app: App) -> None:
            await app.telling.webhooks.add(Webhook(id="", url=receiver.url.replace("://", "://ann:hush@")))

        async def look_and_change(app: App) -> None:
            assert await arrives(app, receiver)
            changed = await app.telling.webhooks.change("default", (await only(app)).name, WebhookChange(enabled=True))
            assert changed.url == receiver.url.replace("://", "://ann:***@")

        async def look(app: App) -> None:
            assert await arrives(app, receiver)

        machine.with_keys(OLD, add)
        machine.with_keys(f"{NEW},{OLD}", look_and_change)
        machine.with_keys(NEW, look)


def test_without_its_key_a_webhook_is_listed_and_can_be_removed_and_tells_nobody(machine: Machine):
    async def add(app: App) -> None:
        await app.telling.webhooks.add(Webhook(id="", url="https://ann:hush@hooks.example/"))

    async def remove(app: App) -> None:
        (shown,) = await app.telling.webhooks.all("default")
        assert shown.url == "***"
        with pytest.raises(WrongKey, match="sealed with the key"):
            await app.telling.webhooks.test("default", shown.id)
        assert (await app.telling.webhooks.remove("default", shown.id)).url == "***"
        assert await app.telling.webhooks.all("default") == []

    machine.with_keys(OLD, add)
    machine.with_keys(NEW, remove)


def test_an_address_of_one_webhook_opens_for_no_other(machine: Machine):
    async def swap(app: App) -> None:
        webhooks = app.telling.webhooks
        for host in ("one", "two"):
            await webhooks.add(Webhook(id="", url=f"https://{host}.example/"))
        first, second = await app.documents.list(WEBHOOK)
        stolen = msgspec.json.decode(second.body, type=Webhook).url
        put_in = msgspec.structs.replace(msgspec.json.decode(first.body, type=Webhook), url=stolen)
        await app.documents.put(WEBHOOK, "default", first.name, msgspec.json.encode(put_in), at=0)

        assert (await webhooks.one("default", first.name)).url == "***"

    machine.with_keys(OLD, swap)


def test_an_address_that_was_kept_plain_is_read_and_sealed_with_the_next_change(machine: Machine):
    with Receiver() as receiver:
        address = receiver.url.replace("://", "://ann:hush@")

        async def keep_plain(app: App) -> None:
            await app.telling.webhooks.add(Webhook(id="", url="https://elsewhere.example/"))
            document = await only(app)
            plain = msgspec.structs.replace(msgspec.json.decode(document.body, type=Webhook), url=address)
            await app.documents.put(WEBHOOK, "default", document.name, msgspec.json.encode(plain), at=0)

        async def look_and_change(app: App) -> None:
            assert [one.url for one in await app.telling.webhooks.all("default")] == [address.replace("hush", "***")]
            assert await arrives(app, receiver)
            await app.telling.webhooks.change("default", (await only(app)).name, WebhookChange(description="ours"))
            assert b"hush" not in (await only(app)).body
            assert await arrives(app, receiver)

        machine.with_keys(OLD, keep_plain)
        machine.with_keys(OLD, look_and_change)


def test_links_outlive_the_key_that_sealed_theirs(machine: Machine):
    tokens: list[str] = []

    async def make(app: App) -> None:
        tokens.append(await app.telling.links.token("run-1", "ask", 1, by="ann"))

    async def follow(app: App) -> None:
        assert (await app.telling.links.opened(tokens[0])).by == "ann"

    machine.with_keys(OLD, make)
    machine.with_keys(f"{NEW},{OLD}", follow)
    machine.with_keys(NEW, follow)
