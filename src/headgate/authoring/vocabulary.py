"""Every key that a definition file may hold, in one place: what reads files and what describes them use
these tables.

A key has one canonical name; `same_as` names it for the short form and for aliases. A key that is
`not_yet` built is known here so that it is refused by name, with advice, and never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

__all__ = [
    "ACTIVITIES_NOT_YET",
    "ACTIVITY",
    "BUDGET",
    "BUDGET_ACTIONS",
    "CACHE",
    "DEPENDENCY",
    "INPUT",
    "KEYWORDS",
    "NOTIFY",
    "NOTIFY_ON",
    "OTHER_WORDS",
    "OUTPUT",
    "OUTPUT_TYPES_NOT_YET",
    "PARAMETERS_NOT_YET",
    "PII_KINDS",
    "POLICIES",
    "POLICY",
    "PROVIDERS",
    "RESERVED",
    "RETRY",
    "SETTINGS",
    "SIGNAL_WAIT",
    "STREAMING",
    "SUB_WORKFLOW",
    "WORKFLOW",
    "WORKFLOW_SETTINGS",
    "Key",
    "Table",
]


class Key(msgspec.Struct, frozen=True):
    """A key: what it may hold (in words), what it means, and the canonical key that it stands for."""

    name: str
    holds: str
    about: str
    same_as: str = ""
    not_yet: str = ""
    """Why it is refused today, and what to do instead; empty: it works."""

    @property
    def canonical(self) -> str:
        return self.same_as or self.name


Table = dict[str, Key]


def _table(keys: Iterable[Key]) -> Table:
    return {key.name: key for key in keys}


def _not_yet(name: str, about: str, instead: str = "Remove it for now.") -> Key:
    return Key(name, "anything", about, not_yet=instead)


SETTINGS = _table(
    (
        Key("timeout_seconds", "seconds", "how long one attempt may take"),
        Key("timeout", "duration", "how long one attempt may take", same_as="timeout_seconds"),
        Key("retry", "number of attempts, or map", "how often it is attempted in all, and with which pauses"),
        Key("budget", "US dollars, or map", "what all attempts and iterations may cost together"),
        Key("delay", "duration or template", "a pause before every iteration"),
        Key("scheduled_for", "RFC 3339 time or template", "not before this time; not with delay"),
        Key("wait_for_signal", "name or map", "runs only after this signal"),
        Key("wait_for", "name or map", "runs only after this signal", same_as="wait_for_signal"),
        Key("on_failure", "fail or continue", "whether its failure fails the run"),
        Key("iteration_scoped", "true or false", "keep the outputs of every iteration"),
        Key("iteration_limit", "whole number", "how often its loop goes round at most"),
        Key("streaming", "true, false or map", "stream the tokens of its answer"),
        Key("cache", "true, false or map", "reuse an earlier result of the same call"),
        Key("cache_ttl", "seconds or duration", "how long a cached result holds; it turns the cache on"),
        Key("policies", "list of names or maps", "what its model calls go through, after the workflow's"),
        Key("trusted", "true or false", "whether what it returns is to be trusted, where its kind says otherwise"),
        _not_yet("effect", "whether it may safely run twice", "Use `retry: 1` for what may run only once."),
        _not_yet("rate_limit", "how often it may run in a time", "Use `delay` or `max_parallel` meanwhile."),
        _not_yet("priority", "which tasks go first"),
        _not_yet("concurrency_key", "which tasks exclude each other", "Use `max_parallel` meanwhile."),
    )
)

ACTIVITY = _table(
    (
        Key("key", "name", "unique in the workflow; not in a map of activities, whose keys these are"),
        Key("worker", "queue name", "who runs it: std has the built-in activities, py-std Python scripts"),
        Key("queue", "queue name", "who runs it", same_as="worker"),
        Key("activity_name", "name", "what runs"),
        Key("use", "name", "what runs; the queue follows from it", same_as="activity_name"),
        Key("parameters", "map of templates", "what it is given"),
        Key("with", "map of templates", "what it is given", same_as="parameters"),
        Key("outputs", "list of names or of {name, type}", "its outputs by name"),
        Key("depends_on", "list of keys or of {activity_key, conditions}", "what must be over before it"),
        Key(
            "after",
            "list of keys or of {activity_key, conditions}",
            "what must be over before it",
            "depends_on",
        ),
        Key("dependency_of", "list of keys or of {activity_key, conditions}", "what waits for it"),
        Key("settings", "map", "the settings, which may also stand directly at the activity"),
        Key("when", "condition", "skipped where it is not true"),
        Key("for_each", "list or template of one", "runs once for each item, as ITEM and INDEX"),
        Key("max_parallel", "whole number", "how many items of for_each run at a time"),
        Key("join", "default, all or any", "how many of its dependencies must apply"),
        Key("workflow", "name or map", "runs another workflow with its parameters as input"),
        _not_yet(
            "compensate",
            "what undoes it when the run fails later",
            "Use a dependency with a condition on `status`.",
        ),
        *SETTINGS.values(),
    )
)

WORKFLOW_SETTINGS = _table(
    (
        Key(
            "timeout_seconds",
            "seconds",
            "how long one attempt of an activity may take, where it does not say",
        ),
        Key("timeout", "duration", "the same", same_as="timeout_seconds"),
        Key("max_retries", "whole number", "attempts after the first, for activities without retry"),
        Key("retry", "number of attempts, or map", "attempts of activities without retry"),
        Key("budget", "US dollars, or map", "what the whole run may cost"),
    )
)

WORKFLOW = _table(
    (
        Key("name", "name", "the workflow's name"),
        Key("description", "text", "what it is for"),
        Key("activities", "map, or list", "what is done"),
        Key("inputs", "map of types or of {type, required, default, enum}", "what a run is given"),
        Key("outputs", "map of templates", "what a run returns"),
        Key("budget", "US dollars, or map", "what the whole run may cost"),
        Key("timeout_seconds", "seconds", "how long the whole run may take"),
        Key("timeout", "duration", "how long the whole run may take", same_as="timeout_seconds"),
        Key("labels", "map of texts", "words to filter and to group costs by"),
        Key("settings", "map", "defaults for the activities, and the run's budget"),
        Key("policies", "list of names or maps", "what every model call goes through, in this order"),
        Key("notify", "map", "who is told when a run fails, waits for somebody, or has news of its budget"),
        Key("scrub", "input", "cuts personal data and secrets out of the input before anything is stored"),
        _not_yet(
            "version",
            "a label for people",
            "The version of a workflow is the hash of its content; a name for it can stand in `labels`.",
        ),
    )
)

RETRY = _table(
    (
        Key("max_attempts", "whole number", "attempts in all"),
        Key("strategy", "exponential or fixed", "how the pauses grow"),
        Key("base_seconds", "seconds", "the first pause"),
        Key("factor", "number", "what each further pause is multiplied by"),
        Key("max_seconds", "seconds", "the longest pause"),
    )
)

BUDGET = _table(
    (
        Key("limit", "US dollars", "what may be spent"),
        Key("action", "abort, alert, fallback or ask", "what happens to a call that does not fit"),
    )
)

CACHE = _table(
    (
        Key("enabled", "true or false", "whether results are reused"),
        Key("ttl", "seconds or duration", "how long a result holds; an hour where nothing is said", "ttl_seconds"),
        Key("ttl_seconds", "seconds", "how long a result holds"),
        Key("key", "list of templates", "what makes two calls the same; without it, the parameters do"),
        Key("mode", "exact", "equal calls count as the same"),
        _not_yet("threshold", "how similar two calls must be", "Equal calls share a result."),
    )
)

SIGNAL_WAIT = _table(
    (
        Key("event_name", "name", "the signal"),
        Key("timeout_seconds", "seconds", "how long it waits"),
        Key("timeout", "duration", "how long it waits", same_as="timeout_seconds"),
        Key("on_timeout", "fail, skip or continue", "what happens when none came"),
    )
)

DEPENDENCY = _table(
    (
        Key("activity_key", "key", "the other activity"),
        Key("conditions", "condition or list of conditions", "all must be true"),
        Key("condition", "condition or list of conditions", "all must be true", same_as="conditions"),
    )
)

OUTPUT = _table(
    (
        Key("name", "name", "the output's name"),
        Key("type", "value or file", "what it is kept as"),
    )
)

INPUT = _table(
    (
        Key("type", "a type", "string, number, integer, boolean, object, array, file or any"),
        Key("required", "true or false", "whether a run can start without it; false where there is a default"),
        Key("default", "anything", "what it is where nothing is given"),
        Key("description", "text", "what it is for"),
        Key("enum", "list", "the values that it may have"),
        Key("trusted", "true or false", "false: others may have written its text; a file is not trusted anyway"),
    )
)

POLICY = _table(
    (
        Key("use", "name", "the policy: a built-in one, or one of your own as package:policy"),
        Key("dry_run", "true or false", "record what it would do, and do nothing"),
    )
)
"""What every entry under `policies` may say; a policy of one's own takes any other key as an option."""

