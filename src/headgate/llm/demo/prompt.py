"""A prompt taken apart: what is asked, and the material that it is asked about.

In this order: blocks in tags or fences are material; `Context:`, `Text:`, `Question:` labels say what they
are; else
the leading sentences that tell the model what to do are the instruction, then the system prompt's, then
the last ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from headgate.llm.demo.classify import inline_labels
from headgate.llm.demo.intent import ability, is_question, looks_like_instruction
from headgate.llm.demo.sentences import Part
from headgate.ports import Message

__all__ = ["Prompt", "understand"]


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says. `instruction` is the user's; `system` the system prompt's; `message` the whole
    last user
    message; `results` what tools answered to it, under their names."""

    instruction: str = ""
    question: str = ""
    system: str = ""
    message: str = ""
    material: tuple[Part, ...] = ()
    results: tuple[Part, ...] = ()
    called: tuple[str, ...] = ()

    @property
    def asked(self) -> str:
        """Return the user's instruction, or the system prompt's where the user gives none."""
        return self.instruction or self.question or self.system

    @property
    def text(self) -> str:
        """Return the material as one text."""
        return "\n\n".join(part.text for part in self.material)


def understand(messages: Sequence[Message]) -> Prompt:
    """Return the parts of a conversation; the last user message is what counts."""
    system = "\n".join(message.content for message in messages if message.role == "system").strip()
    asked = [index for index, message in enumerate(messages) if message.role == "user"]
    last = asked[-1] if asked else -1
    user = messages[last].content.replace("\r\n", "\n").strip() if asked else ""
    system_split = _split(system, "") if system else _Split()
    split = _split(user, system_split.instruction or system)
    earlier = tuple(
        Part(message.content, message.role) for message in messages[: max(last, 0)] if message.role != "system"
    )
    material = split.parts or system_split.parts or (() if split.instruction else earlier)
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    after = [message for message in messages[last + 1 :] if message.role == "tool"]
    return Prompt(
        instruction=split.instruction,
        question=split.question or system_split.question,
        system=system_split.instruction if system_split.parts else system,
        message=user,
        material=_read_json(material),
        results=_read_json(tuple(Part(m.content, names.get(m.tool_call_id, "tool")) for m in after)),
        called=tuple(call.name for message in messages[last + 1 :] for call in message.tool_calls),
    )


class _Split(msgspec.Struct):
    instruction: str = ""
    question: str = ""
    parts: tuple[Part, ...] = ()


def _split(text: str, system: str) -> _Split:
    return _by_blocks(text) or _by_labels(text) or _by_sentences(text, system)


# --- Blocks --------------------------------------------------------------------------------

_INLINE_TAGS_WORDS = """
a b i u p em strong span div br li ul ol table tr td th h1 h2 h3 h4 html body code pre
"""
_INLINE_TAGS = frozenset(_INLINE_TAGS_WORDS.split())
_INSTRUCTION_TAGS = frozenset(
    ["instruction", "instructions", "task", "rules", "labels", "categories", "format", "output"]
)


def _by_blocks(text: str) -> _Split | None:
    split = _Split()
    rest = re.sub(
        r"<([A-Za-z][\w-]*)((?:\s[^<>]*)?)>(.*?)</\1\s*>",
        lambda match: _take_tag(match, split),
        text,
        flags=re.DOTALL,
    )
    if not split.parts:
        for fence in (
            r"```[\w-]*\n?(.*?)```",
            r'"""(.*?)"""',
            r"'''(.*?)'''",
            r"<<<(.*?)>>>",
            r"(?:^|\n)-{3,}\n(.*?)\n-{3,}",
        ):
            rest = re.sub(fence, lambda match: _take(match.group(1), "", split), rest, flags=re.DOTALL)
    if (
        not split.parts
        and rest.count('"') <= 2
        and (match := re.search(r"[\"“„]([^\"“”„]{40,})[\"”“]\W*$", rest))
        and match.start()
    ):
        rest = rest[: match.start()] + _take(match.group(1), "", split)
    if not split.parts:
        return None
    question = re.search(r"\bquestion\s*:\s*(.+)", rest, re.IGNORECASE)
    split.question = split.question or (question.group(1).strip() if question else "")
    split.instruction = "\n".join(filter(None, (split.instruction, rest.strip())))
    return split


