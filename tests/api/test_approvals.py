"""Approvals over HTTP: the list, the form, who may decide, and the page behind a link."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from headgate.engine.approval_links import LINK_SECONDS

FORM = """
name: asking
activities:
  ask:
    use: approval
    with:
      title: "Pay <b>now</b>?"
      body: "<script>alert(1)</script>"
      show: {amount: "<img src=x>"}
      form:
        type: object
        required: [amount, why]
        properties:
          amount: {type: integer, title: "How <much>"}
          why: {enum: [late, early]}
          urgent: {type: boolean}
          lines: {type: array}
  then: {use: echo, with: {data: "{{ ask.data }}", by: "{{ ask.by }}"}}
"""
NAMED = """
name: named
activities: {ask: {use: approval, with: {title: ok?, approvers: [ann, bob]}}}
"""


class Page(HTMLParser):
    """What of a page a browser would make something of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fields: dict[str, dict[str, str | None]] = {}
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if given.get("name") and tag in ("input", "select", "textarea", "button"):
            self.fields.setdefault(str(given["name"]), given)
        self.addresses += [str(given[name]) for name in ("src", "href", "action") if name in given]


async def waiting(desk: Any, definition: str) -> tuple[str, Any]:
    """Return a run that waits, and its open approval."""
    name = (await desk.deploy(definition))["name"]
    run = (await desk.start(name))["workflow_id"]
    while not (listed := (await desk.get("/approvals")).json()["approvals"]):
        pass
    return run, listed[0]


async def link_to(desk: Any, run: str, by: str = "ann@example.org", **rest: Any) -> str:
    ((approval,), _) = await desk.app.doors.records.of("default").approvals(limit=10)
    return f"/approval_links/{await desk.app.telling.links.token(run, approval.key, approval.since, by=by, **rest)}"


def test_answers_that_do_not_fit_the_form_are_refused_and_named(play: Any):
    async def scene(desk: Any) -> None:
        run, approval = await waiting(desk, FORM)
        for data, path in ((None, "data.amount"), ({"amount": "7", "why": "late"}, "data.amount")):
            answer = await desk.post(f"/approvals/{approval['id']}", {"approved": True, "data": data})
            assert answer.status_code == 422
            assert path in answer.json()["error"]["details"]["field_errors"]

        given = {"amount": 7, "why": "late", "urgent": False}
        answer = await desk.post(f"/approvals/{approval['id']}", {"approved": True, "by": "ann", "data": given})

        assert answer.status_code == 200
        shown = (await desk.get(f"/workflows/{run}?wait=20")).json()
        assert shown["activities"][1]["outputs"][0]["value"] == {"data": given, "by": "ann"}

    play(scene)


def test_a_rejection_needs_no_form(play: Any):
    async def scene(desk: Any) -> None:
        _, approval = await waiting(desk, FORM)

        assert (await desk.post(f"/approvals/{approval['id']}", {"approved": False})).status_code == 200

    play(scene)


def test_an_approval_that_names_its_approvers_is_decided_by_one_of_them(play: Any):
    async def scene(desk: Any) -> None:
        _, approval = await waiting(desk, NAMED)
        for by in ("", "eve"):
            answer = await desk.post(f"/approvals/{approval['id']}", {"approved": True, "by": by})
            assert answer.status_code == 409
            assert "is decided by ann, bob" in answer.json()["error"]["message"]

        answer = await desk.post(f"/approvals/{approval['id']}", {"approved": True, "by": "bob"})
        assert answer.status_code == 200

    play(scene)


# --- Links ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_is_asked_escaped_and_asks_nobody_else_for_anything(play: Any):
    async def scene(desk: Any) -> None:
        run, _ = await waiting(desk, FORM)

        answer = await desk.get(await link_to(desk, run))
        page = Page(answer.text)

        assert answer.status_code == 200
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert not {"script", "img", "b", "link", "iframe"} & set(page.tags)
        assert page.addresses == []
        assert "Pay &lt;b&gt;now&lt;/b&gt;?" in answer.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
        assert page.fields["data.amount"]["type"] == "number"
        assert "required" in page.fields["data.amount"]
        assert {"data.why", "data.urgent", "data.lines", "comment", "decision"} <= page.fields.keys()
        assert "by" not in page.fields  # the link says who decides

    play(scene)


