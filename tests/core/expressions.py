"""Expressions that are rendered in one scope."""

from __future__ import annotations

from headgate.core.expression import compile_condition, compile_value

SCOPE: dict[str, object] = {
    "INPUT": {
        "text": "hello",
        "n": 3,
        "half": 0.5,
        "yes": "true",
        "no": "false",
        "nothing": None,
        "items": [{"name": "a", "size": 2}, {"name": "b"}],
        "numbers": [3, 1, 2],
        "keys": 7,
        "text with spaces": 1,
    },
    "a": {"n": 4, "ok": False, "status": "completed", "none": None},
    "b": {"ok": False},
    "fetch-data": {"response": {"body": "B"}},
    "fetch": 10,
    "data": 4,
    "1st-try": {"ok": True},
}
NAMES = frozenset(SCOPE)


def value_of(text: str) -> object:
    return compile_condition(text, where="here", names=NAMES).value(SCOPE)


def render(value: object) -> object:
    return compile_value(value, where="activity 'x', parameters", names=NAMES).render(SCOPE)