def _take_tag(match: re.Match[str], split: _Split) -> str:
    tag, attributes, inner = match.group(1), match.group(2), match.group(3)
    if tag.casefold() in _INLINE_TAGS:
        return match.group()
    if tag.casefold() in ("question", "query"):
        split.question = inner.strip()
        return ""
    if tag.casefold() in _INSTRUCTION_TAGS:
        return inner
    if nested := _by_blocks(inner) if inner.lstrip().startswith("<") else None:
        split.parts += nested.parts
        return ""
    named = re.search(r"\b(?:id|name|source|title|index)\s*=\s*[\"']?([^\"'>]+)", attributes)
    return _take(inner, named.group(1).strip() if named else "", split)


def _take(text: str, name: str, split: _Split) -> str:
    if text.strip():
        split.parts += (Part(text.strip("\n").rstrip(), name),)
    return ""


# --- Labels --------------------------------------------------------------------------------

_MATERIAL = (
    "text|texts|context|documents?|articles?|e-?mails?|mail|messages?|tickets?|input|content|passages?|"
    "sources?|material|"
    "transcript|notes|reviews?|comments?|reports?|contract|excerpt|letter|data|body|feedback|paragraph|"
    "story|news"
)
_ASKING = (
    "question|query|q|task|instructions?|answer|a|output|labels|categories|classes|options|summary|"
    "response|result|json|category|label"
)
_LABEL = re.compile(
    (
        rf"(?:^|(?<=\n)|(?<=[.?!]\s))[ \t]*(?:#+\s*|\*\*)?(?:the |this )?((?:[A-Za-z]+ "
        rf"){{0,2}}(?:{_MATERIAL})|{_ASKING})(?:\*\*)?:(?:\*\*)?[ \t]*"
    ),
    re.IGNORECASE,
)


def _by_labels(text: str) -> _Split | None:
    marks = list(_LABEL.finditer(text))
    marks = [mark for mark in marks if not looks_like_instruction(mark.group(1)) or _asks(mark) or mark.start() > 0]
    if not marks or not any(
        not _asks(mark) or mark.group(1).casefold() in ("question", "query", "q") for mark in marks
    ):
        return None
    head = text[: marks[0].start()].strip()
    if head and not (looks_like_instruction(head) or head.endswith("?") or (len(marks) > 1 and _asks(marks[0]))):
        return None
    if not _asks(marks[0]) and _leading(head)[1]:
        return None  # the label is one of the material's own
    return _fill_from_labels(text, marks, head)


def _asks(mark: re.Match[str]) -> bool:
    return re.fullmatch(_ASKING, mark.group(1).strip(), re.IGNORECASE) is not None


def _fill_from_labels(text: str, marks: list[re.Match[str]], head: str) -> _Split | None:
    split = _Split(instruction=head)
    in_material = False
    for index, mark in enumerate(marks):
        end = marks[index + 1].start() if index + 1 < len(marks) else len(text)
        value, name = text[mark.end() : end].strip(), mark.group(1).strip().casefold()
        if name in ("question", "query", "q"):
            split.question = value
        elif _asks(mark):
            split.instruction += f"\n{mark.group(1).strip()}: {value}" if value else ""
        elif in_material and index and not _asks(marks[index - 1]):
            split.parts = (
                *split.parts[:-1],
                Part(split.parts[-1].text + "\n" + text[mark.start() : end].rstrip()),
            )
            continue
        elif value:
            value, asked = _cut_last(value) if not head and not split.question else (value, "")
            split.parts += (Part(value),)
            split.instruction += f"\n{asked}" if asked else ""
            in_material = True
    split.question, rest = _question_alone(split.question)
    if rest and not split.parts:
        split.parts = (Part(rest),)
    if not split.parts and head:
        split.instruction, material = _leading(head)
        split.parts = (Part(material),) if material else ()
    split.instruction = split.instruction.strip()
    return split if split.parts or split.question else None


