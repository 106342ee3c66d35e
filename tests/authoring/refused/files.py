"""Files that are refused. A `§` stands where the problem must be found; it is taken out first."""

from __future__ import annotations

HEAD = "name: demo\nactivities:\n"


def activity(lines: str) -> str:
    """A file with one activity `a` that holds these lines."""
    return HEAD + "  a:\n" + "".join(f"    {line}\n" for line in lines.splitlines())


def echo(lines: str) -> str:
    return activity(f"use: echo\n{lines}")


def llm(lines: str) -> str:
    return activity("use: llm_prompt\nwith:\n  prompt: hello\n" + "".join(f"  {line}\n" for line in lines.splitlines()))


def two(a: str, b: str) -> str:
    return HEAD + f"  a: {{use: echo, {a}}}\n  b: {{use: echo, {b}}}\n"
