"""What the models that AWS serves take, by who made them, read off their ids. No I/O here.

An id is `maker.model-v1:0`, maybe with a region before it (`us.`, `global.`), or an ARN that ends in one. Of a model
that is not known (an application's own profile, a new maker) nothing is assumed but what Converse has for all.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from headgate.llm.asking import Dropping
from headgate.llm.claude import claude_of, thinking_fields
from headgate.ports import ModelRequest

__all__ = ["Family", "effort_fields", "family_of", "takes_schema"]

ID = re.compile(
    r"(?:arn:[^:]+:bedrock:[^:]*:[^:]*:(?:inference-profile|foundation-model)/)?"
    r"(?:(?:us|eu|apac|jp|au|ca|in|global|us-gov)\.)?"
    r"(?P<named>[a-z0-9]+\..+?)(?:-v\d+(?::\d+)?)?"
)
UP_TO_HIGH = {"minimal": "low", "xhigh": "high", "max": "high"}
UP_TO_XHIGH = {"minimal": "low", "max": "xhigh"}
LOW_OR_HIGH = {"minimal": "low", "medium": "high", "xhigh": "high", "max": "high"}
HIGH_ONLY = {"minimal": "high", "low": "high", "medium": "high", "xhigh": "high", "max": "high"}


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of a maker have in common."""

    claude: bool = False
    takes_choice: bool = False
    """It can be told which tools to call."""
    schema: str = ""
    """A pattern of those of its models that are held to a schema."""
    effort: str = ""
    """The field that takes how much to think (`reasoning.effort`: one in another); empty: there is none."""
    efforts: dict[str, str] = {}
    """How much to think in its own words; what is not here stays as it is."""
    takes_sampling: bool = True
    assistant_first: bool = False
    """A conversation may begin with the assistant."""
    results_alone: bool = False
    """Results of tools stand alone in their turn."""
    takes_status: bool = True
    """A result of a tool may say that it went well."""


WIDE = Family(takes_choice=True, assistant_first=True, schema=".")
OTHER = Family()
FAMILIES = (
    ("anthropic", Family(claude=True, takes_choice=True, assistant_first=True, schema=r"(?!.*(opus-4-1|fable-5))")),
    ("amazon", Family(takes_choice=True)),
    ("meta", Family(results_alone=True)),
    ("mistral", Family(results_alone=True, schema="mistral.(magistral-small|ministral-3|mistral-large-3|voxtral)")),
    ("writer", Family(results_alone=True, takes_status=False)),
    ("qwen.qwen3-coder", Family(assistant_first=True, schema=".")),
    ("qwen", Family(assistant_first=True, schema="qwen.qwen3", effort="reasoning_config", efforts=LOW_OR_HIGH)),
    ("google", Family(schema="google.gemma-3-(12|27)b-it")),
    ("minimax", Family(schema="minimax.minimax-m2")),
    ("nvidia", Family(schema="nvidia.nemotron-nano")),
    ("moonshot", WIDE),
    ("zai.glm-5.3", msgspec.structs.replace(WIDE, effort="reasoning_effort", efforts={"minimal": "low"})),
    ("zai", msgspec.structs.replace(WIDE, effort="reasoning_effort", efforts=HIGH_ONLY)),
    ("deepseek.v3.2", Family(effort="reasoning_effort", efforts=HIGH_ONLY)),
    ("openai.gpt-oss", Family(effort="reasoning_effort", efforts=UP_TO_HIGH)),
    ("openai", Family(effort="reasoning.effort", efforts=UP_TO_XHIGH, takes_sampling=False)),
    ("xai", Family(takes_choice=True, effort="reasoning.effort", efforts=UP_TO_XHIGH, takes_sampling=False)),
)
"""By how a model's name begins, the first that fits; as it was found to be on Converse."""


def family_of(model: str) -> Family:
    """Return what is known of a model by its id."""
    named = _named(model)
    return next((family for begin, family in FAMILIES if named.startswith(begin)), OTHER)


def takes_schema(model: str) -> bool:
    """Say whether a model is held to a schema."""
    family = family_of(model)
    if not family.schema or (family.claude and not claude_of(model).takes_schema):
        return False
    return re.match(family.schema, _named(model)) is not None


def effort_fields(model: str, request: ModelRequest, dropping: Dropping) -> dict[str, Any]:
    """Return the fields of the model's own that ask for the effort. Raises `ProviderError` as Claude's do."""
    family = family_of(model)
    if not request.reasoning:
        return {}
    if family.claude:
        fields = thinking_fields(claude_of(model), request, dropping)
        if fields.get("thinking", {}).get("type") == "enabled":  # beside a budget, AWS is not known to take an effort
            fields.pop("output_config", None)
        return fields
    if not family.effort:
        dropping.drop("reasoning")
        return {}
    effort = dropping.effort()
    outer, _, inner = family.effort.partition(".")
    told = family.efforts.get(effort, effort)
    return {outer: {inner: told} if inner else told}


def _named(model: str) -> str:
    """Return an id without its region and version: `anthropic.claude-haiku-4-5-20251001`."""
    found = ID.fullmatch(model)
    return "" if found is None else found["named"]
