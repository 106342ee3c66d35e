"""Runs of small workflows, decided step by step."""

from __future__ import annotations

from headgate.testing.rehearsal import Rehearsal

CHAIN = """
name: chain
activities:
  a: {use: echo}
  b: {use: echo, after: [a]}
  c: {use: echo, after: [b]}
"""

FORK = """
name: fork
activities:
  a: {use: echo}
  left: {use: echo, after: [{activity_key: a, condition: "{{ a.go == 'left' }}"}]}
  right: {use: echo, after: [{activity_key: a, condition: "{{ a.go == 'right' }}"}]}
  end: {use: echo, after: [{activity_key: left, condition: "true"}, {activity_key: right, condition: "true"}]}
"""


def rehearse(text: str, **given: object) -> Rehearsal:
    return Rehearsal(text).start(given)
