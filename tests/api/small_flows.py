"""Small workflows that are asked for over HTTP."""

from __future__ import annotations

ASKING = """
name: asking
activities:
  ask: {use: approval, with: {title: "Go on?", form: {type: object}}}
  then: {use: echo, with: {by: "{{ ask.by }}"}}
"""