def _question_alone(value: str) -> tuple[str, str]:
    first, _, rest = value.partition("\n")
    return (first.strip(), rest.strip()) if rest.strip() else (value, "")


def _cut_last(value: str) -> tuple[str, str]:
    """Cut an instruction or question in a paragraph of its own off the end of labelled material."""
    before, _, last = value.rpartition("\n\n")
    if before and (looks_like_instruction(last) or last.strip().endswith("?")) and len(last) < 400:
        return before, last.strip()
    return value, ""


# --- Sentences --------------------------------------------------------------------------------


def _by_sentences(text: str, system: str) -> _Split:
    wanted = ability(system) if system else None
    if wanted not in (None, "answer") and not looks_like_instruction(_first_sentence(text)):
        return _Split(parts=(Part(text),) if text else ())
    instruction, rest = _leading(text)
    if not instruction:
        rest, instruction = _trailing(text)
    if instruction:
        return _Split(instruction, instruction if instruction.endswith("?") else "", (Part(rest),) if rest else ())
    return _Split(parts=(Part(text),) if text else ())


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.?!:])\s|\n", text, maxsplit=1)[0]


def _leading(text: str) -> tuple[str, str]:
    """Return the instruction at the start of `text` and what follows it."""
    first_line = text.split("\n", 1)[0]
    whole_line = (
        first_line.endswith("?")
        and first_line.count("?") == 1
        and (is_question(first_line) or (":" not in first_line and looks_like_instruction(_first_sentence(text))))
    )
    first = first_line if whole_line else _first_sentence(text)
    if not looks_like_instruction(first) and not _asked_first(first, text):
        return "", text
    if first.endswith("?"):
        end = _through_follow_ups(text, len(first))
        return text[:end], text[end:].strip()
    end = _after_colon(first_line)
    if end is None:
        end = _after_sentences(text)
    return text[:end].strip(), text[end:].strip("\n").strip()


def _asked_first(first: str, text: str) -> bool:
    return first.endswith("?") and len(first) < 300 and len(text) > len(first)


_LISTING = (
    r"(?:one of|labels?|categories|classes|options|following|either|these|keys|fields|as|of|"
    r"into)(?:[\w\s]{0,30})$"
)


def _after_colon(line: str) -> int | None:
    """Return where the material starts in a line such as `Summarise in two sentences: …`, if it is one."""
    for match in re.finditer(r":(?=\s|$)", line):
        head, after = line[: match.start()], line[match.end() :]
        if not after.strip():
            return None
        listed = re.search(_LISTING, head.casefold()) and re.match(r"[^.\n]{1,200}?(?:,|\bor\b|\band\b)", after)
        if not listed or inline_labels(head) or re.search(r"\b(?:the following|this|these)\s+\w+$", head.casefold()):
            return match.end()
        if later := re.search(r"(?<=[\w\])\"'])[.:;]\s+|\.$", after):
            return _through_follow_ups(line, match.end() + later.end())
        return len(line)
    return None


def _through_follow_ups(text: str, start: int) -> int:
    end = start
    for match in re.finditer(r"\S[^\n]*?(?:[.?!](?=\s)|[.?!]$|$|(?=\n))", text[start:]):
        if not looks_like_instruction(match.group(), following=True):
            break
        end = start + match.end()
    return end


