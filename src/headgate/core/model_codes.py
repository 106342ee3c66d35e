"""What calls of models fail with, and HTTP requests."""

from __future__ import annotations

from headgate.core.code import Code, codes_of

__all__ = ["MODEL_CODES"]

MODEL_CODES: tuple[Code, ...] = (
    *codes_of(
        "model",
        "no",
        (
            "budget_exceeded",
            "the worst case does not fit beside what is spent; the call was not made",
            "Raise the limit, lower max_tokens, or add a cheaper model to the list.",
        ),
        (
            "unpriced_model",
            "no price is known, so a limit could not be kept; the call was not made",
            "`headgate prices set PROVIDER/MODEL --input … --output …`, or remove the limit.",
        ),
        (
            "reused_answer_gone",
            "the answer of an equal call was promised to the attempt, and is not kept any more",
            "Nothing: the next attempt asks the model.",
        ),
        (
            "policy_denied",
            "a policy denies the call, or what was answered",
            "The message names the policy and its reason; change the request, or the policy.",
        ),
        (
            "policy_failed",
            "a policy raised an error, or is not known to this worker; what is not allowed is denied",
            "Mend the policy, or have it registered where the call is made; then `headgate retry RUN`.",
        ),
        (
            "approval_needed",
            "a policy wants a person to let the call through; the activity waits for that",
            "Look at what is asked: `headgate show RUN`; then `headgate approve RUN` or `headgate reject RUN`.",
        ),
        (
            "rejected",
            "a person did not let the activity do what a policy had asked about",
            "Nothing was done. `headgate retry RUN` asks once more.",
        ),
        ("attempt_over", "the attempt ended while its call waited", "Nothing: the run says how the attempt ended."),
        (
            "quota_exhausted",
            "the account at the provider has no money or quota left",
            "Look at the account, or add another model to the list.",
        ),
        ("context_too_long", "the prompt is longer than the model takes", "Shorten it, or name a larger model."),
        (
            "missing_key",
            "no API key is set for the provider",
            "Set the variable that the message names; `headgate doctor` shows what is set.",
        ),
        ("missing_address", "no address is set for the provider", "Set the variable that the message names."),
        (
            "demo_cannot",
            "the offline demo model has no algorithm for what was asked",
            "Name a real model: `ollama/…` on this machine, or a provider with a key.",
        ),
        (
            "authentication",
            "the provider refused the key",
            "Check the key in the variable that the message names, and that it may use this model.",
        ),
        ("invalid_request", "the provider refused the request", "Its reason stands in the message."),
        ("misconfigured", "the provider is set up wrongly", "The message names the setting."),
        ("unknown_model", "there is no such model", "`headgate prices search NAME` lists names that are known."),
        (
            "unscripted_call",
            "a `scripted/` model was asked more often than its script says",
            "Add an answer to the script, or mend the workflow that asks too often.",
        ),
    ),
    *codes_of(
        "model",
        "yes",
        (
            "invalid_response",
            "the answer does not fit `response_schema`; it was paid for",
            "Say in the prompt what is wanted, raise max_tokens, or name a better model.",
        ),
        (
            "rate_limited",
            "the provider asks to slow down, or its rate here keeps the call waiting for too long",
            "It is tried again when it can be; `headgate limit` shows the rates, `max_parallel` asks for less.",
        ),
        (
            "circuit_open",
            "the model has failed so often of late that it is not asked for a while; the call was not made",
            "It is tried again at the next probe; `headgate limit` says when. Add another provider to the list.",
        ),
        ("provider_unavailable", "the provider failed (5xx)", "It is tried again; add a second model to the list."),
        ("provider_error", "the provider failed in a way that has no name", "Its message says more."),
        (
            "content_filter",
            "the provider's content filter stopped the call",
            "Look at the prompt; another model of the list is asked first.",
        ),
        (
            "missing_capability",
            "the model cannot do what was asked (images, tools, a schema)",
            "Name a model that can; another one of the list is asked first.",
        ),
        ("malformed_response", "the answer cannot be read", "It is tried again; look at the base URL if it stays."),
    ),
    *codes_of(
        "http",
        "yes",
        ("connection_failed", "no connection, or it broke before an answer", "Check address and network."),
        (
            "http_…",
            "the status counts as a failure (`fail_on`); 429 and 5xx are tried again where that is safe",
            "Look at the server's answer in the message; `fail_on: never` takes any status as data.",
        ),
    ),
    *codes_of(
        "http",
        "no",
        (
            "address_refused",
            "the address is private, and the settings do not allow it",
            "Allow it in the settings of the server, or use another address.",
        ),
        ("too_many_redirects", "more redirects than the limit", "Give the address that they lead to."),
        ("response_too_large", "the answer is larger than the limit", "Ask for less, or download it to a file."),
    ),
)
