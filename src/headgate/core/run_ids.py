"""Ids of runs, and their form as UUIDs.

A run's id is 20 characters: 100 bits, easy to read out and to shorten. Workers written for Kruxia Flow take ids for
UUIDs, so the same 100 bits travel as one, with 22 bits to spare: the version of an event of the run, which names the
attempt that it scheduled. Nothing has to be remembered to read them back.
"""

from __future__ import annotations

import re

__all__ = ["RUN_ID_BITS", "as_run_id", "run_id_of", "uuid_of", "uuid_parts"]

RUN_ID_BITS = 100
VERSION_BITS = 22
VERSION_MAX = (1 << VERSION_BITS) - 1
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
DIGITS = {character: number for number, character in enumerate(ALPHABET)}
RUN_ID = re.compile(f"[{ALPHABET}]{{20}}")
UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
"""Of version 8 (RFC 9562): 48, 12 and 62 bits are the maker's own, and what is between them is fixed."""


def run_id_of(number: int) -> str:
    """Return the run id that is made of a number of `RUN_ID_BITS`."""
    return "".join([PAIRS[(number >> shift) & 1023] for shift in range(90, -1, -10)])


def uuid_of(run_id: str, version: int = 0) -> str:
    """Return the UUID of a run, or of what its event of this `version` has scheduled; "" where there is none: the id
    is none that we draw, or the run has more events than that."""
    if not RUN_ID.fullmatch(run_id) or version > VERSION_MAX:
        return ""
    number = version
    for place, character in enumerate(reversed(run_id)):
        number |= DIGITS[character] << (VERSION_BITS + 5 * place)
    first, middle, last = number >> 74, (number >> 62) & 0xFFF, number & ((1 << 62) - 1)
    digits = f"{first << 80 | 8 << 76 | middle << 64 | 2 << 62 | last:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def uuid_parts(text: str) -> tuple[str, int] | None:
    """Return the run and the version that a UUID of ours stands for; None: it is none."""
    if not UUID.fullmatch(text):
        return None
    bits = int(text.replace("-", ""), 16)
    number = bits >> 80 << 74 | (bits >> 64 & 0xFFF) << 62 | bits & ((1 << 62) - 1)
    return run_id_of(number >> VERSION_BITS), number & VERSION_MAX


def as_run_id(text: str) -> str:
    """Return the id of the run that a UUID stands for; any other text as it is."""
    parts = uuid_parts(text)
    return text if parts is None or parts[1] else parts[0]
