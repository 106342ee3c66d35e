"""The demo models: summary, quotation, classification, extraction, tool choice and vectors, offline and
honest."""

from __future__ import annotations

from headgate.llm.demo.provider import DemoProvider

__all__ = ["DemoProvider"]
