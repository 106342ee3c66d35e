"""The labelled sets for PII and for prompt injection: how they are read, split and measured against.

It knows no rule. Whoever writes rules imports `pii("tuning")`, `pii("second")` and the injections of these names; the
blind set is for the one run that counts (see sets/README.md).
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import unquote

import msgspec

__all__ = [
    "KINDS",
    "Found",
    "Half",
    "Haystack",
    "InjectionItem",
    "Measured",
    "Own",
    "PiiItem",
    "Reserve",
    "Set",
    "at_threshold",
    "halves",
    "injections",
    "leaks",
    "pii",
    "plain",
    "readings",
    "recall_at",
]

SETS = Path(__file__).parent / "sets"
SEED = "headgate-labelled-1"
READING_DEPTH_MAX = 3  # base64 within an address within JSON; nobody hides a number deeper and expects it to be found
PIECE_MAX = 40  # letters and digits of a long key that are a leak, whatever is left of the rest
APART = "\n" * 20  # more than any pattern bridges
IPV4 = re.compile(r"\d{1,3}(\.\d{1,3}){3}", re.ASCII)

Half = Literal["tuning", "held_out"]  # of the first author's set, which chance has dealt in two
Set = Literal[Half, "second", "blind"]  # each of the others is whole, and by an author of its own
Reserve = Literal["reserve"]  # personal data only, by a fourth author
Own = Literal["own"]  # injections that whoever mended the rules has written, to learn from
Kind = Literal["email", "phone", "card", "iban", "ssn", "ip", "key"]
Disguise = Literal["base64", "full_width", "zero_width", "url"]
Source = Literal["web", "document", "email", "tool", "user"]

KINDS: tuple[Kind, ...] = ("email", "phone", "card", "iban", "ssn", "ip", "key")


class Found(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value that must not get out: as it stands in the text, or for `base64`, as it stands in what is encoded."""

    kind: Kind
    value: str
    disguise: Disguise | None = None


class PiiItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text and every value of the listed kinds in it; `found` is empty where there is none."""

    id: str
    text: str
    found: tuple[Found, ...]
    note: str = ""

    @property
    def stratum(self) -> str:
        """What the split keeps balanced: the first kind and how it is disguised."""
        return f"{self.found[0].kind} {self.found[0].disguise}" if self.found else "none"


class InjectionItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that tries to give a model orders, or one that only looks like it, and where it came from."""

    id: str
    text: str
    attack: bool
    family: str
    source: Source

    @property
    def stratum(self) -> str:
        return f"{self.attack} {self.family}"


Item = TypeVar("Item", PiiItem, InjectionItem)


def pii(name: Set | Reserve) -> list[PiiItem]:
    """Return one set of texts with personal data, in the order of its file."""
    return _load(SETS / f"pii_{name}.jsonl", PiiItem)


def injections(name: Set | Own) -> list[InjectionItem]:
    """Return one set of prompt injections, in the order of its file."""
    return _load(SETS / f"injection_{name}.jsonl", InjectionItem)


def halves(items: Iterable[Item], *, seed: str = SEED) -> tuple[list[Item], list[Item]]:
    """Deal the items into a tuning and a held-out half: every stratum evenly, chance decides within it.

    The same items and seed give the same halves in whatever order they come; so nobody has picked.
    """
    drawn = sorted(items, key=lambda item: (item.stratum, hashlib.sha256(f"{seed} {item.id}".encode()).digest()))
    return sorted(drawn[0::2], key=lambda item: item.id), sorted(drawn[1::2], key=lambda item: item.id)


class Haystack:
    """What has got out (a request, a log, the bytes of a database), read in every way in which a value can hide."""

    def __init__(self, said: str | bytes) -> None:
        text = said if isinstance(said, str) else said.decode("utf-8", "replace")
        self._readings = [_folded(reading) for reading in readings(text)]
        self._squeezed = [_squeezed(reading) for reading in self._readings]

    def shows(self, value: str, *, part: float = 1.0) -> bool:
        """Whether `value` can be read in it, undisguised or not, with its separators or with others.

        With `part` below 1, that share of its letters and digits in a row is enough (at most `PIECE_MAX`, so a long
        key leaks by the piece); use it on what was sent, not on megabytes, where few digits meet by chance.
        """
        return any(self._shows(form, part) for form in {value, plain(value)})

    def _shows(self, value: str, part: float) -> bool:
        # Squeezing is quick, but joins neighbours, 12 and 345 to 12345: what it finds must be one in the text too.
        met = [piece for piece in _pieces(value, part) if any(piece in squeezed for squeezed in self._squeezed)]
        patterns = [_pattern(piece, value if part >= 1 else "") for piece in met]
        return any(pattern.search(reading) for pattern in patterns for reading in self._readings)


def leaks(item: PiiItem, said: Haystack | str | bytes, *, part: float = 1.0) -> list[Found]:
    """Return those of the item's values that can be read in what was said."""
    haystack = said if isinstance(said, Haystack) else Haystack(said)
    return [found for found in item.found if haystack.shows(found.value, part=part)]


