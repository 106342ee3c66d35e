"""What a policy is: something that looks at a model call before it leaves, and at the answer before anybody has it.

A policy sees texts and says what is to be done. It does no I/O and waits for nothing; it is called on the loop that
makes the call. Whatever calls models (floor 2) asks for a `Guard` of the attempt, and knows no policy by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from headgate.core.values import Assignment, Verdict
from headgate.ports.model import ModelAnswer, ModelRequest

__all__ = [
    "NO_GUARDS",
    "Allow",
    "Checked",
    "Decision",
    "Deny",
    "Guard",
    "Guards",
    "Modify",
    "Policy",
    "PolicyCall",
    "TextFilter",
    "texts_of",
]


class Allow(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nothing is changed. `details` are recorded: counts, kinds, scores, never the text."""

    details: dict[str, Any] = {}


class Deny(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call is not made (or its answer not used), and the attempt fails. `reason` is recorded and shown.

    `ask`: a person may let it through all the same; the activity waits until somebody does, or refuses.
    """

    reason: str
    details: dict[str, Any] = {}
    ask: bool = False


class Modify(msgspec.Struct, frozen=True, omit_defaults=True):
    """Go on with `changed` instead: a `ModelRequest` on the way out, a `ModelAnswer` on the way back.

    `models`, on the way out: the names that are left of those that may be asked; at least one.
    """

    changed: ModelRequest | ModelAnswer | None = None
    reason: str = ""
    models: tuple[str, ...] | None = None
    details: dict[str, Any] = {}


Decision = Allow | Deny | Modify


class PolicyCall(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model call as policies see it. `models` are "provider/model", in order of preference.

    The texts of an embedding are its messages, one each. `untrusted` are the texts among those of the request that
    come from where anybody may write: the web, documents, files, databases, inputs that are declared so.
    """

    request: ModelRequest
    models: tuple[str, ...]
    purpose: Literal["prompt", "embedding"] = "prompt"
    workflow: str = ""
    run_id: str = ""
    activity: str = ""
    place: str = ""
    untrusted: tuple[str, ...] = ()
    approved: bool = False
    """A person has let this activity's call through."""

    @property
    def text(self) -> str:
        """All that the messages say, in order."""
        return "\n".join(message.content for message in self.request.messages)


class Policy(Protocol):
    """What every policy has. It may have `on_answer(call, answer)` too, which decides in the same way.

    Without `text_filter()` (a `TextFilter` for the tokens of one answer), an answer that is streamed is held back
    until `on_answer` has seen all of it.
    """

    @property
    def name(self) -> str: ...

    def on_request(self, call: PolicyCall) -> Decision: ...


class TextFilter(Protocol):
    """A text on its way, in pieces: what is certain now is returned, the rest waits for what follows."""

    def add(self, piece: str) -> str: ...

    def rest(self) -> str: ...


class Checked(msgspec.Struct, frozen=True):
    """What a chain of policies came to. `changed` and `models` are what is left after all of them."""

    changed: ModelRequest | ModelAnswer
    models: tuple[str, ...]
    verdicts: tuple[Verdict, ...] = ()
    denied: Deny | None = None


class Guard(Protocol):
    """The policies of one attempt, in order."""

    def on_request(self, call: PolicyCall) -> Checked: ...

    def on_answer(self, call: PolicyCall, answer: ModelAnswer) -> Checked: ...

    def text_filter(self) -> TextFilter | None:
        """Return what the streamed text of one answer goes through; None: nobody minds it."""
        ...

    def message(self, text: str) -> str:
        """Return a text for people (an error, a line of the log) without what the policies scrub."""
        ...


class Guards(Protocol):
    """Where the guards of attempts come from."""

    def guard(self, task: Assignment) -> Guard | None:
        """Return the guard of an attempt's calls; None: no policy applies.

        Raises `Attempt`, not retryable, where a policy is not known here or cannot be made: then no call is made.
        """
        ...

    def scrub(self, value: Any, policies: Sequence[dict[str, Any]], key: bytes) -> Any:
        """Return a JSON value with its texts scrubbed, for good, as these policies say. Raises `Invalid`."""
        ...


class _NoGuards:
    def guard(self, task: Assignment) -> Guard | None:
        return None

    def scrub(self, value: Any, policies: Sequence[dict[str, Any]], key: bytes) -> Any:
        return value


NO_GUARDS: Guards = _NoGuards()


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():  # a JSON map holds anything
            yield from texts_of(key)
            yield from texts_of(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts_of(part)