def test_looking_decides_nothing_and_the_form_decides_once(play: Any):
    async def scene(desk: Any) -> None:
        run, _ = await waiting(desk, FORM)
        link = await link_to(desk, run)
        for _ in range(3):
            assert (await desk.get(f"{link}?decision=approve")).status_code == 400
            assert (await desk.get(link)).status_code == 200
        assert (await desk.get(f"/workflows/{run}")).json()["status"] == "waiting"

        form = {"decision": "approve", "data.amount": "7", "data.why": "early", "data.lines": "[1]", "comment": "<i>"}
        first = await desk.client.post(link, data=form)
        again = await desk.client.post(link, data={**form, "decision": "reject"})
        looked = await desk.get(link)

        assert (first.status_code, again.status_code, looked.status_code) == (200, 409, 200)
        for answer in (first, again, looked):
            assert "Approved by ann@example.org" in answer.text
            assert "&lt;i&gt;" in answer.text
        shown = (await desk.get(f"/workflows/{run}?wait=20")).json()
        assert shown["activities"][1]["outputs"][0]["value"] == {
            "by": "ann@example.org",
            "data": {"amount": 7, "why": "early", "urgent": False, "lines": [1]},
        }

    play(scene)


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"decision": "approve", "data.amount": "7.5", "data.why": "late"}, "to be integer"),
        ({"decision": "approve", "data.amount": "seven", "data.why": "late"}, "expected amount to be integer"),
        ({"decision": "approve", "data.amount": "7", "data.why": "never"}, "one of"),
        ({"data.amount": "7"}, "expected decision"),
        ({"decision": "approve", "data.amount": "7", "data.why": "late", "data.lines": "[" * 5_000}, "expected lines"),
        ({"decision": "approve", "data.amount": "9" * 5_000, "data.why": "late"}, "expected amount"),
    ],
)
def test_what_was_filled_in_wrongly_is_asked_again_with_what_was_said(form: dict[str, str], says: str, play: Any):
    async def scene(desk: Any) -> None:
        run, _ = await waiting(desk, FORM)

        answer = await desk.client.post(await link_to(desk, run), data=form)

        assert answer.status_code == 422
        assert says in answer.text
        assert f'value="{form["data.amount"]}"' in answer.text
        assert (await desk.get(f"/workflows/{run}")).json()["status"] == "waiting"

    play(scene)


def test_a_link_that_names_nobody_asks_for_a_name(play: Any):
    async def scene(desk: Any) -> None:
        run, _ = await waiting(desk, NAMED)
        link = await link_to(desk, run, by="")

        assert "by" in Page((await desk.get(link)).text).fields
        refused = await desk.client.post(link, data={"decision": "approve", "by": "eve"})
        taken = await desk.client.post(link, data={"decision": "approve", "by": "bob"})

        assert (refused.status_code, taken.status_code) == (409, 200)
        assert "Approved by bob" in taken.text

    play(scene)


def test_a_link_that_was_changed_forged_or_has_expired_does_nothing(play: Any):
    async def scene(desk: Any) -> None:
        run, _ = await waiting(desk, NAMED)
        good = await link_to(desk, run, by="ann")
        said, _, seal = good.rpartition(".")
        other = (await link_to(desk, run, by="bob")).rpartition(".")[2]
        bad = [
            await link_to(desk, run, by="ann", seconds=-1),
            f"{said}.{other}",
            f"{said}.{'A' * len(seal)}",
            f"{said}.",
            "/approval_links/x",
            "/approval_links/%C3%A4.b",
            f"{said[:-2]}.{seal}",
        ]
        for link in bad:
            for answer in (await desk.get(link), await desk.client.post(link, data={"decision": "approve"})):
                assert answer.status_code == 403, link
                assert "This link does not work" in answer.text
        assert (await desk.get(f"/workflows/{run}")).json()["status"] == "waiting"
        assert (await desk.get(good)).status_code == 200

    play(scene)


def test_a_link_lasts_a_week_and_its_key_is_sealed(play: Any):
    async def scene(desk: Any) -> None:
        run, _ = await waiting(desk, NAMED)
        link = await desk.app.telling.links.opened((await link_to(desk, run)).rpartition("/")[2])
        document = await desk.app.documents.get("link_key", "", "links")

        assert link.until - desk.app.clock.now() // 1_000_000 == pytest.approx(LINK_SECONDS, abs=60)
        assert desk.app.telling.links._known_key not in document.body

    play(scene)


def test_the_page_of_a_run_that_was_cancelled_says_so(play: Any):
    async def scene(desk: Any) -> None:
        run, _ = await waiting(desk, NAMED)
        link = await link_to(desk, run)
        await desk.post(f"/workflows/{run}/cancel", {})

        answer = await desk.client.post(link, data={"decision": "approve"})

        assert answer.status_code == 409
        assert re.search(r"has ended: the run was cancelled", answer.text)

    play(scene)
