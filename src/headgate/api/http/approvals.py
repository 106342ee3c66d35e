"""Routes of approvals: what waits for a person, the decision, and the page behind a link."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from headgate.api.http.query import PageWanted
from headgate.api.http.route import Answer, Call, NoQuery, Raw, Route
from headgate.api.http.wire import RunAnswer, rfc3339, run_answer
from headgate.core.errors import HeadgateError, Invalid, Refused
from headgate.engine.approval_links import BadLink, Link
from headgate.engine.approvals import Answered, OpenApproval

__all__ = ["ROUTES"]

FORM_BYTES_MAX = 256 * 1024
FORM_FIELDS_MAX = 500


class ApprovalLine(msgspec.Struct, frozen=True):
    id: str
    workflow_id: str
    activity_key: str
    definition_name: str
    title: str
    body: str
    show: Any
    form: Any
    approvers: Any
    since: str | None
    until: str | None
    waiting_for: str


class ApprovalList(msgspec.Struct, frozen=True):
    approvals: list[ApprovalLine]
    count: int
    next_cursor: str | None


class DecisionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` are the answers to the approval's form. `by` counts where there is no login."""

    approved: bool
    by: str = ""
    comment: str = ""
    data: Any = None


async def list_approvals(call: Call[PageWanted, None]) -> ApprovalList:
    """List what waits for a person's decision, oldest first"""
    page = await call.records.approvals(limit=call.query.limit, behind=call.query.cursor)
    lines = [
        ApprovalLine(
            id=one.id,
            workflow_id=one.run,
            activity_key=one.key,
            definition_name=one.workflow,
            title=str(one.asked.get("title") or ""),
            body=str(one.asked.get("body") or ""),
            show=one.asked.get("show"),
            form=one.asked.get("form"),
            approvers=one.asked.get("approvers"),
            since=rfc3339(one.since),
            until=rfc3339(one.until),
            waiting_for=one.waiting_for,
        )
        for one in page.lines
    ]
    return ApprovalList(lines, len(lines), page.next)


async def decide_approval(call: Call[NoQuery, DecisionBody]) -> RunAnswer:
    """Decide an approval, once; `id` is that of the list"""
    run, _, key = call.path["id"].partition("~")
    if not key:
        raise Invalid(f"expected an id of the list of approvals, got {call.path['id']!r}")
    body = call.body
    view = await call.desk.decide(
        run,
        key=key,
        approved=body.approved,
        by=body.by,
        comment=body.comment,
        data=body.data,
        command_id=call.command_id,
    )
    return run_answer(view, outputs=False)


# --- Links: no login, the address is the right ------------------------------------------------------------------------


async def show_approval(call: Call[NoQuery, None]) -> Answer:
    """Show the page on which the holder of a link decides; looking decides nothing"""
    try:
        link = await call.doors.links.opened(call.path["token"])
        return _asking(link, await call.doors.links.asked(link))
    except BadLink as error:
        return _not_working(error)


async def decide_by_link(call: Call[NoQuery, Raw]) -> Answer:
    """Decide as the page's form says; once it is decided, say what was decided"""
    from headgate.api.approval_page import answers_of

    try:
        link = await call.doors.links.opened(call.path["token"])
        asked = await call.doors.links.asked(link)
    except BadLink as error:
        return _not_working(error)
    if isinstance(asked, Answered):
        return _asking(link, asked, 409)
    given: dict[str, str] = {}
    try:
        given = _given(call.body)
        approved = _approves(given)
        data = answers_of(asked, given) if approved else None
        by, comment = given.get("by", ""), given.get("comment", "")
        await call.doors.links.decide(link, asked, approved=approved, by=by, comment=comment, data=data)
    except (Invalid, Refused) as error:
        return await _not_taken(call, link, error, given)
    return _asking(link, await call.doors.links.asked(link))


async def _not_taken(call: Call[Any, Any], link: Link, error: HeadgateError, given: dict[str, str]) -> Answer:
    """Ask once more, saying why; or say what somebody else has decided a moment before."""
    from headgate.api.approval_page import approval_page

    asked = await call.doors.links.asked(link)
    status = 422 if isinstance(error, Invalid) else 409
    if isinstance(asked, Answered):
        return _asking(link, asked, status)
    return _page(approval_page(asked, by=link.by, wrong=error.message, given=given), status)


def _asking(link: Link, asked: OpenApproval | Answered, status: int = 200) -> Answer:
    from headgate.api.approval_page import approval_page, ended_page

    page = ended_page(asked) if isinstance(asked, Answered) else approval_page(asked, by=link.by)
    return _page(page, status)


def _not_working(error: BadLink) -> Answer:
    from headgate.api.approval_page import message_page

    return _page(message_page("This link does not work", error.message), 403)


def _page(page: bytes, status: int) -> Answer:
    from headgate.api.approval_page import PAGE_HEADERS

    return Answer(status=status, data=page, headers=PAGE_HEADERS, content_type="text/html; charset=utf-8")


def _given(body: Raw) -> dict[str, str]:
    """Return the fields of a form. Raises `Invalid`."""
    if len(body.data) > FORM_BYTES_MAX:
        raise Invalid(f"expected a form of at most {FORM_BYTES_MAX} bytes, got {len(body.data)}")
    try:
        return dict(parse_qsl(body.data.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError:
        raise Invalid("expected the fields of a form, in UTF-8") from None


def _approves(given: dict[str, str]) -> bool:
    match given.get("decision"):
        case "approve":
            return True
        case "reject":
            return False
        case other:
            raise Invalid(f"expected decision to be approve or reject, got {other!r}")


ROUTES = (
    Route(
        method="GET",
        path="/approvals",
        function=list_approvals,
        query=PageWanted,
        answer=ApprovalList,
        other_scopes=("approvals",),
    ),
    Route(
        method="POST",
        path="/approvals/{id}",
        function=decide_approval,
        body=DecisionBody,
        answer=RunAnswer,
        scope="approvals",
        refusals=(404, 409),
    ),
    Route(
        method="GET",
        path="/approval_links/{token}",
        function=show_approval,
        answer=str,
        scope="",
        other_statuses=(403,),
    ),
    Route(
        method="POST",
        path="/approval_links/{token}",
        function=decide_by_link,
        body=Raw,
        answer=str,
        scope="",
        other_statuses=(403, 409, 422),
    ),
)
