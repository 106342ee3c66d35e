"""Runs whose calls are limited by a budget."""

from __future__ import annotations

import msgspec

from headgate.authoring import load_definition
from headgate.core.definition import Budget, BudgetAction
from headgate.testing.rehearsal import Rehearsal

one_task = "name: t\nactivities: {a: {use: echo, retry: 3}, b: {use: echo}}"


def limited(limit: int, action: BudgetAction = "abort", *, text: str = one_task) -> Rehearsal:
    definition = msgspec.structs.replace(load_definition(text), budget=Budget(limit, action))
    return Rehearsal(definition).start()
