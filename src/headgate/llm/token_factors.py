"""What the answers of a model teach about the estimate of its input: a factor on it, for each kind of request.

The estimate holds for vocabularies that were measured; a model may have another one, and its vendor may add a page of
its own to each request. So every settled call says how much of its estimate was used, and the next estimate is brought
nearer:

- **Up at once.** One call that took more than its estimate raises the factor of its kind to what that call needed and
  a margin, and that of all kinds of the model if the request was long enough to say something about the model.
- **Down slowly, never far, and only for English prose.** Where the last calls of a kind, `SAMPLES_MIN` of them at
  least, all took clearly less, the next one of that kind is estimated at the highest of them and a margin. What is
  written otherwise (more digits, tools) is another kind. Texts that are not English are too unlike each other: a letter
  in Amharic takes ten times the tokens of one in German, and neither says what the other needs.

Nothing is awaited here, and nothing is kept: a process learns from its own calls, and at its start, upwards only, from
the newest spend rows, which do not say what kind they were of.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from headgate.llm.prices import undated
from headgate.llm.token_weights import PROSE, kind_of
from headgate.ports import ModelRequest

__all__ = [
    "ESTIMATES_MAX",
    "FACTOR_MAX",
    "FACTOR_MIN",
    "KINDS_MAX",
    "SAMPLES_MIN",
    "WINDOW",
    "TokenFactors",
    "kind_of_request",
]

FACTOR_MIN = 0.7
FACTOR_MAX = 3.0
MARGIN = 1.25
SAMPLES_MIN = 20
WINDOW = 200
"""Calls of a kind that are remembered; an older one is forgotten."""
KINDS_MAX = 2_000
"""Kinds that are remembered, of all models together; the one that was least recently used is forgotten."""
ESTIMATES_MAX = 2_000
"""Spend rows that a process looks at when it starts."""
LONG_TOKENS = 500
"""From here on a request says something about its model, and not only about its kind."""

_ALL = ""
"""The kind that stands for all kinds of a model."""


class TokenFactors:
    """The factors of a process, by model ("provider/model") and kind of request."""

    def __init__(self) -> None:
        self._needs: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def factor(self, model: str, kind: str) -> float:
        """Return what an estimate is to be multiplied with: 1.0 until something was learnt."""
        name = undated(model)
        needs = self._needs.get((name, kind))
        of_all = self._needs.get((name, _ALL))
        highest = max([*(needs or ()), *(of_all or ())], default=1.0)
        if highest > 1:
            return min(highest * MARGIN, FACTOR_MAX)
        if needs is None or len(needs) < SAMPLES_MIN or not kind.startswith(PROSE):
            return 1.0
        return min(1.0, max(max(needs) * MARGIN, FACTOR_MIN))

    def learn(self, model: str, kind: str, *, estimated: int, actual: int) -> None:
        """Take in a call whose input was estimated (without a factor) and then reported. Nonsense is passed over."""
        if estimated <= 0 or actual <= 0:
            return
        need = actual / estimated
        name = undated(model)
        self._add((name, kind), need)
        if need > 1 and estimated >= LONG_TOKENS:
            self._add((name, _ALL), need)

    def seed(self, calls: Iterable[tuple[str, str, int, int]]) -> None:
        """Take in (provider, model, estimated, actual) of calls of whatever kind: those that took more than that."""
        for provider, model, estimated, actual in calls:
            if LONG_TOKENS <= estimated < actual:
                self._add((undated(f"{provider}/{model}"), _ALL), actual / estimated)

    def _add(self, key: tuple[str, str], need: float) -> None:
        needs = self._needs.get(key)
        if needs is None:
            needs = self._needs[key] = deque(maxlen=WINDOW)
            if len(self._needs) > KINDS_MAX:
                self._needs.popitem(last=False)
        self._needs.move_to_end(key)
        needs.append(need)


def kind_of_request(request: ModelRequest) -> str:
    """Return what a request is alike in to others that need about the same part of their estimate."""
    apart = f"{'t' if request.tools else ''}{'s' if request.response_schema else ''}"
    return f"{kind_of([message.content for message in request.messages])}{apart}"
