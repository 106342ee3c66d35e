"""What the log keeps of a command that bears an id: the run that it was for, and a fingerprint of what was asked.

A client makes a repeat known by an id of its own. Something else under an id that was used is the client's mistake, and
must pass neither for the repeat (nobody would do it) nor for news (a repeat would be done twice).
"""

from __future__ import annotations

from headgate.core.errors import Invalid

__all__ = ["CommandIdReused", "answer_of", "run_answered"]

SHOWN_CHARACTERS_MAX = 100


class CommandIdReused(Invalid):
    """Something else was asked for under this id before."""

    code = "command_id_reused"

    def __init__(self, command_id: str) -> None:
        shown = command_id[:SHOWN_CHARACTERS_MAX]
        super().__init__(
            f"Something else was asked for under the key {shown!r} (Idempotency-Key); "
            "take a new key for what is new, and the old one for repeats only."
        )


def answer_of(run: str, fingerprint: str) -> bytes:
    """Return what is kept under a command's id."""
    return f"{run} {fingerprint}".encode() if fingerprint else run.encode()


def run_answered(answer: bytes, command_id: str, fingerprint: str) -> str:
    """Return the run that a command was for. Raises `CommandIdReused` where the fingerprints differ."""
    run, _, known = answer.decode().partition(" ")
    if known and fingerprint and known != fingerprint:
        raise CommandIdReused(command_id)
    return run