POLICIES: dict[str, Table] = {
    "pii": _table(
        (
            Key("kinds", "list of kinds", "what is cut out: email, phone, card, iban, ssn, ip; without it, all"),
            Key(
                "restore", "true or false", "whether the answer gets the originals back; it does where nothing is said"
            ),
        )
    ),
    "secrets": _table(
        (Key("restore", "true or false", "whether the answer gets the originals back; it does where nothing is said"),)
    ),
    "injection": _table(
        (
            Key("threshold", "number from 0 to 1", "the score from which on it acts"),
            Key("action", "deny, record or approve", "what happens to a call that scores so high; deny"),
        )
    ),
    "allow_list": _table(
        (
            Key("models", "list of patterns", "which models may be asked, such as openai/*; without it, all"),
            Key("deny", "list of patterns", "which of them may not"),
        )
    ),
    "token_budget": _table(
        (
            Key("call", "whole number", "tokens that one call may take, in and out"),
            Key("activity", "whole number", "tokens that all calls of an activity may take together"),
            Key("run", "whole number", "tokens that all calls of the run may take together"),
        )
    ),
    "rate_limit": _table(
        (
            Key("requests", "whole number", "how many calls may be made in the period"),
            Key("tokens", "whole number", "tokens that calls may take in the period, in and out"),
            Key("money", "US dollars", "what calls may cost in the period"),
            Key("per", "duration", "the period; a minute where nothing is said"),
        )
    ),
    "side_effects": _table(
        (
            Key("after_untrusted", "approve", "a person lets through what a model made of untrusted text; required"),
            Key("also", "list of names or keys", "activities that have effects too, such as script"),
        )
    ),
}
"""The options of each built-in policy."""

