"""Lists in pages: whole, without repeat, however short the pages are and whatever happens between two of them."""

from __future__ import annotations

from contextlib import aclosing
from itertools import chain
from typing import Any

import pytest

from headgate.api import records

ASK = "name: ask\ninputs: {n: {type: integer}}\nactivities: {ask: {use: approval, with: {title: 'Run {{ INPUT.n }}?'}}}"
ASK_MANY = "name: many\nactivities: {ask: {use: approval, for_each: [1, 2, 3, 4], with: {title: 'Item {{ ITEM }}?'}}}"
ASK_BESIDE_WORK = """
name: beside
activities: {ask: {use: approval, with: {title: 'Go on?'}}, work: {use: work, queue: nobody}}
"""
SIGNALLED = "name: signalled\nactivities: {a: {wait_for: go}}"
FAR = "name: far\nactivities: {work: {use: work, queue: nobody}}"


async def pages(desk: Any, path: str, name: str, limit: int, **asked: Any) -> list[list[dict[str, Any]]]:
    """Return all pages of a list."""
    found: list[list[dict[str, Any]]] = []
    asked["limit"] = limit
    while True:
        answer = await desk.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()[name])
        assert len(found[-1]) <= limit
        if answer.json()["next_cursor"] is None:
            return found
        asked["cursor"] = answer.json()["next_cursor"]


async def asking(desk: Any) -> list[dict[str, Any]]:
    """Return what nine approvals of six runs are, as one page has them."""
    for text in (ASK, ASK_MANY, SIGNALLED):
        await desk.deploy(text)
    for n in range(3):
        await desk.start("ask", input={"n": n})
        await desk.start("signalled")
    await desk.start("many")
    for n in range(3, 5):
        await desk.start("ask", input={"n": n})
    while (listed := (await desk.get("/approvals")).json())["count"] < 9:
        await desk.app.desk.settled()
    assert listed["next_cursor"] is None
    return listed["approvals"]


async def asked(desk: Any, run: str) -> None:
    """Return when the run has asked somebody."""
    async with aclosing(desk.app.doors.records.follow(run)) as pages:
        async for page in pages:
            if any(event.type == "activity_suspended" for event in page):
                return


# --- Approvals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("looked_at", [1, 3, 1_000])
def test_every_approval_is_on_one_page(play: Any, limit: int, looked_at: int, monkeypatch: pytest.MonkeyPatch):
    async def scene(desk: Any) -> None:
        whole = await asking(desk)
        monkeypatch.setattr(records, "ASKING_PAGE", 2)
        monkeypatch.setattr(records, "RUNS_LOOKED_AT_MAX", looked_at)

        found = await pages(desk, "/approvals", "approvals", limit)

        ids = [one["id"] for page in found for one in page]
        assert sorted(ids) == sorted(one["id"] for one in whole)
        assert all(page == sorted(page, key=lambda one: (one["since"], one["id"])) for page in found)

    play(scene)


def test_a_decision_between_two_pages_hides_no_other_approval(play: Any):
    async def scene(desk: Any) -> None:
        whole = await asking(desk)
        first = (await desk.get("/approvals?limit=4")).json()
        for one in first["approvals"]:
            assert (await desk.post(f"/approvals/{one['id']}", {"approved": True})).status_code == 200

        behind = await desk.get("/approvals", params={"cursor": first["next_cursor"]})

        seen = {one["id"] for one in (*first["approvals"], *behind.json()["approvals"])}
        assert seen == {one["id"] for one in whole}

    play(scene)


def test_an_approval_is_listed_while_the_rest_of_its_run_is_at_work_or_paused(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASK_BESIDE_WORK)
        at_work, paused = [(await desk.start("beside"))["workflow_id"] for _ in range(2)]
        for run in (at_work, paused):
            await asked(desk, run)
        assert (await desk.post(f"/workflows/{paused}/pause", {})).json()["status"] == "paused"
        assert (await desk.get(f"/workflows/{at_work}")).json()["status"] == "running"

        listed = (await desk.get("/approvals")).json()["approvals"]
        for one in listed:
            assert (await desk.post(f"/approvals/{one['id']}", {"approved": True})).status_code == 200

        assert {one["id"] for one in listed} == {f"{at_work}~ask", f"{paused}~ask"}
        assert (await desk.get("/approvals")).json()["approvals"] == []

    play(scene)


# --- Schedules -----------------------------------------------------------------------------------------------------


def test_schedules_come_in_pages_by_name_also_where_one_goes_meanwhile(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FAR)
        names = [f"daily {letter}" for letter in "cadbe"]
        for name in names:
            body = {"name": name, "definition_name": "far", "cron": "0 3 * * *"}
            assert (await desk.post("/schedules", body)).status_code == 201

        found = await pages(desk, "/schedules", "schedules", 2)
        assert [[one["name"] for one in page] for page in found] == [
            ["daily a", "daily b"],
            ["daily c", "daily d"],
            ["daily e"],
        ]
        whole = {"schedules": list(chain(*found)), "count": 5, "next_cursor": None}
        assert (await desk.get("/schedules")).json() == whole
        first = (await desk.get("/schedules?limit=2")).json()
        await desk.client.delete(f"/schedules/{found[0][1]['id']}")
        rest = (await desk.get("/schedules", params={"cursor": first["next_cursor"]})).json()
        assert rest["schedules"] == [*found[1], *found[2]]

    play(scene)


