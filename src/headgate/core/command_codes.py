"""What commands and requests are answered with, by what the caller should do about it."""

from __future__ import annotations

from headgate.core.code import Code, codes_of

__all__ = ["COMMAND_CODES"]

COMMAND_CODES: tuple[Code, ...] = (
    *codes_of(
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
        (
            "command_id_reused",
            "an `Idempotency-Key` (or `command_id`) was used before, for something else",
            "Take a new key for what is new; the old one is for repeats only.",
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
    *codes_of(
        "Refused",
        "",
        (
            "over_quota",
            "the tenant has used up what it may use: runs, starts, money, storage or streams",
            "The message says which, how much and when there is room; `headgate tenant show NAME` shows it all.",
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
        ("method_not_allowed", "the address does not take this method", "`/api/v1/docs` lists what each takes."),
        (
            "stale_attempt",
            "a report for an attempt that is no longer the current one",
            "Discard the result: the message says whether another worker has taken it, or its run was cancelled.",
        ),
        (
            "already_there",
            "a run of this id or unique key, or an answer to this command, is recorded already",
            "Use the run that is named; a failed or cancelled run frees its key.",
        ),
        (
            "pooler_shares_sessions",
            "a pooler before PostgreSQL gives each transaction another session",
            "Set `pool_mode = session` for this database in PgBouncer, or name the server itself.",
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
            "unique_key_held",
            "a start's unique key belongs to another run, live or completed",
            "Look at that run; over HTTP `reuse: true` answers with it. A run that failed or was cancelled frees it.",
        ),
        (
            "refused",
            "not possible as things stand: too late to cancel, say",
            "Look at the run with `headgate show RUN`, and do what the message says first.",
        ),
    ),
    *codes_of(
        "Unavailable",
        "",
        (
            "internal_error",
            "a fault of Headgate's own, met over HTTP",
            "The server's log has more of it, under the id that the message names. Please report it.",
        ),
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
            "database_read_only",
            "the PostgreSQL server that answers is a standby, or was set read-only",
            "Promote it, or name the primary; an address that names both finds it. Nodes that run wait for it.",
        ),
        (
            "pool_too_small",
            "a pooler before PostgreSQL has fewer sessions than a node needs",
            "Give it as many as the message says for each node (`default_pool_size` of PgBouncer).",
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
)
