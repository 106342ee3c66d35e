"""Who is told of a workflow's runs: the keys under `notify`, each checked where it stands."""

from __future__ import annotations

import re
from typing import Literal

from headgate.authoring.fields import Field, Reading
from headgate.authoring.vocabulary import NOTIFY
from headgate.core.definition import Notify

__all__ = ["read_notify"]

ADDRESSES_MAX = 50
ADDRESS = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+")
URL = re.compile(r"https?://[^\s/?#]+[^\s]*")
SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

On = Literal["failed", "waiting", "budget"]
OCCASIONS: tuple[On, ...] = ("failed", "waiting", "budget")


def read_notify(reading: Reading, field: Field) -> Notify | None:
    """Return who is told, or None where that cannot be read; what is wrong is noted."""
    fields = reading.known(field, NOTIFY, "notify")
    if not fields:
        return None
    if fields.keys().isdisjoint(("email", "slack", "webhook")):
        reading.note("nobody is told: notify needs email, slack or webhook.", field)
    if "secret" in fields and "webhook" not in fields:
        reading.note("`secret` signs what a `webhook` is told, and there is none.", fields["secret"], at_key=True)
    return Notify(
        on=_occasions(reading, fields["on"]) if "on" in fields else OCCASIONS,
        email=_addresses(reading, fields["email"]) if "email" in fields else (),
        webhook=_matching(reading, fields, "webhook", URL, "an address such as https://example.org/hook"),
        secret=_matching(reading, fields, "secret", SECRET_NAME, "the name of a secret, such as HOOK_KEY"),
        slack=_matching(reading, fields, "slack", SECRET_NAME, "the name of a secret, such as SLACK_URL"),
    )


def _occasions(reading: Reading, field: Field) -> tuple[On, ...]:
    entries = reading.listed(field)
    if not entries:
        reading.note("nothing is told of: name failed, waiting or budget, or leave `on` out for all of them.", field)
    words = {reading.choice(entry, OCCASIONS) for entry in entries}
    return tuple(word for word in OCCASIONS if word in words)


def _addresses(reading: Reading, field: Field) -> tuple[str, ...]:
    entries = reading.listed(field)
    if not 1 <= len(entries) <= ADDRESSES_MAX:
        reading.note(f"expected 1 to {ADDRESSES_MAX} addresses, got {len(entries)}.", field)
    found: list[str] = []
    for entry in entries:
        text = reading.text(entry, "a mail address")
        if text is not None and not ADDRESS.fullmatch(text):
            reading.expected("a mail address such as ann@example.org", entry)
        elif text is not None:
            found.append(text)
    return tuple(dict.fromkeys(found))


def _matching(reading: Reading, fields: dict[str, Field], name: str, form: re.Pattern[str], what: str) -> str:
    if name not in fields:
        return ""
    text = reading.text(fields[name], what)
    if text is None or form.fullmatch(text):
        return text or ""
    reading.expected(what, fields[name])
    return ""
