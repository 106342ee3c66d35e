"""The page on which a person who has a link decides an approval, and what its form comes to.

Plain HTML that works without a script and asks nobody else for anything: no font, no picture, no style from elsewhere.
All that a run's author or a model wrote is escaped, and stands as text, Markdown included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any, cast

from headgate.core.errors import Invalid
from headgate.engine.approvals import Answered, OpenApproval

__all__ = ["PAGE_HEADERS", "answers_of", "approval_page", "ended_page", "message_page"]

SHOWN_CHARACTERS_MAX = 50_000
"""Of `show`, and of each other text; the rest is left out, and that is said."""

PAGE_HEADERS = (
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
"""The address of the page is the right to decide: it is kept nowhere and told to nobody."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<style>
body{{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f4f4;padding:.75rem;border-radius:.25rem}}
label,fieldset{{display:block;margin:1rem 0}}
input:not([type=checkbox]),select,textarea{{display:block;width:100%;box-sizing:border-box;font:inherit;padding:.4rem}}
button{{font:inherit;padding:.5rem 1.25rem;margin:.5rem .75rem 0 0}}
[role=alert]{{border-left:.3rem solid #b00020;padding:.25rem .75rem}}
@media(prefers-color-scheme:dark){{body{{background:#111;color:#eee}}pre{{background:#222}}}}
</style></head><body><main>
<h1>{title}</h1>
{content}
</main></body></html>
"""


def approval_page(approval: OpenApproval, *, by: str, wrong: str = "", given: Mapping[str, str] | None = None) -> bytes:
    """Return the page that asks. `wrong`: why the last answer was not taken; `given`: what it said."""
    said = given or {}
    parts = [f'<p role="alert">{escape(wrong)}</p>' if wrong else ""]
    parts.append(
        f"<p>Run <code>{escape(approval.run)}</code> of <strong>{escape(approval.workflow)}</strong> waits for"
    )
    parts.append(f"your decision on <code>{escape(approval.key)}</code>, since {_time(approval.since)}.</p>")
    if approval.until:
        parts.append(f"<p>It waits until {_time(approval.until)}.</p>")
    parts.append(_text(approval.asked.get("body")))
    parts.append(_text(approval.asked.get("show")))
    parts.append('<form method="post">')
    parts += [_field(name, schema, name in _required(approval), said) for name, schema in _properties(approval).items()]
    if not by:
        parts.append(_input("by", "Your name", "text", said.get("by", ""), required=True))
    comment = escape(said.get("comment", ""))
    parts.append(f'<label>Comment<textarea name="comment" rows="3">{comment}</textarea></label>')
    parts.append('<button name="decision" value="approve">Approve</button>')
    parts.append('<button name="decision" value="reject" formnovalidate>Reject</button></form>')
    if by:
        parts.append(f"<p>You decide as {escape(by)}. A decision is taken once.</p>")
    return _page(approval.title, "\n".join(filter(None, parts)))


def ended_page(answer: Answered) -> bytes:
    """Return the page that says what was decided."""
    if answer.approved is None:
        return _page("Not open any more", f"<p>This approval has ended: {escape(answer.why)}.</p>")
    word = "Approved" if answer.approved else "Rejected"
    who = f" by {escape(answer.by)}" if answer.by else ""
    comment = f"<p>Comment:</p>{_text(answer.comment)}" if answer.comment else ""
    return _page(word, f"<p>{word}{who} at {_time(answer.at)}.</p>{comment}")


def message_page(title: str, message: str) -> bytes:
    """Return a page that only says something."""
    return _page(title, f"<p>{escape(message)}</p>")


def _page(title: str, content: str) -> bytes:
    return PAGE.format(title=escape(title), content=content).encode()


def _time(at: int) -> str:
    moment = datetime.fromtimestamp(at / 1_000_000, UTC)
    return f'<time datetime="{moment.isoformat(timespec="seconds")}">{moment:%Y-%m-%d %H:%M} UTC</time>'


def _text(value: object) -> str:
    if value in (None, ""):
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    if len(text) > SHOWN_CHARACTERS_MAX:
        text = f"{text[:SHOWN_CHARACTERS_MAX]}\n… and {len(text) - SHOWN_CHARACTERS_MAX} characters more"
    return f"<pre>{escape(text)}</pre>"


# --- The form ------------------------------------------------------------------------------------------------------


def _properties(approval: OpenApproval) -> dict[str, dict[str, Any]]:
    found = approval.form.get("properties")
    fields = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    return {name: cast("dict[str, Any]", one) if isinstance(one, dict) else {} for name, one in fields.items()}


def _required(approval: OpenApproval) -> list[str]:
    found = approval.form.get("required")
    return cast("list[str]", found) if isinstance(found, list) else []


def _field(name: str, schema: dict[str, Any], required: bool, given: Mapping[str, str]) -> str:
    title = str(schema.get("title") or name)
    field, default = f"data.{name}", schema.get("default")
    value = given.get(field, default if isinstance(default, str) else "" if default is None else json.dumps(default))
    kind = schema.get("type")
    if schema.get("enum"):
        return _choice(field, title, schema["enum"], value, required=required)
    if kind == "boolean":
        checked = " checked" if value == "true" else ""
        return f'<label><input type="checkbox" name="{escape(field)}" value="true"{checked}> {escape(title)}</label>'
    if kind in ("integer", "number"):
        return _input(field, title, "number", value, required=required, step="1" if kind == "integer" else "any")
    if kind == "string":
        shape = {"date": "date", "email": "email", "uri": "url"}.get(str(schema.get("format")), "text")
        return _input(field, title, shape, value, required=required)
    mark = " required" if required else ""
    title = f"{title} (JSON)"
    return f'<label>{escape(title)}<textarea name="{escape(field)}"{mark}>{escape(value)}</textarea></label>'


def _input(field: str, title: str, kind: str, value: str, *, required: bool, step: str = "") -> str:
    marks = (" required" if required else "") + (f' step="{step}"' if step else "")
    return f'<label>{escape(title)}<input type="{kind}" name="{escape(field)}" value="{escape(value)}"{marks}></label>'


def _choice(field: str, title: str, allowed: list[Any], value: str, *, required: bool) -> str:
    texts = [one if isinstance(one, str) else json.dumps(one) for one in allowed]
    options = [f"<option{' selected' if text == value else ''}>{escape(text)}</option>" for text in texts]
    mark, none = (" required", "") if required else ("", '<option value=""></option>')
    return f'<label>{escape(title)}<select name="{escape(field)}"{mark}>{none}{"".join(options)}</select></label>'


def answers_of(approval: OpenApproval, given: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what the form's fields come to, each of its type; None where there is no form. Raises `Invalid`."""
    if not approval.form:
        return None
    answers: dict[str, Any] = {}
    for name, schema in _properties(approval).items():
        text = given.get(f"data.{name}", "")
        if schema.get("type") == "boolean":
            answers[name] = text == "true"
        elif text:
            answers[name] = _value(name, schema, text)
    return answers


def _value(name: str, schema: dict[str, Any], text: str) -> Any:
    allowed = schema.get("enum")
    if allowed:
        return next((one for one in allowed if text == (one if isinstance(one, str) else json.dumps(one))), text)
    if schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(f"expected {name} to be {schema.get('type') or 'JSON'}, got {text[:80]!r}") from None
