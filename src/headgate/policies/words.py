"""Many words that are looked for in one text: not one by one, but by what several of them have in common.

Where a stem is not in the text, none of its words is; and none that is not ASCII is in a text that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["Words"]


class Words:
    """The words, each under the first of the `stems` that is in it, or of the words themselves.

    Stems are best rare and long, or one character: of these one is found many times faster.
    """

    def __init__(self, words: Iterable[str], stems: Sequence[str] = ()) -> None:
        groups: dict[str, list[str]] = {}
        known = sorted(dict.fromkeys(words), key=len)
        for word in known:
            groups.setdefault(next(stem for stem in (*stems, *known) if stem in word), []).append(word)
        self._all = list(groups.items())
        self._ascii = [
            (stem, [word for word in words if word.isascii()]) for stem, words in self._all if stem.isascii()
        ]

    def within(self, lowered: str) -> list[str]:
        """Return those that are in a text, which is in small letters if the words are."""
        groups = self._ascii if lowered.isascii() else self._all
        return [word for stem, words in groups if stem in lowered for word in words if word in lowered]