# --- Whoever may, and what is kept for them --------------------------------------------------------------------------

KEPT = {
    "/clients": ("clients", {"scopes": ["runs:read"]}),
    "/users": ("users", {"role": "viewer", "password": "correct horse battery"}),
    "/tenants": ("tenants", {}),
    "/secrets": ("secrets", {"value": "worth keeping"}),
}


@pytest.mark.parametrize("path", KEPT)
def test_clients_users_tenants_and_secrets_come_in_pages_by_name(play: Any, path: str):
    async def scene(desk: Any) -> None:
        called, body = KEPT[path]
        names = [f"a{number}" for number in (3, 1, 5, 2, 4)]
        for name in names:
            assert (await desk.post(path, {"name": name, **body})).status_code in (200, 201)

        whole = (await desk.get(path)).json()
        found = await pages(desk, path, called, 2)

        assert [one["name"].lower() for one in whole[called]] == sorted(names)
        assert (whole["count"], whole["next_cursor"]) == (5, None)
        assert [len(page) for page in found] == [2, 2, 1]
        assert list(chain(*found)) == whole[called]

    play(scene)


def test_a_secret_that_goes_between_two_pages_hides_no_other(play: Any):
    async def scene(desk: Any) -> None:
        for name in "ABCD":
            await desk.post("/secrets", {"name": name, "value": "worth keeping"})
        first = (await desk.get("/secrets?limit=2")).json()
        await desk.client.delete(f"/secrets/{first['next_cursor']}")

        rest = (await desk.get("/secrets", params={"cursor": first["next_cursor"]})).json()

        assert [one["name"] for one in first["secrets"] + rest["secrets"]] == list("ABCD")

    play(scene)


# --- Activities of a run -------------------------------------------------------------------------------------------


def wide(count: int) -> str:
    return f"name: wide\nactivities: {{{', '.join(f'a{n}: {{use: echo, with: {{n: {n}}}}}' for n in range(count))}}}"


@pytest.mark.parametrize("asked", [{}, {"outputs": "false"}, {"at": 3}, {"wait": 5}])
def test_activities_of_a_run_come_in_pages_of_whatever_is_asked(play: Any, asked: dict[str, Any]):
    async def scene(desk: Any) -> None:
        await desk.deploy(wide(7))
        run = (await desk.start("wide", wait=20))["id"]
        path = f"/workflows/{run}"
        whole = (await desk.get(path, params=asked)).json()

        found = await pages(desk, path, "activities", 3, **asked)

        assert [len(page) for page in found] == [3, 3, 1]
        assert list(chain(*found)) == whole["activities"]
        assert (await desk.get(path, params=asked)).json() == whole
        assert whole["next_cursor"] is None

    play(scene)


def test_no_answer_has_more_than_a_thousand_activities(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(wide(1_001).replace("use: echo", "use: work, queue: nobody"))
        run = (await desk.start("wide"))["workflow_id"]

        first = (await desk.get(f"/workflows/{run}")).json()
        paused = (await desk.post(f"/workflows/{run}/pause", {})).json()
        second = (await desk.get(f"/workflows/{run}", params={"cursor": first["next_cursor"]})).json()

        for answer in (first, paused):
            assert (len(answer["activities"]), answer["next_cursor"]) == (1_000, "a999")
        assert ([one["activity_key"] for one in second["activities"]], second["next_cursor"]) == (["a1000"], None)

    play(scene)


# --- Cursors and limits that are none ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/workflows", "/approvals", "/workflows/{run}"])
def test_a_cursor_that_leads_nowhere_is_refused(play: Any, path: str):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASK)
        run = (await desk.start("ask", input={"n": 1}))["workflow_id"]

        for cursor in ("nowhere", "nowhere~ask", ""):
            answer = await desk.get(path.format(run=run), params={"cursor": cursor})

            assert (answer.status_code, "expected cursor to be" in answer.text) == (422, True), cursor

    play(scene)


@pytest.mark.parametrize(
    "path", ["/workflows", "/runs", "/approvals", "/schedules", "/workflows/{run}", "/admin/acts", *KEPT]
)
@pytest.mark.parametrize("limit", ["0", "1001", "-1", "many"])
def test_a_limit_out_of_its_bounds_is_refused_by_its_name(play: Any, path: str, limit: str):
    async def scene(desk: Any) -> None:
        await desk.deploy(FAR)
        run = (await desk.start("far"))["workflow_id"]

        answer = await desk.get(path.format(run=run), params={"limit": limit})

        assert answer.status_code == 422
        assert list(answer.json()["error"]["details"]["field_errors"]) == ["limit"]

    play(scene)