def _after_sentences(text: str) -> int:
    """Return the end of the leading instruction: sentences, then label lists, as long as they tell what to
    do."""
    end, listing, first = 0, False, True
    for match in re.finditer(r"[ \t]*(\S[^\n]*?(?:[.?!](?=\s)|:(?=[ \t]*$)|$))|\n", text, re.MULTILINE):
        sentence = match.group(1)
        if sentence is None:
            continue
        bullet = re.match(r"(?:[-*•–]|\d{1,2}[.)])\s", sentence) or (sentence.count(",") > 1 and len(sentence) < 120)
        if not first and not (listing and bullet) and not looks_like_instruction(sentence, following=True):
            break
        starts_list = sentence.endswith(":") and not re.search(
            r"\b(?:text|ticket|following \w+|below)\W*:$", sentence.casefold()
        )
        listing = starts_list or (first and ability(sentence) == "classify") or (listing and bool(bullet))
        end, first = match.end(), False
    return end


def _trailing(text: str) -> tuple[str, str]:
    """Return the material and the instruction or question that stands behind it, empty where there is
    none."""
    before, _, last = text.rpartition("\n")
    if before.strip() and (looks_like_instruction(last) or last.strip().endswith("?")):
        return before.strip(), last.strip()
    match = re.search(r"(?<=[.!?])\s+([A-Z][^.!?\n]*[.?])$", text)
    if match and (looks_like_instruction(match.group(1)) or match.group(1).endswith("?")):
        return text[: match.start()].strip(), match.group(1)
    if text.endswith("?") and "\n" not in text and len(text) < 300:
        return "", text
    if looks_like_instruction(text):
        return "", text
    return text, ""


# --- Material that is data -----------------------------------------------------------------------------


def _read_json(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Replace a JSON array of texts by its texts, and any other JSON by lines of `key: value`; see ids in
    text."""
    found: list[Part] = []
    for part in parts:
        value = _json(part.text)
        if isinstance(value, list):
            found.extend(_item(item, part.id or "", index) for index, item in enumerate(value, 1))
        elif isinstance(value, dict):
            found.append(Part("\n".join(_lines(value, "")), part.id))
        else:
            found.extend(_by_ids(part))
    return tuple(part for part in found if part.text.strip())


def _json(text: str) -> object:
    shown = text.strip()
    if not (shown.startswith(("[", "{")) and shown.endswith(("]", "}"))):
        return None
    try:
        return msgspec.json.decode(shown)
    except (msgspec.DecodeError, RecursionError):
        return None


def _item(item: object, name: str, index: int) -> Part:
    if isinstance(item, dict):
        named = next((str(item[key]) for key in ("id", "source", "name", "title", "url") if key in item), "")
        body = next((item[key] for key in ("text", "content", "body") if isinstance(item.get(key), str)), None)
        return Part(body if isinstance(body, str) else "\n".join(_lines(item, "")), named or f"{name}{index}")
    return Part(item if isinstance(item, str) else msgspec.json.encode(item).decode(), f"{name} {index}".strip())


def _lines(value: object, path: str) -> list[str]:
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _lines(inner, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list):
        return [line for index, inner in enumerate(value, 1) for line in _lines(inner, f"{path} {index}")]
    shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return [f"{path}: {shown}"]


def _by_ids(part: Part) -> list[Part]:
    """Take `[1] …`, `[doc-7] …` or `Source: x` at the start of lines as the names of what follows them."""
    marks = list(
        re.finditer(
            r"^\s*(?:\[([\w .:/#-]{1,60})\]:?|(?:Source|Document|Doc)\s*[:#]?\s*([\w./-]{1,40}):?$)",
            part.text,
            re.MULTILINE,
        )
    )
    if len(marks) < 2 or part.text[: marks[0].start()].strip():
        return [part]
    ends = [mark.start() for mark in marks[1:]] + [len(part.text)]
    return [
        Part(part.text[mark.end() : end].strip(), mark.group(1) or mark.group(2))
        for mark, end in zip(marks, ends, strict=True)
    ]
