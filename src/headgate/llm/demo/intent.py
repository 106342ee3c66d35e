"""What an English instruction asks for: which ability, how much of it, and whether it is beyond the demo
models."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from headgate.llm.demo.refusal import cannot
from headgate.llm.demo.words import language

__all__ = [
    "Ability",
    "Amount",
    "ability",
    "amount",
    "is_question",
    "looks_like_instruction",
    "refuse_beyond",
    "refuse_other_language",
]

Ability = Literal["summarise", "classify", "extract", "keywords", "answer", "combine"]

_VERBS: dict[Ability, str] = {
    "combine": r"\b(?:combine|merge|consolidate|synthesi[sz]e|unify)\b",
    "keywords": r"\b(?:key ?words?|key ?phrases?|main (?:topics|terms)|(?:suggest|give|list|extract|generate|"
    r"assign|"
    r"find|return) "
    r"(?:me )?(?:\w+ )?(?:tags|topics))\b",
    "classify": r"\b(?:classif(?:y|ies)|categori[sz]e|sentiment|triage|label(?= (?:the|this|it|as|each))|"
    r"one of|"
    r"(?:which|what)(?: is the| are the)? (?:sentiment|category|class|label|department|team|priority|"
    r"urgency|topic)|"
    r"(?:choose|pick|select|assign|determine|decide|route|rate|tag)\b.{0,80}\b(?:from|between|among|"
    r"category|label|priority|"
    r"urgency|to one|department|either)|into (?:one of|the (?:following )?(?:categories|classes)))\b",
    "summarise": r"\b(?:summari[sz](?:e|es|ing)|summar(?:y|ies)|tl;?dr|condense|shorten|boil down|"
    r"(?:key|main|most important) (?:points?|ideas?|facts?|takeaways?)|takeaways|gist|highlights|in "
    r"brief|overview|digest|"
    r"abstract)\b",
    "extract": r"\bjson\b.{0,30}\b(?:keys|fields)\b|\b(?:extract|pull out|parse|identify (?:the|all)|"
    r"find all|list (?:all|every|the)|(?:get|give me|return) (?:the|all) "
    r"(?:\w+ )?(?:dates?|amounts?|e-?mails?|phones?|urls?|names?|numbers?|total))\b",
    "answer": r"\b(?:answer|question|based (?:only )?on|according to|explain|describe|tell me|quote|"
    r"find (?:the "
    r")?(?:passage|part|section))"
    r"\b|\?",
}

_START = (
    r"(?:please|kindly|now|then|first|also|in \w+ (?:sentences?|words|bullets?|lines)[^:]{0,20},?|you "
    r"are [^.]{0,200}[.:]|"
    r"your (?:task|job) is to|i (?:want|need|would like) you to|(?:can|could|would|will) you(?: "
    r"please)?|the following|"
    r"i'?d like|we need(?: you)? to)"
)
_IMPERATIVE = (
    r"(?:summari[sz]e|classify|categori[sz]e|extract|combine|merge|consolidate|synthesi[sz]e|condense|"
    r"shorten|tl;?dr|triage|label|"
    r"tag|rate|route|choose|pick|select|assign|determine|decide|identify|find|list|give|get|pull|parse|"
    r"answer|explain|describe|tell|quote|"
    r"write|draft|compose|create|generate|make|produce|provide|return|translate|rewrite|rephrase|"
    r"paraphrase|calculate|compute|"
    r"solve|implement|refactor|proofread|correct|improve|suggest|recommend|brainstorm|imagine|invent|"
    r"design|draw|paint|"
    r"analy[sz]e|compare|evaluate|highlight|digest|boil down|read|look|review the|outline|convert|"
    r"key ?words?|key points?|main points?|summary|sentiment|question|is the sentiment)\b"
)
_FOLLOW_UP = (
    r"(?:please|reply|respond|answer|return|use|give|output|only|do not|don't|keep|be|write|include|"
    r"exclude|choose|pick|select|if|"
    r"quote|cite|categories|labels|classes|options|allowed|possible|valid|each|the (?:categories|labels|"
    r"options|possible|allowed|"
    r"summary|answer|output)|no more|at most|limit|name|mention|for each|in case|when|ignore|focus|make "
    r"sure|format|avoid|start|end)\b"
)

_WITHOUT_MATERIAL = r"\b(?:write|compose|create|generate|make|produce|give|draft|provide|tell)\b"
_CREATIVE = (
    r"\b(?:poems?|poetry|haikus?|sonnets?|limericks?|songs?|lyrics|stor(?:y|ies)|jokes?|essays?|"
    r"slogans?|taglines?|blog ?posts?|"
    r"tweets?|novels?|screenplays?|press release|cover letter|raps?|fairy ?tales?|advert(?:isement)?s?)\b"
)
_BEYOND: tuple[tuple[str, str], ...] = (
    (r"\btranslat(?:e|es|ing|ion)\b", "translate"),
    (
        rf"{_WITHOUT_MATERIAL}.{{0,60}}{_CREATIVE}|^\W*(?:an? )?{_CREATIVE}\s+(?:about|on|for)\b",
        "write creative text",
    ),
    (
        (
            r"\b(?:write|create|generate|implement|refactor|debug|fix|give|show|produce|"
            r"make)\b.{0,60}\b(?:code|functions?|scripts?|"
            r"programs?|sql|queries|regex(?:es)?|unit tests?|python|javascript|typescript|java|rust|bash|"
            r"html|class(?:es)? in)\b"
            r"|\b(?:refactor|debug)\b|\bimplement\b(?! by)"
        ),
        "write code",
    ),
    (
        (
            r"\b(?:calculate|compute|solve|multiply|divide|prove|add up|sum up (?:the|all) (?:\w+ "
            r")?(?:numbers|amounts|totals|prices)|"
            r"work out|square root|factorial|what is the (?:sum|product|average|mean|difference) of|"
            r"average of)\b"
            r"|\d\s*[-+*/×÷^]\s*\d+(?:\s*[-+*/×÷^]\s*\d+)*\s*(?:=|\?|$)|\b\d+ (?:plus|minus|times|divided "
            r"by) \d+"
        ),
        "calculate",
    ),
    (
        (
            r"\b(?:draw|paint|sketch|(?:generate|create|make|describe) (?:an? |the |this )?(?:images?|"
            r"pictures?|photos?|logos?))\b"
        ),
        "see or make images",
    ),
)
_BEYOND_ALONE: tuple[tuple[str, str], ...] = (
    (
        r"\b(?:rewrite|rephrase|paraphrase|proofread|polish|improve|correct (?:the )?(?:grammar|spelling))\b",
        "rewrite a text",
    ),
    (
        (
            r"\b(?:write|compose|draft|respond to|reply to|create|generate|come up with|brainstorm|imagine|"
            r"invent|design|suggest|"
            r"recommend|advise|convince|pretend|role-?play|plan)\b"
        ),
        "write free text",
    ),
    (
        r"\b(?:analy[sz]e|compare|evaluate|assess|critique|predict|forecast|reason|think step)\b",
        "reason about a text",
    ),
)

_LANGUAGES = {
    "english": "en",
    "german": "de",
    "deutsch": "de",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "dutch": "nl",
}
_OTHER_LANGUAGES = (
    "portuguese|polish|russian|chinese|japanese|korean|arabic|turkish|hindi|swedish|danish|czech|greek|ukrainian"
)


def ability(instruction: str) -> Ability | None:
    """Return what `instruction` asks for, or None where it asks for nothing that has a name here.

    Of several, the verb that stands first at the start of a clause counts; a noun counts only where there
    is no verb.
    """
    folded = instruction.casefold()
    found: list[tuple[int, int, Ability]] = []
    for rank, (name, pattern) in enumerate(_VERBS.items()):
        match = re.search(pattern, folded)
        if match and name != "answer":
            found.append((match.start(), rank, name))
    if found:
        return _first(found, folded)
    return "answer" if re.search(_VERBS["answer"], folded) or is_question(folded) else None


def _first(found: list[tuple[int, int, Ability]], folded: str) -> Ability:
    names = {name for _, _, name in found}
    if "combine" in names and "extract" not in names:
        return "combine"
    if "keywords" in names and names <= {"keywords", "extract", "classify"}:
        return "keywords"
    if "?" in folded and names == {"summarise"} and re.search(r"\bwh(?:o|en|ere|ich|y)\b", folded):
        return "answer"
    return min(found)[2]


def is_question(text: str) -> bool:
    """Tell whether `text` begins as a question does."""
    folded = text.casefold()
    return bool(
        re.match(
            r"\W*(?:who|whom|whose|what|when|where|which|why|how|does|do|did|is|are|was|were|can|may|must)\b",
            folded,
        )
    )


def looks_like_instruction(sentence: str, *, following: bool = False) -> bool:
    """Tell whether `sentence` tells the model what to do. `following`: it stands behind another
    instruction."""
    folded = sentence.strip().casefold().lstrip("#*-> ")
    if following and re.match(_FOLLOW_UP, folded):
        return True
    if re.match(rf"(?:{_START}\s*)*{_IMPERATIVE}", folded):
        return not re.match(r"(?:summary|sentiment|question|review the)\b[^:]{0,60}$", folded) or folded.endswith(":")
    if re.match(r"(?:an? |the )?(?:\w+[- ])?(?:\w+ )?(?:summary|overview|gist) of\b", folded):
        return True
    return folded.startswith(("your task", "you are a", "your job", "you will be given", "you will receive"))


def refuse_beyond(instruction: str) -> None:
    """Raise `demo_cannot` where `instruction` asks for what no ability gives."""
    folded = re.sub(r"\b(?:do not|don't|never|without)\b[^.;:]*", " ", instruction.casefold())
    for pattern, name in _BEYOND:
        if re.search(pattern, folded, re.DOTALL):
            raise cannot(name)
    if ability(instruction) in (None, "answer"):
        for pattern, name in _BEYOND_ALONE:
            if re.search(pattern, re.sub(r"\baccording to\b.*", "", folded)) and not is_question(folded):
                raise cannot(name)


def refuse_other_language(instruction: str, material: str) -> None:
    """Raise `demo_cannot` where the answer is asked for in another language than the material's."""
    match = re.search(rf"\b(?:in|into|auf)\s+({'|'.join(_LANGUAGES)}|{_OTHER_LANGUAGES})\b", instruction.casefold())
    if match and _LANGUAGES.get(match.group(1)) != language(material):
        raise cannot(f"answer in {match.group(1).title()} about a text in another language, which would be translating")