PII_KINDS = ("email", "phone", "card", "iban", "ssn", "ip")

NOTIFY = _table(
    (
        Key("on", "list of failed, waiting, budget", "of what; without it, of all three"),
        Key("email", "address, or list of addresses", "by mail; `HEADGATE_SMTP_URL` and `HEADGATE_MAIL_FROM` say how"),
        Key("slack", "name of a secret", "by a message to the Slack incoming webhook whose URL the secret holds"),
        Key("webhook", "URL", "by a POST, as webhooks get it"),
        Key("secret", "name of a secret", "what the POST is signed with (`whsec_…`)"),
    )
)

NOTIFY_ON = ("failed", "waiting", "budget")

SUB_WORKFLOW = _table(
    (
        Key("name", "name", "the other workflow"),
        Key("version", "text", "a version of it; without it the newest"),
        Key("budget", "US dollars", "a limit of its own below this run's"),
        Key("share", "true", "it shares this run's budget (it does where nothing is said)"),
    )
)

STREAMING = _table((Key("enabled", "true or false", "stream the tokens"),))

OTHER_WORDS: dict[str, list[str]] = {}
"""The other words for a canonical key, where there are any."""

for _table_of_keys in (ACTIVITY, CACHE, SIGNAL_WAIT, DEPENDENCY):
    for _key in _table_of_keys.values():
        if _key.same_as and _key.name not in OTHER_WORDS.setdefault(_key.same_as, []):
            OTHER_WORDS[_key.same_as].append(_key.name)

KEYWORDS = frozenset({"INPUT", "SECRET", "WORKFLOW", "ACTIVITY", "SIGNAL", "ITEM", "INDEX", "FILE", "parameters"})
"""The names in expressions that are no activity."""

RESERVED = KEYWORDS | frozenset(
    {
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "elif",
        "endif",
        "for",
        "endfor",
        "set",
        "true",
        "false",
        "none",
        "null",
    }
    | {"True", "False", "None", "AND", "OR", "NOT", "contains", "loop", "range", "self", "super", "caller"}
)
"""What no activity may be called, because an expression could not name it."""

PROVIDERS = frozenset({"openai", "anthropic", "google", "azure", "bedrock", "mistral", "ollama", "scripted", "demo"})

BUDGET_ACTIONS = {
    "abort": "abort",
    "alert": "alert",
    "continue": "alert",
    "warn": "alert",
    "fallback": "fallback",
    "ask": "ask",
}
"""What `action` may say, and what it means: `continue`, `warn` and `alert` are one."""

OUTPUT_TYPES_NOT_YET = frozenset({"folder"})

ACTIVITIES_NOT_YET = frozenset(
    {
        "agent",
        "wasm",
        "mcp_tool",
    }
)

PARAMETERS_NOT_YET = {
    ("http_request", "download_to_file"): "Read `response.body` meanwhile.",
    ("llm_prompt", "documents"): "Give the text of the documents in `prompt` meanwhile.",
}
