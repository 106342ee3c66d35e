"""How the rules for personal data, secrets and injections do on the labelled sets.

Rules were mended, and words learnt, with all of the sets but `blind`: what they report on the others says that nothing
was lost since. How much carries over to authors of whom nothing was learnt, `blind` says, and the test that learns from
some authors and tries the words on another. A failure says kinds and counts, so that nobody tunes a rule on an item.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, get_args

import pytest
from scripts.learn_injection_words import AUTHORS, Learnt
from tests.policies.labelled import Reserve, Set, at_threshold, injections, leaks, pii, recall_at

from headgate.policies.injection import THRESHOLD, injection_score
from headgate.policies.injection_words import _learnt
from headgate.policies.keys import detect_keys
from headgate.policies.personal import KINDS, detect_personal
from headgate.policies.scrubber import Scrubber, Span

SENTENCE = "a signal, not a wall"


class Bounds(NamedTuple):
    """What holds on a set: values that leak, or pieces of them do; clean texts that come out changed, as a share; and
    what the score finds at the usual threshold, as shares of the attacks and of the look-alikes."""

    leaks_max: int = 0
    pieces_max: int = 0
    changed_max: float = 0.2
    recall_min: float = 0.9
    false_alarms_max: float = 0.02


BOUNDS: dict[Set | Reserve, Bounds] = {
    "tuning": Bounds(),
    "held_out": Bounds(),
    "second": Bounds(),
    "reserve": Bounds(),
    "blind": Bounds(changed_max=0.25, recall_min=0.4),
}
BETWEEN_AUTHORS_MIN = {"first": 0.3, "second": 0.2, "own": 0.3}
"""Recall at 1 % false alarms on an author's texts, with words that were learnt from the others'."""

each_set = pytest.mark.parametrize("name", get_args(Set))
each_set_of_pii = pytest.mark.parametrize("name", BOUNDS)
detect = detect_personal()


def everything(text: str) -> list[Span]:
    return [*detect(text), *detect_keys(text)]


def scrubbed(text: str) -> str:
    """Return the text as `pii` and then `secrets` leave it: the one must not hide from the other what it looks for."""
    for find in (detect, detect_keys):
        text = Scrubber(find, b"k" * 32).scrubbed(text)
    return text


@each_set_of_pii
@pytest.mark.parametrize("part", [1.0, 0.75], ids=["whole values", "pieces of them"])
def test_nothing_of_the_listed_kinds_is_left_in_a_text(name: Set | Reserve, part: float):
    left_over: Counter[str] = Counter()
    values = 0
    for item in pii(name):
        values += len(item.found)
        left = leaks(item, scrubbed(item.text), part=part)
        left_over.update(f"{found.kind} {found.disguise or 'plain'}" for found in left)

    allowed = BOUNDS[name].leaks_max if part == 1 else BOUNDS[name].pieces_max
    assert values > 200
    assert left_over.total() <= allowed, f"{left_over.total()} of {values} values leak: {dict(left_over)}"


@each_set_of_pii
def test_a_text_with_nothing_to_find_mostly_stays_as_it_is(name: Set | Reserve, capsys: pytest.CaptureFixture[str]):
    clean = [item for item in pii(name) if not item.found]
    changed = sum(scrubbed(item.text) != item.text for item in clean)

    with capsys.disabled():
        print(f"\n{name}: {changed} of {len(clean)} texts with nothing to find came out changed")
    assert len(clean) > 50
    assert changed <= BOUNDS[name].changed_max * len(clean), f"{changed} of {len(clean)}"


@each_set
def test_injections_score_higher_than_what_only_looks_like_them(name: Set, capsys: pytest.CaptureFixture[str]):
    scored = [(injection_score(item.text)[0], item.attack) for item in injections(name)]
    best = recall_at(scored, false_alarms_max=0.01)
    usual = at_threshold(scored, THRESHOLD - 1e-9)

    with capsys.disabled():
        learnt_from = "never seen" if name == "blind" else "learnt from these very texts"
        print(
            f"\n{name} ({learnt_from}): recall {best.recall:.1%} at 1 % false alarms "
            f"(precision {best.precision:.1%}); at "
            f"the usual threshold of {THRESHOLD}: recall {usual.recall:.1%}, {usual.alarms_false} false alarms among "
            f"{usual.benign} look-alikes: {SENTENCE}"
        )
    assert usual.recall >= BOUNDS[name].recall_min
    assert usual.false_alarm_rate <= BOUNDS[name].false_alarms_max


@pytest.mark.parametrize("author", AUTHORS)
def test_what_is_learnt_from_some_authors_carries_over_to_another(author: str, capsys: pytest.CaptureFixture[str]):
    theirs = [item for name in AUTHORS[author] for item in injections(name)]
    others = [item for other, sets in AUTHORS.items() if other != author for name in sets for item in injections(name)]

    learnt = Learnt(others)
    best = recall_at([(learnt.score(item.text), item.attack) for item in theirs], false_alarms_max=0.01)

    with capsys.disabled():
        print(f"\n{author}, learnt from the others: recall {best.recall:.1%} at 1 % false alarms: {SENTENCE}")
    assert best.recall >= BETWEEN_AUTHORS_MIN[author]


def test_the_weights_in_the_package_are_those_that_the_sets_give():
    learnt = Learnt([item for sets in AUTHORS.values() for name in sets for item in injections(name)])

    weights, factor, _ = _learnt()

    assert factor == pytest.approx(learnt.factor, rel=0.01)
    apart = [abs(int(ours) - int(theirs)) for ours, theirs in zip(weights, learnt.weights, strict=True)]
    assert max(apart) <= 1, "learn them again: python -m scripts.learn_injection_words --write"


def test_each_kind_of_personal_data_can_be_had_alone():
    text = "ada@x.example, +44 131 496 0188, 4111 1111 1111 1111, GB29NWBK60161331926819, 219-45-6781, 198.51.100.7"

    found = {kind: [span.kind for span in detect_personal([kind])(text)] for kind in KINDS}

    assert found == {kind: [kind] for kind in KINDS} | {"phone": found["phone"]}
    assert set(found["phone"]) == {"phone"}


CERTIFICATE = "-----BEGIN CERTIFICATE-----\n" + "aB3x" * 16 + "\n" + "xB4a" * 16 + "\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ring +44 131 496 0188, 4111 1111 1111 1112, 0131 496 0199", "ring , 4111 1111 1111 1112, "),
        ("GB26MIDL40051512345674 0131 496 0199, 192.0.2.17 0131 496 0188", " ,  "),
        ("firmware 4.2.1.0, 192.0.2.17", "firmware 4.2.1.0, "),
        ("see section 12.4.1.3, 12.4.1.4 and 10.4.0.9", "see section 12.4.1.3, 12.4.1.4 and "),
        ('the passphrase for the shed is "four red foxes", as ever', 'the passphrase for the shed is "", as ever'),
        ("password = hash(typed) or fox-77-Q", "password = hash(typed) or "),
        ("password=${DB_PASSWORD} password=fox-77-Q", "password=${DB_PASSWORD} password="),
        (CERTIFICATE + "word " * 20 + "Zq7w" * 8, CERTIFICATE + "word " * 20),
        ('connect("dbi:pg:x", "bob", "four foxes")', 'connect("dbi:pg:x", "bob", "")'),
        ("198456781 or 219456781 (SSN)", "198456781 or  (SSN)"),
    ],
)
def test_what_stands_beside_something_else_is_taken_for_what_it_is(text: str, left: str):
    spans = Scrubber(everything, b"k").find(text)

    for span in reversed(spans):
        text = text[: span.start] + text[span.end :]
    assert text == left


# --- Time is linear ---------------------------------------------------------------------------------------


ADVERSARIAL: dict[str, Callable[[int], str]] = {
    "digits": lambda n: "1" * n,
    "digits and spaces": lambda n: "1 " * (n // 2),
    "digits and dashes": lambda n: "1-" * (n // 2),
    "zeros and slashes": lambda n: "0/" * (n // 2),
    "plus signs": lambda n: "+1" * (n // 2),
    "at signs": lambda n: "a@" * (n // 2),
    "dots after an at": lambda n: "a@" + "a." * (n // 2),
    "local parts": lambda n: "a." * (n // 2),
    "colons": lambda n: "a:" * (n // 2),
    "double colons": lambda n: "::" * (n // 2),
    "hexadecimal and colons": lambda n: "ab:1:" * (n // 5),
    "octets": lambda n: "1.1." * (n // 4),
    "letters": lambda n: "a" * n,
    "letters and digits": lambda n: "aB1" * (n // 3),
    "dashes": lambda n: "a-" * (n // 2),
    "underscores": lambda n: "sk_a_" * (n // 5),
    "keys that begin": lambda n: ("-" * 5 + "BEGIN PRIVATE KEY" + "-" * 5) * (n // 27),
    "assignments": lambda n: "password=" * (n // 9),
    "names in a row": lambda n: "password " * (n // 9),
    "quotes": lambda n: "'" * n,
    "percent signs": lambda n: "%25" * (n // 3),
    "ampersands": lambda n: "&amp;" * (n // 5),
    "backslashes": lambda n: "\\" * n,
    "no width": lambda n: "\u200b" * n,
    "combining": lambda n: "a\u0301" * (n // 2),
    "addresses": lambda n: "http://a:" * (n // 9),
    "placeholders": lambda n: "<EMAIL_" * (n // 7),
    "accounts": lambda n: "DE80 " * (n // 5),
    "orders": lambda n: "ignore the previous " * (n // 20),
    "bots": lambda n: "to the assistant: you must " * (n // 27),
    "single letters": lambda n: "a " * (n // 2),
}


def steps(text: str) -> int:
    """Return the processor time that the rules take, in nanoseconds: the least of some tries, whoever else is busy."""
    best = 1 << 62
    for _ in range(3):
        begun = time.thread_time_ns()
        everything(text)
        Scrubber(everything, b"k").find(text)
        injection_score(text)
        best = min(best, time.thread_time_ns() - begun)
    return best


@pytest.mark.parametrize("made", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_four_times_the_text_takes_about_four_times_as_long(made: Callable[[int], str]):
    short, long = steps(made(4_000)), steps(made(16_000))

    assert long < 12 * max(short, 2_000_000), "sixteen times as long would be quadratic"
