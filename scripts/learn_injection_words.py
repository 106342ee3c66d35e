"""Learns the weights of `headgate/policies/injection_words.py` from labelled texts, and judges them between authors.

    python -m scripts.learn_injection_words            # how it does on each author's texts, learnt from the others
    python -m scripts.learn_injection_words --write    # and write the weights that all of them together give

A logistic regression with weights for rarity (a word in each text says little), rounded to a byte. Where the score is
one half is chosen so that of the look-alikes of authors of whom nothing was learnt, one in a hundred is above it. The
same texts give the same file: nothing is drawn.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from tests.policies.labelled import InjectionItem, injections, recall_at

from headgate.policies.injection import as_read, signs_score
from headgate.policies.injection_words import NUMBERS, WEIGHTS_FILE, windows

ROOT = Path(__file__).resolve().parents[1]

AUTHORS = {"first": ("tuning", "held_out"), "second": ("second",), "own": ("own",)}
STRENGTH = 10.0
"""The inverse of the regularisation: three or thirty do as well."""
SCALE = 7.0
"""About what the rarest word weighs: it brings what is learnt from near one."""
BYTE_MAX = 127
FALSE_ALARMS_MAX = 0.01


class Learnt:
    """Weights by number, and what is added to their sum."""

    def __init__(self, items: Sequence[InjectionItem]) -> None:
        read = [_numbers(item.text) for item in items]
        seen = Counter(number for numbers in read for number in numbers)
        rarity = np.zeros(NUMBERS)
        for number, times in seen.items():
            rarity[number] = (math.log((1 + len(items)) / (1 + times)) + 1) / SCALE
        model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=3_000)
        model.fit(_matrix(read, rarity), [item.attack for item in items])
        weights = model.coef_[0] * rarity
        self.factor = abs(weights).max() / BYTE_MAX
        self.weights = np.round(weights / self.factor).astype(np.int8)
        self.base = float(model.intercept_[0])

    def score(self, text: str) -> float:
        """Return the log odds as `injection_score` has them: of the words, and what the signs add."""
        shown = [self.weights[list(window)].sum() / math.sqrt(len(window)) for window in windows(as_read(text))]
        return float(max(shown, default=0.0)) * self.factor + self.base + signs_score(text)[0]


def _numbers(text: str) -> list[int]:
    return sorted({number for window in windows(as_read(text)) for number in window})


def _matrix(read: Sequence[Sequence[int]], weights: np.ndarray) -> csr_matrix:
    columns = [number for numbers in read for number in numbers]
    values = [weights[number] / math.sqrt(len(numbers)) for numbers in read for number in numbers]
    ends = np.cumsum([0, *map(len, read)])
    return csr_matrix((values, columns, ends), shape=(len(read), NUMBERS))


def main() -> None:
    texts = {author: [item for name in sets for item in injections(name)] for author, sets in AUTHORS.items()}
    unseen: list[tuple[float, bool]] = []
    for author, items in texts.items():
        learnt = Learnt([item for other, its in texts.items() if other != author for item in its])
        scored = [(learnt.score(item.text), item.attack) for item in items]
        best = recall_at(scored, false_alarms_max=FALSE_ALARMS_MAX)
        print(f"{author}, learnt from the others: recall {best.recall:.1%} at {FALSE_ALARMS_MAX:.0%} false alarms")
        unseen += scored
    usual = recall_at(unseen, false_alarms_max=FALSE_ALARMS_MAX)
    print(
        f"all of them at one threshold: recall {usual.recall:.1%}, {usual.alarms_false} of {usual.benign} false alarms"
    )
    if "--write" in sys.argv:
        _write(Learnt([item for items in texts.values() for item in items]), usual.threshold)


def _write(learnt: Learnt, threshold: float) -> None:
    path = ROOT / "src/headgate/policies" / WEIGHTS_FILE
    path.write_bytes(learnt.weights.tobytes() + f"{learnt.factor:.9f} {learnt.base - threshold:.6f}\n".encode())
    print(f"{path.relative_to(ROOT)}: {np.count_nonzero(learnt.weights)} weights, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