def plain(value: str) -> str:
    """Return a value without its disguise: ordinary digits and letters, nothing invisible, nothing percent-encoded."""
    shown = "".join(char for char in unicodedata.normalize("NFKC", value) if unicodedata.category(char) != "Cf")
    return unquote(shown)


def readings(text: str) -> list[str]:
    """Return the text and what comes out if it is decoded as an address, JSON, HTML or base64, also one in another."""
    seen, last = [text], [text]
    for _ in range(READING_DEPTH_MAX):
        last = list(dict.fromkeys(new for old in last for decode in DECODERS for new in decode(old) if new not in seen))
        seen.extend(last)
    return list(dict.fromkeys(seen))


class Measured(msgspec.Struct, frozen=True):
    """How a score did at one threshold; an alarm is a score above it."""

    threshold: float
    caught: int
    attacks: int
    alarms_false: int
    benign: int

    @property
    def recall(self) -> float:
        return self.caught / self.attacks

    @property
    def false_alarm_rate(self) -> float:
        return self.alarms_false / self.benign

    @property
    def precision(self) -> float:
        """The share of alarms that were right; 1 where there was no alarm."""
        alarms = self.caught + self.alarms_false
        return self.caught / alarms if alarms else 1.0


def at_threshold(scored: Iterable[tuple[float, bool]], threshold: float) -> Measured:
    """Count what a threshold catches among pairs of a score and whether it was an attack."""
    attacks, benign = _apart(scored)
    caught, alarms_false = (sum(score > threshold for score in scores) for scores in (attacks, benign))
    return Measured(threshold, caught, len(attacks), alarms_false, len(benign))


def recall_at(scored: Iterable[tuple[float, bool]], *, false_alarms_max: float) -> Measured:
    """Return what the lowest threshold catches that keeps false alarms within that share of the benign items.

    Equal scores stand or fall together: a tie at the border is never cut in favour of the detector.
    """
    attacks, benign = _apart(scored)
    allowed = math.floor(false_alarms_max * len(benign) + 1e-9)
    worst_first = sorted(benign, reverse=True)
    threshold = worst_first[allowed] if allowed < len(worst_first) else -math.inf
    return at_threshold([*((score, True) for score in attacks), *((score, False) for score in benign)], threshold)


def _apart(scored: Iterable[tuple[float, bool]]) -> tuple[list[float], list[float]]:
    pairs = list(scored)
    attacks, benign = ([score for score, attack in pairs if attack is wanted] for wanted in (True, False))
    if not attacks or not benign:
        raise ValueError(f"expected attacks and benign items, got {len(attacks)} and {len(benign)}")
    return attacks, benign


def _load(path: Path, kind: type[Item]) -> list[Item]:
    decoder = msgspec.json.Decoder(kind)
    return [decoder.decode(line) for line in path.read_bytes().split(b"\n") if line]


def _folded(text: str) -> str:
    shown = unicodedata.normalize("NFKC", text)
    return "".join(char for char in shown if char.isascii() or unicodedata.category(char) != "Cf").casefold()


def _squeezed(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


def _pieces(value: str, part: float) -> Iterator[str]:
    squeezed = _squeezed(_folded(value))
    if part >= 1:
        yield squeezed
        return
    length = min(math.ceil(len(squeezed) * part), PIECE_MAX)
    yield from (squeezed[at : at + length] for at in range(len(squeezed) - length + 1))


def _pattern(piece: str, whole: str) -> re.Pattern[str]:
    if IPV4.fullmatch(whole):  # 10.4.0.12 is not the number 104012
        return re.compile(rf"(?<!\d){whole.replace('.', '[^a-z0-9]{1,3}')}(?!\d)")
    between = r"[\W_]{0,3}" if len(piece) <= PIECE_MAX else r"[\W_]{0,12}"  # the dashes around a private key
    joined = between.join(piece)
    return re.compile(rf"(?<!\d){joined}(?!\d)" if whole and piece.isdigit() else joined)


def _from_address(text: str) -> Iterator[str]:
    if "%" in text:
        yield unquote(text)


def _from_json(text: str) -> Iterator[str]:
    if "\\" in text:
        yield re.sub(r'\\(u[0-9a-fA-F]{4}|[nrt"\\/])', lambda match: _escapes(match[1]), text)


def _escapes(escape: str) -> str:
    if escape[0] == "u":
        return chr(int(escape[1:], 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(escape, escape)


def _from_html(text: str) -> Iterator[str]:
    if "&" in text:
        yield html.unescape(text)


def _from_base64(text: str) -> Iterator[str]:
    runs = re.findall(r"(?:[A-Za-z0-9+/_-]{12,}={0,2}(?:\r?\n)?)+", unicodedata.normalize("NFKC", text))
    letters = [re.sub(r"[=\s]", "", run).translate(str.maketrans("-_", "+/")) for run in runs]
    for start in range(4 if runs else 0):  # what stands before it may have been taken for its beginning
        yield APART.join(_decoded(run[start:]) for run in letters)


def _decoded(letters: str) -> str:
    whole = letters[: len(letters) - (len(letters) % 4 == 1)]
    return base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("utf-8", "replace")


DECODERS: tuple[Callable[[str], Iterator[str]], ...] = (_from_address, _from_json, _from_html, _from_base64)