class Amount(msgspec.Struct, frozen=True):
    """How much is asked for; None where the instruction does not say."""

    sentences: int | None = None
    words: int | None = None
    characters: int | None = None
    items: int | None = None
    bullets: bool = False
    numbered: bool = False
    json: bool = False


_NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_NUMBER = rf"(\d{{1,4}}|an?|single|{'|'.join(_NUMBERS)})"


def amount(instruction: str) -> Amount:
    """Return the limits that `instruction` states."""
    folded = instruction.casefold()
    bullet = _number(
        rf"{_NUMBER}\s+(?:\w+\s+)?(?:bullets?|bullet[- ]points?|points|items|takeaways|highlights)\b", folded
    )
    return Amount(
        sentences=_number(rf"{_NUMBER}[\s-]+(?:\w+\s+)?(?:sentences?|lines?)\b", folded),
        words=_number(rf"{_NUMBER}[\s-]+words?\b(?!\s+label)", folded),
        characters=_number(rf"{_NUMBER}[\s-]+(?:characters?|chars)\b", folded),
        items=bullet
        or _number(
            rf"{_NUMBER}\s+(?:\w+\s+)?(?:key ?words?|key ?phrases?|tags|topics|quotes|passages|terms)\b",
            folded,
        ),
        bullets=bool(re.search(r"\bbullet|\bas a list\b|\bkey points\b|\btakeaways\b", folded)),
        numbered="numbered" in folded,
        json=bool(re.search(r"\bjson\b", folded)),
    )


def _number(pattern: str, folded: str) -> int | None:
    match = re.search(pattern, folded)
    if not match:
        return None
    word = match.group(1)
    if word.isdigit():
        return max(1, int(word))
    return _NUMBERS.index(word) + 1 if word in _NUMBERS else 1
