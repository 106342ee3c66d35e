"""The part of JSON Schema (2020-12) that our own schema uses, for tests. A keyword that it does not know is an error,
so that no rule passes because nobody looks at it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

SAID_ONLY = {"$schema", "$defs", "title", "description"}
TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value == int(value),
}


class SchemaChecker:
    def __init__(self, schema: dict[str, Any]) -> None:
        self.root = schema

    def fits(self, value: Any, schema: dict[str, Any] | None = None) -> bool:
        """Return whether `value` is valid under `schema` (without one: under the whole schema)."""
        rules = self.root if schema is None else schema
        unknown = rules.keys() - SAID_ONLY - CHECKS.keys() - {"then"}
        assert not unknown, f"the checker does not know {unknown}"
        return all(CHECKS[name](self, value, rule, rules) for name, rule in rules.items() if name in CHECKS)

    def check_referred(self, value: Any, reference: str, _: Any) -> bool:
        return self.fits(value, self.root["$defs"][reference.removeprefix("#/$defs/")])

    def check_typed(self, value: Any, types: Any, _: Any) -> bool:
        return any(TYPES[name](value) for name in ([types] if isinstance(types, str) else types))

    def check_any(self, value: Any, options: Any, _: Any) -> bool:
        return any(self.fits(value, option) for option in options)

    def check_all(self, value: Any, parts: Any, _: Any) -> bool:
        return all(self.fits(value, part) for part in parts)

    def check_ruled(self, value: Any, condition: Any, rules: Any) -> bool:
        return not self.fits(value, condition) or self.fits(value, rules["then"])

    def check_fields(self, value: Any, properties: Any, _: Any) -> bool:
        return not isinstance(value, dict) or all(
            self.fits(entry, properties[name]) for name, entry in value.items() if name in properties
        )

    def check_others(self, value: Any, rule: Any, rules: Any) -> bool:
        if not isinstance(value, dict):
            return True
        others = [entry for name, entry in value.items() if name not in rules.get("properties", {})]
        return not others if rule is False else all(self.fits(entry, rule) for entry in others)

    def check_items(self, value: Any, rule: Any, _: Any) -> bool:
        return not isinstance(value, list) or all(self.fits(item, rule) for item in value)


def same(value: Any, allowed: Any) -> bool:
    return value == allowed and isinstance(value, bool) == isinstance(allowed, bool)


CHECKS: dict[str, Callable[[SchemaChecker, Any, Any, Any], bool]] = {
    "$ref": SchemaChecker.check_referred,
    "type": SchemaChecker.check_typed,
    "anyOf": SchemaChecker.check_any,
    "allOf": SchemaChecker.check_all,
    "if": SchemaChecker.check_ruled,
    "properties": SchemaChecker.check_fields,
    "additionalProperties": SchemaChecker.check_others,
    "items": SchemaChecker.check_items,
    "enum": lambda _, value, words, __: any(same(value, word) for word in words),
    "const": lambda _, value, word, __: same(value, word),
    "required": lambda _, value, names, __: not isinstance(value, dict) or all(name in value for name in names),
    "pattern": lambda _, value, text, __: not isinstance(value, str) or re.search(text, value) is not None,
    "minItems": lambda _, value, least, __: not isinstance(value, list) or len(value) >= least,
    "minProperties": lambda _, value, least, __: not isinstance(value, dict) or len(value) >= least,
}
