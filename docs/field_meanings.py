"""What a field of an event means, where the code does not say it beside the field. Times are microseconds."""

from __future__ import annotations

__all__ = ["meaning"]

ENVELOPE = {
    "run_id": "the run",
    "version": "1, 2, 3… within the run",
    "at": "when: the later of the command's time and the time of the event before",
    "tenant": "whose run it is",
    "trace_id": "the same for all events, log lines and errors of a run",
    "place": "what it is about, such as `fetch`, `fetch@3`, `fetch[17]`; empty for the run as a whole",
    "attempt": "of the place, from 1; 0 where no attempt is meant",
    "build": "reserved: the build that decided",
    "patches": "reserved: patch markers",
    "key_id": "reserved: the key that the content is encrypted with",
}

ANYWHERE = {
    "amount": "nano-dollars",
    "budget": "which budget, as people know it",
    "by": "who",
    "call_id": "the call; the same id again is the same call",
    "child_run": "the id of the child run",
    "code": "why, for programs",
    "cost": "nano-dollars",
    "details": "more of why, for programs",
    "error": "`{code, message, retryable, retry_after_seconds?, details?}`",
    "input_hash": "hash of activity and rendered parameters, secrets replaced by their names",
    "iteration": "0-based, of the innermost loop",
    "key": "the activity it is for; empty: any that waits for it",
    "kind": "what is waited for",
    "labels": "words to filter and to group costs by",
    "limit": "nano-dollars",
    "message": "why, for people",
    "model": "`provider/model`",
    "name": "the signal's name",
    "reason": "why, for people",
    "seconds": "how long it was allowed to run",
    "source": "the place that the edge comes from",
    "started_at": "when the worker took it",
    "unique_key": "no other unfinished or completed run may have it",
    "until": "the time, or null: for ever",
    "usage": "tokens, as the provider reported them",
    "worker": "who reported it",
}

OF_ONE = {
    ("RunStarted", "workflow"): "the workflow's name",
    ("RunStarted", "mode"): "how the run is carried out",
    ("RunStarted", "parent_run"): "of a child run: its parent",
    ("RunStarted", "parent_place"): "the place there that waits for it",
    ("RunStarted", "parent_attempt"): "the attempt of that place",
    ("CancelRequested", "out"): "places whose attempts are waited for, 30 s at most",
    ("ActivitySuspended", "on_timeout"): "what an approval comes to when nobody decides in time",
    ("ActivitySuspended", "child_definition"): "the child's workflow, `name` or `name@version`",
    ("ActivitySuspended", "child_limit"): "the child's own budget in nano-dollars",
    ("FanOutOpened", "count"): "how many items there are",
    ("ActivityResolved", "of"): "see above",
    ("EdgeDecided", "edge"): "the edge's number in the plan",
    ("EdgeDecided", "applied"): "whether all of its conditions were true",
    ("LoopDecided", "loop"): "the loop's number in the plan",
    ("LoopDecided", "again"): "whether it goes round again",
    ("TimerFired", "kind"): "which of the place's timers",
    ("SignalDelivered", "of"): "the version of the `signal_received`; 0: none came in time, and it goes on",
    ("ApprovalDecided", "approved"): "yes or no",
    ("ChildFinished", "status"): "`completed`, `failed` or `cancelled`",
    ("ChildCorrected", "of"): "the version of the child's event that changed what it cost",
    ("ChildCorrected", "amount"): "nano-dollars that came to it; below 0: that it turned out to cost less",
    ("EffectBegun", "what"): "what is about to be done, for people",
    ("MessageDelivered", "message"): "the message's id, the same however often it is derived",
    ("CallRequested", "request_hash"): "hash of what is asked, and of whom",
    ("CallReused", "request_hash"): "hash of what was asked, and of whom",
    ("CallRequested", "candidates"): "models in order of preference, with price and worst case",
    ("CallAdmitted", "reservation"): "nano-dollars: the call's worst case",
    ("CallAdmitted", "price"): "nano-dollars per million tokens, as they were then",
    ("CallWaiting", "needed"): "nano-dollars: the call's worst case",
    ("CallWaiting", "reserved"): "nano-dollars that others have reserved there",
    ("CallWaiting", "limit"): "of one that asks: the limit asked about, in nano-dollars",
    ("CallWaiting", "left"): "of one that asks: what is left of it, in nano-dollars",
    ("BudgetRaised", "was"): "what it was before, in nano-dollars",
    ("BudgetAlert", "spent"): "nano-dollars",
    ("BudgetAlert", "percent"): "how much of the limit was to be told of; 100: it is passed",
    ("BudgetFreed", "over"): "as in `call_requested`",
    ("CallSettled", "outcome"): "`used`, `never_sent`, or `lost`: nobody knows",
    ("BudgetOverrun", "spent"): "nano-dollars",
}


def meaning(event: str, field: str) -> str:
    """Return what the field means. Raises `KeyError` for a field that nobody has described yet: do it here."""
    if event == "Event":
        return ENVELOPE[field]
    return OF_ONE.get((event, field)) or ANYWHERE[field]
