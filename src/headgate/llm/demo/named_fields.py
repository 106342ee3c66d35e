"""The fields that an instruction names in words: "extract the invoice number, the due date and all e-mail
addresses"."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["named_fields"]

_MANY = r"(?:all|every|each|any)\s+(?:the\s+|of the\s+)?|list of\s+"
_PLURALS = (
    r"\b(?:dates|amounts|e-?mails|e-?mail addresses|phone numbers|urls|links|names|people|companies|"
    r"numbers|action items|prices|items|percentages)$"
)


def named_fields(instruction: str) -> dict[str, Any]:
    """Return a schema of nullable fields, one for each that `instruction` names; without properties where
    it names none."""
    properties: dict[str, Any] = {}
    for phrase in _phrases(instruction):
        many = re.match(_MANY, phrase) or re.search(_PLURALS, phrase)
        name = re.sub(rf"^(?:{_MANY}|the |an? |its |their |following )+", "", phrase).strip()
        name = re.sub(r"\be-mail", "email", name)
        if name and len(name.split()) <= 4:
            properties[name] = {"type": "array", "items": {"type": "string"}} if many else {"type": ["string", "null"]}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _phrases(instruction: str) -> list[str]:
    folded = " ".join(instruction.casefold().split())
    match = re.search(
        (
            r"\b(?:extract|pull out|parse(?: out)?|identify|find|list|get|give me|"
            r"return)\s+(?:me\s+)?(?:these fields|the following(?: fields| information| data)?|"
            r"fields)?\s*:?\s*(.+)"
        ),
        folded,
    )
    bullets = re.findall(r"^\s*[-*•]\s+([^\n:(]+)", instruction.casefold(), re.MULTILINE)
    if bullets:
        return [bullet.strip() for bullet in bullets]
    keys = re.search(r"\b(?:keys|fields)\s*:?\s+([\w\"'`, ]+)", folded) if re.search(r"\bjson\b", folded) else None
    listed = keys.group(1) if keys else match.group(1) if match else ""
    listed = re.split(
        (
            r"\s+(?:from|in|of (?:this|the following)|out of|mentioned|contained|as json|as a json|that|"
            r"which|and (?:return|answer|reply|give))\b|[.:;]"
        ),
        listed,
    )[0]
    listed = re.sub(r"^(?:the )?(?:fields|values|data|information)\s+", "", listed)
    pieces = re.split(r",\s*(?:and\s+)?|\s+and\s+|\s*&\s*|\s+or\s+", listed)
    return [piece.strip().strip("\"'`()") for piece in pieces if piece.strip()]
