"""Every error code that people meet: what it means, whether another attempt is made, and what to do about it.

`headgate explain CODE` prints an entry, the reference page of errors is made of them, and a test looks for codes in the
source that are missing here.
"""

from __future__ import annotations

import msgspec

__all__ = ["APPROVAL_NEEDED", "CODES", "POLICY_DENIED", "POLICY_FAILED", "Code", "explained"]

POLICY_DENIED = "policy_denied"
POLICY_FAILED = "policy_failed"
APPROVAL_NEEDED = "approval_needed"
"""Codes that several parts of the house must agree on."""


class Code(msgspec.Struct, frozen=True):
    """A code. `kind` is the branch of a command's error (`Invalid`, `Refused`, `Unavailable`), or what of an activity
    failed (`activity`, `model`, `http`, `data`). `again`: whether a further attempt is made where the definition allows
    one; empty for errors of commands."""

    name: str
    kind: str
    again: str
    means: str
    advice: str


def _codes(kind: str, again: str, *entries: tuple[str, str, str]) -> tuple[Code, ...]:
    return tuple(Code(name, kind, again, means, advice) for name, means, advice in entries)


CODES: dict[str, Code] = {
    f"{code.name}": code
    for code in (
        *_codes(
            "Invalid",
            "",
            (
                "invalid_definition",
                "the definition cannot work; `problems` has every fault with line and column",
                "Mend the file where it says; `headgate check FILE` looks again without running anything.",
            ),
            (
                "bad_request",
                "the request cannot be read at all",
                "The message says where it stops being what it should.",
            ),
            (
                "no_such_range",
                "the file has no such part",
                "`Content-Range` says how long it is; ask for what is within.",
            ),
            ("too_large", "the body of a request is longer than is taken", "Send less at once, or as a file."),
            (
                "invalid_input",
                "the run's input is not what the workflow asks for; `problems` has every part",
                "Give what `inputs` of the definition asks for: --input name=value, name=@file, or JSON.",
            ),
            (
                "expression_error",
                "an expression cannot be read, or not be calculated",
                "Look at the place and expression that it names; `headgate state RUN --at N` shows what it could read.",
            ),
            (
                "unknown_secret",
                "a secret that is not set",
                "`headgate secret set NAME` (--tenant says whose) keeps it; then `headgate retry RUN`.",
            ),
            (
                "invalid_scope",
                "a client asks for a scope that it does not have",
                "Ask for those that it has, or make a client with the scope.",
            ),
            (
                "unsupported_grant_type",
                "a way of getting a token that there is not",
                "`/oauth/token` takes `grant_type=client_credentials`.",
            ),
            (
                "seal_broken",
                "a sealed secret is not what was sealed, or stands in the place of another",
                "Nobody but the database's owners can write there: find out who has. Remove it and set it anew.",
            ),
            ("invalid", "anything else that will stay wrong", "Mend the request; asking again changes nothing."),
        ),
        *_codes(
            "Refused",
            "",
            (
                "over_quota",
                "a tenant uses as much as it may: runs, starts, streams, storage",
                "Ask again when the message says; `headgate tenant show NAME` shows what is used.",
            ),
            (
                "not_found",
                "there is no such run, workflow, approval or model",
                "Look at `headgate runs`; an id may be shortened as long as it is the only one that begins so.",
            ),
            (
                "unauthorized",
                "the HTTP server does not know who asks: no token, or one that is not good (any more)",
                "Get a new one from `/oauth/token`; `headgate client list` shows whose credentials are good.",
            ),
            (
                "invalid_client",
                "no client or user has this name and this secret or password",
                "Look at both; `headgate client rotate NAME` makes a new secret.",
            ),
            (
                "forbidden",
                "the HTTP server does not answer this caller",
                "The message says why: a scope that is missing, another machine, another run.",
            ),
            (
                "rate_limit_exceeded",
                "somebody asks too often, or has failed to log in too often",
                "Ask again after the seconds of `Retry-After`.",
            ),
            (
                "over_quota",
                "the tenant has used up what it may use: runs, starts, money, storage or streams",
                "The message says which, how much and when there is room; `headgate tenant show NAME` shows it all.",
            ),
            ("method_not_allowed", "the address does not take this method", "`/api/v1/docs` lists what each takes."),
            (
                "stale_attempt",
                "a report for an attempt that is no longer the current one",
                "Discard the result: another worker has taken or settled it.",
            ),
            (
                "already_there",
                "a run of this id or unique key, or an answer to this command, is recorded already",
                "Use the run that is named; a failed or cancelled run frees its key.",
            ),
            (
                "database_too_new",
                "the file was written by a newer Headgate; nothing was changed",
                "Upgrade Headgate, or name another file with --db.",
            ),
            (
                "not_an_approver",
                "the approval names who may decide it, and this is somebody else",
                "One of those named decides: `--by NAME`, or logged in as that person.",
            ),
            (
                "bad_signature",
                "there is no such hook, or a request to it is not signed as it wants it",
                "`headgate hooks list` shows its scheme; sign with its secret, and with a clock that is right.",
            ),
            (
                "bad_link",
                "a link to an approval was not made here, was changed, or has expired",
                "Decide with `headgate approve RUN`, or where you are logged in.",
            ),
            (
                "refused",
                "not possible as things stand: too late to cancel, a unique key that is taken",
                "Look at the run with `headgate show RUN`, and do what the message says first.",
            ),
        ),
        *_codes(
            "Unavailable",
            "",
            (
                "server_away",
                "no server of Headgate's answers at this address",
                "Is `headgate serve` (or `dev`) running there? What was asked may be done, and is not done twice.",
            ),
            (
                "undelivered",
                "a webhook or a notice did not arrive",
                "`headgate webhooks test ID` says why; it is tried again by itself.",
            ),
            (
                "unavailable",
                "the log cannot be written (a full disk, a read-only folder), or a line is full",
                "Nothing is lost. Free some space or wait a moment, then ask again.",
            ),
            (
                "commit_unknown",
                "PostgreSQL went away with a commit and did not come back: it may or may not be written",
                "When it is back, ask again under the same id: what was written is not done twice.",
            ),
            (
                "owned",
                "another process owns this database and does not answer",
                "Wait for it, or end it; its process id stands in the message.",
            ),
            (
                "owner_gone",
                "the process that owned the database went away while it was asked",
                "Ask again: the next command takes over, and every run goes on.",
            ),
            (
                "wrong_key",
                "what is sealed was sealed with a key that this process does not have",
                "Add the key that is named to `HEADGATE_KEY`, behind the present one and a comma.",
            ),
            (
                "reader_too_slow",
                "more waits for a reader of a stream than is kept for one",
                "Watch again from the last position (`resume`): what is still there follows, the rest is a gap.",
            ),
        ),
        *_codes(
            "activity",
            "yes",
            (
                "activity_error",
                "the activity's code raised an exception",
                "Its message and traceback stand in `headgate show RUN`; mend the code, then `headgate retry RUN`.",
            ),
            (
                "script_error",
                "a script raised an exception",
                "The traceback names the line; mend it, then run again or `headgate retry RUN`.",
            ),
            (
                "script_killed",
                "a script's process ended without a result",
                "Somebody killed it, or it ended itself; look at its output in the message.",
            ),
            (
                "timed_out",
                "the attempt took longer than `timeout_seconds`; of a signal, an approval, a run: nobody came in time",
                "Raise the time, or make the work smaller (for_each); `on_timeout` says what a late answer means.",
            ),
        ),
        *_codes(
            "activity",
            "no",
            (
                "worker_lost",
                "five times the process that worked on it was lost",
                "Look at what it does to its process (memory?), then `headgate retry RUN`.",
            ),
            ("cancelled", "the attempt was stopped", "Somebody cancelled the run; `headgate retry RUN` goes on."),
            (
                "invalid_parameters",
                "the parameters are not what the activity takes",
                "The message names the parameter; mend the definition.",
            ),
            (
                "invalid_output",
                "the output is not JSON (NaN, a foreign object)",
                "Return numbers, texts, lists, maps; turn anything else into them first.",
            ),
            (
                "unknown_activity",
                "no worker has an activity of this name",
                "Give its module with --activities, or mend the name.",
            ),
            (
                "not_for_tenants",
                "the activity would reach into the server's own files, in a run of another tenant than the default one",
                "Let a worker of the tenant's own do it: give the activity a queue of its own.",
            ),
            (
                "outcome_unknown",
                "something left that must not be done twice, and nobody knows what became of it",
                "Look at the other side whether it was done. `headgate retry RUN` does it once more.",
            ),
        ),
        *_codes(
            "activity",
            "no",
            (
                "collection_differs",
                "the collection holds vectors of another model, or of another length",
                "Use the model that the message names, another collection, or `replace: true`.",
            ),
            ("collection_full", "the collection has as many items as it may", "Use several collections."),
            ("no_such_collection", "nothing was indexed under this name", "Make it with `vector_index` first."),
            ("conversation_full", "the conversation has as many turns as it may", "Begin another one."),
            (
                "document_damaged",
                "the document cannot be read as what it says it is",
                "Look at the file; save it anew.",
            ),
            ("document_empty", "the document has no text", "A scanned one needs text recognition first."),
            ("document_encrypted", "the document has a password", "Save a copy without one."),
            ("document_too_large", "the document is larger than the limit", "Divide it."),
            ("unknown_media_type", "nobody can read this kind of document", "Convert it, or set `media_type`."),
            ("file_missing", "the file is not there, or cannot be read", "Look at the path, or store the file again."),
            (
                "missing_extra",
                "this needs packages that are not installed",
                "Install the extra that the message names.",
            ),
            ("store_broken", "a file of the state folder cannot be used", "The message has SQLite's reason."),
            ("store_too_new", "a file of the state folder was written by a newer Headgate", "Upgrade Headgate."),
        ),
        *_codes(
            "activity",
            "yes",
            ("empty_summary", "the model gave no summary; it was paid for", "Raise max_tokens, or name another model."),
            (
                "invalid_embedding",
                "the model gave no usable vector",
                "It is tried again; name another model if it stays.",
            ),
            ("store_busy", "another process writes to a file of the state folder", "It is tried again."),
            ("store_full", "the disk of the state folder is full", "Free some space; it is tried again."),
        ),
        *_codes(
            "activity",
            "no",
            ("script_memory", "a script needed more memory than it may have", "Work in parts, or raise its limit."),
            ("script_cpu", "a script used up its processor time", "Work in parts (for_each), or raise its limit."),
            ("script_printed", "a script printed more than it may", "Return results in OUTPUT; print less."),
            ("script_output", "OUTPUT is not JSON, or too large", "Return less, or a frame, which passes as a file."),
            (
                "script_closed",
                "a script closed the channel of its result",
                "Do not close descriptors that you did not open.",
            ),
            ("script_unsupported", "scripts need a POSIX system", "Use Linux or macOS, or WSL on Windows."),
            (
                "frame_missing",
                "the file of a frame is not kept any more",
                "Run again what made it: `headgate retry RUN`.",
            ),
            ("not_text", "a file is not text of this encoding", "Read it with `as: base64` or as a file value."),
            ("not_json", "a file is not JSON", "Mend the file, or read it as text."),
            ("file_too_large", "a file is larger than the limit", "Divide it."),
            (
                "file_exists",
                "a file of this name is there already, with other content",
                "Name another, or `if_exists: replace`.",
            ),
            ("run_failed", "the run did not complete", "Its error and code say why: `headgate show RUN`."),
        ),
        *_codes(
            "activity",
            "yes",
            (
                "script_start",
                "no process could be started for a script",
                "Look at the machine's limits (processes, memory).",
            ),
            ("file_not_kept", "a file cannot be written", "Look at the disk and the folder; it is tried again."),
            ("unwritable", "a file cannot be written", "Look at the disk and the folder."),
        ),
        *_codes(
            "data",
            "no",
            (
                "query_failed",
                "the database refused the statement; nothing of it was kept",
                "Its reason stands in the message, with PostgreSQL's SQLSTATE.",
            ),
            (
                "result_too_large",
                "the result has more rows or bytes than the limit",
                "Add a limit, or page through it.",
            ),
            (
                "mail_refused",
                "the mail server refused the mail; it was not sent",
                "Its reason stands in the message; with 4xx it is tried again.",
            ),
        ),
        *_codes(
            "data",
            "yes",
            ("database_unavailable", "no connection to the database; nothing was done", "Look at address and server."),
            ("database_busy", "another process writes to the SQLite file", "It is tried again."),
            ("mail_unavailable", "no connection to the mail server; nothing was sent", "Look at smtp_url and server."),
        ),
        *_codes(
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
        *_codes(
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
        *_codes(
            "http",
            "yes",
            ("connection_failed", "no connection, or it broke before an answer", "Check address and network."),
            (
                "http_…",
                "the status counts as a failure (`fail_on`); 429 and 5xx are tried again where that is safe",
                "Look at the server's answer in the message; `fail_on: never` takes any status as data.",
            ),
        ),
        *_codes(
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
}


def explained(name: str) -> Code | None:
    """Return what is known of a code; `http_404` and its like are one."""
    if name.startswith("http_") and name[5:].isdigit():
        return CODES["http_…"]
    return CODES.get(name)
