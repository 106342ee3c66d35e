"""What activities fail with: their own code, scripts, files, documents, databases and mail."""

from __future__ import annotations

from headgate.core.code import Code, codes_of

__all__ = ["ACTIVITY_CODES"]

ACTIVITY_CODES: tuple[Code, ...] = (
    *codes_of(
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
    *codes_of(
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
    *codes_of(
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
    *codes_of(
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
    *codes_of(
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
    *codes_of(
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
    *codes_of(
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
    *codes_of(
        "data",
        "yes",
        ("database_unavailable", "no connection to the database; nothing was done", "Look at address and server."),
        ("database_busy", "another process writes to the SQLite file", "It is tried again."),
        ("mail_unavailable", "no connection to the mail server; nothing was sent", "Look at smtp_url and server."),
    ),
)
