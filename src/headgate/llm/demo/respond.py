"""From a request to an answer's text: find out what is asked, and let the ability for it do it, or refuse."""

from __future__ import annotations

import re

import msgspec

from headgate.llm.demo.answer import answer
from headgate.llm.demo.choose_tool import choose_tool
from headgate.llm.demo.classify import classify, inline_labels, labels_in
from headgate.llm.demo.extract import fill
from headgate.llm.demo.intent import Ability, ability, amount, refuse_beyond, refuse_other_language
from headgate.llm.demo.keywords import keywords
from headgate.llm.demo.models import Model
from headgate.llm.demo.named_fields import named_fields
from headgate.llm.demo.prompt import Prompt, understand
from headgate.llm.demo.refusal import cannot
from headgate.llm.demo.sentences import Part
from headgate.llm.demo.summarise import summarise
from headgate.ports import ModelRequest, ToolCall

__all__ = ["respond"]


def respond(request: ModelRequest, model: Model) -> str | ToolCall:
    """Return the whole answer to `request`. Raises `ProviderError` (`demo_cannot`) where no ability fits."""
    prompt = understand(request.messages)
    if not prompt.message.strip():
        raise cannot("answer: the request has no user message")
    if any(request.extra.get(key) for key in ("images", "documents", "audio")):
        raise cannot("read images, documents or audio; give the text itself")
    if call := choose_tool(request, prompt, model):
        return call
    if prompt.results:
        return _from_results(prompt, model)
    refuse_beyond(prompt.instruction or prompt.question)
    if not (prompt.instruction or prompt.question):
        refuse_beyond(prompt.system)
    refuse_other_language(f"{prompt.system}\n{prompt.instruction}", prompt.text)
    if request.response_schema is not None:
        return _encoded(fill(request.response_schema, _material(prompt), model, prompt.question or prompt.instruction))
    return _by_ability(prompt, model, request.max_tokens)


def _material(prompt: Prompt) -> tuple[Part, ...]:
    return prompt.material or (Part(prompt.message),)


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _by_ability(prompt: Prompt, model: Model, max_tokens: int | None) -> str:
    asked = _asked(prompt)
    if not prompt.material:
        raise cannot(_without_material(asked))
    limits = amount(f"{prompt.system}\n{prompt.instruction}")
    match asked:
        case "summarise" | "combine":
            return summarise(
                prompt.material,
                limits,
                model,
                max_tokens,
                combine=asked == "combine" or len(prompt.material) > 1,
            )
        case "keywords":
            return keywords(prompt.material, limits)
        case "classify":
            return _classified(prompt, model)
        case "extract":
            return _extracted(prompt, model)
        case "answer":
            return answer(_question(prompt), prompt.material, model, limits.items)
        case None:
            raise cannot("tell what to do with this text: the prompt has no instruction that they know")


def _asked(prompt: Prompt) -> Ability | None:
    own = ability(prompt.instruction) if prompt.instruction else None
    question = prompt.question or (prompt.instruction if prompt.instruction.rstrip().endswith("?") else "")
    if question and own in (None, "answer"):
        return _of_question(question)
    if own is None and prompt.system:
        return ability(prompt.system)
    return own


def _of_question(question: str) -> Ability:
    found = ability(question)
    if found in ("classify", "keywords", "summarise"):
        return found
    return "classify" if re.search(r"\bor\b", question) and inline_labels(question) else "answer"


def _question(prompt: Prompt) -> str:
    """Return the question alone, without what is said beside it of how to answer."""
    said = prompt.question or prompt.instruction
    asked = re.search(r"[^.?!:\n]*\?", said)
    return asked.group().strip() if asked else said


def _without_material(asked: Ability | None) -> str:
    if asked == "answer":
        return "answer from their own knowledge: they only quote a text given in the prompt, and this prompt has none"
    if asked is None:
        return "do what this prompt asks"
    return f"{asked}: the prompt has no text to work on"


def _classified(prompt: Prompt, model: Model) -> str:
    labels = labels_in(prompt.instruction) or labels_in(prompt.question) or labels_in(prompt.system)
    if not labels:
        raise cannot(
            "classify without labels: name them in the prompt (“one of: a, b, c”) or as an enum in `response_schema`"
        )
    return classify(prompt.text, labels, model).label.name


def _extracted(prompt: Prompt, model: Model) -> str:
    asked = f"{prompt.instruction}\n{prompt.question}" if prompt.instruction else prompt.system
    schema = named_fields(asked)
    if not schema["properties"]:
        raise cannot(
            "extract without fields: name them in the prompt (“extract the date and the total”) or in `response_schema`"
        )
    found = fill(schema, prompt.material, model, prompt.question)
    if amount(f"{prompt.system}\n{asked}").json:
        return _encoded(found)
    if len(found) == 1:
        return _shown(next(iter(found.values())))
    return "\n".join(f"{name}:{_separator(value)}{_shown(value)}" for name, value in found.items())


def _separator(value: object) -> str:
    return "\n" if isinstance(value, list) and value else " "


def _shown(value: object) -> str:
    if value is None or value == []:
        return "not in the text"
    if isinstance(value, list):
        return "\n".join(f"- {item if isinstance(item, str) else _encoded(item)}" for item in value)
    return value if isinstance(value, str) else _encoded(value)


def _from_results(prompt: Prompt, model: Model) -> str:
    """Answer the user's message from what the tools gave; where no passage fits, quote what they gave."""
    found = answer(prompt.question or prompt.message, prompt.results, model)
    if found != "not in the text":
        return found
    return "\n".join(f"{part.id}: {part.text}" for part in prompt.results)
