"""Passwords of people: kept as Argon2id hashes, compared off the loop, a few at a time.

Argon2id takes memory and time on purpose, so that whoever has the database cannot try many. The figures are OWASP's
second recommendation (19 MiB, two passes, one lane): some 20 ms here, and at most `HASHES_MAX` times 19 MiB.
The process has threads for it alone: the C library keeps for a thread what it has once used, and any other would keep
19 MiB, too.
`cryptography` computes them, which is here for the tokens anyway: one library less to trust than with argon2-cffi.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from headgate.api.caller import TooMany
from headgate.core.errors import Invalid

__all__ = ["PASSWORD_CHARACTERS_MIN", "Passwords"]

PASSWORD_CHARACTERS_MIN = 12
PASSWORD_CHARACTERS_MAX = 1_024
HASHES_MAX = 2
"""Computed at a time: memory is short on a small machine, and logins are rare."""
WAITING_MAX = 100

T = TypeVar("T")

MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
THREADS = ThreadPoolExecutor(HASHES_MAX, thread_name_prefix="headgate-password")  # none is started before it is needed


class Passwords:
    """`hash` and `verify`. Raises `TooMany` where more than `WAITING_MAX` wait for their turn."""

    def __init__(self) -> None:
        self._waiting = 0
        self._of_nobody = ""

    async def hash(self, password: str) -> str:
        """Return what is kept of a password. Raises `Invalid` for one that is too short or too long."""
        if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
            raise Invalid(
                f"expected a password of {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters, "
                f"got {len(password)}"
            )
        return await self._compute(_hash, password)

    async def verify(self, password: str, kept: str) -> bool:
        """Whether this is the password that was kept. `kept` empty: there is none; the answer takes as long."""
        if not kept and not self._of_nobody:
            self._of_nobody = await self._compute(_hash, secrets.token_urlsafe(32))
        right = await self._compute(_verify, password[:PASSWORD_CHARACTERS_MAX], kept or self._of_nobody)
        return right and bool(kept)

    async def _compute(self, function: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= WAITING_MAX:
            raise TooMany("Too many log in at this moment; try again in a few seconds.", retry_after_seconds=5)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(THREADS, function, *arguments)
        finally:
            self._waiting -= 1


def _hash(password: str) -> str:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    kdf = Argon2id(salt=secrets.token_bytes(16), length=32, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)
    return kdf.derive_phc_encoded(password.encode())


def _verify(password: str, kept: str) -> bool:
    from cryptography.exceptions import InvalidKey
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        Argon2id.verify_phc_encoded(password.encode(), kept)
    except InvalidKey:
        return False
    return True
