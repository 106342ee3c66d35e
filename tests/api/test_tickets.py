"""Tickets: one run, read only, five minutes; and as many as there is room for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headgate.api import tickets
from headgate.api.caller import EVERYTHING, Caller, Unauthorized
from headgate.api.tickets import MemoryTickets
from headgate.engine.clock import WallClock

ASKING = """
name: asking
activities:
  ask: {use: approval, with: {title: "Go on?"}}
"""


def test_a_ticket_reads_its_run_and_does_nothing_else(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run, other = [(await desk.start("asking"))["workflow_id"] for _ in range(2)]
        given = await desk.post(f"/workflows/{run}/tickets")
        assert given.status_code == 201
        bearer = {"headers": {"Authorization": f"Bearer {given.json()['ticket']}"}}

        for path in ("", "/events", "/output", "/cost"):
            assert (await desk.get(f"/workflows/{run}{path}", **bearer)).status_code == 200, path
            assert (await desk.get(f"/workflows/{other}{path}", **bearer)).status_code == 403, path
        for path in ("/workflows", "/approvals", "/workflow_definitions", f"/workflows/{run[:4]}", "/schedules"):
            assert (await desk.get(path, **bearer)).status_code == 403, path
        for path in ("/cancel", "/signal", "/tickets"):
            assert (await desk.post(f"/workflows/{run}{path}", **bearer)).status_code == 403, path
        assert (await desk.post(f"/approvals/{run}~ask", {"approved": True}, **bearer)).status_code == 403
        now = desk.app.clock.now()
        desk.app.clock.now = lambda: now + 301_000_000
        assert (await desk.get(f"/workflows/{run}", **bearer)).status_code == 401
        assert (await desk.post("/workflows/none/tickets")).status_code == 404

    play(scene)


def test_a_browser_follows_its_run_with_a_ticket_in_the_address(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy("name: told\nactivities: {say: {use: echo, with: {text: hi}}}")
        run, other = [(await desk.start("told", wait=20))["id"] for _ in range(2)]
        ticket = (await desk.post(f"/workflows/{run}/tickets")).json()["ticket"]
        asked = {"params": {"token": ticket, "after": "1"}, "headers": {"Accept": "text/event-stream"}}

        told = await desk.get(f"/workflows/{run}/events", **asked)

        assert (told.status_code, told.headers["content-type"]) == (200, "text/event-stream")
        assert told.text.startswith("id: 2\n")
        text = await desk.get(f"/workflows/{run}/activities/say/stream", params={"token": ticket})
        assert '"result":{"text":"hi"}' in text.text
        assert (await desk.get(f"/workflows/{other}/events", **asked)).status_code == 403
        assert (await desk.post(f"/workflows/{run}/cancel", params={"token": ticket})).status_code == 400
        now = desk.app.clock.now()
        desk.app.clock.now = lambda: now + 301_000_000
        assert (await desk.get(f"/workflows/{run}/events", **asked)).status_code == 401

    play(scene)


async def expect_unauthorized(known: MemoryTickets, ticket: str) -> None:
    with pytest.raises(Unauthorized):
        await known.identify(ticket)


def test_beyond_the_maximum_the_ticket_that_was_made_first_is_good_no_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tickets, "TICKETS_MAX", 2)

    async def whole() -> None:
        known = MemoryTickets(WallClock())
        caller = Caller(tenant="acme", actor="client:page", scopes=EVERYTHING)
        given = [await known.issue(caller, f"run-{number}") for number in range(3)]

        await expect_unauthorized(known, given[0].ticket)
        await expect_unauthorized(known, given[1].ticket + "x")
        found = await known.identify(given[2].ticket)
        assert found == Caller("acme", "client:page", frozenset({"runs:read"}), "run-2")

    asyncio.run(whole())
