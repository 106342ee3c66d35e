"""Policies in a run: their verdicts, models that are allowed, budgets of tokens."""

from __future__ import annotations

from typing import Any

from tests.engine.policy_lab import asks, ended, only, scripted

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.ports import (
    Decision,
    Deny,
    Message,
    ModelAnswer,
    ModelRequest,
    Modify,
    PolicyCall,
)


class Refuses:
    def on_request(self, call: PolicyCall) -> Decision:
        return Deny(f"{call.activity} of {call.workflow} asks {call.models[0]}", {"length": len(call.text)})


class RefusesAnswers:
    def on_request(self, call: PolicyCall) -> None:
        return None

    def on_answer(self, call: PolicyCall, answer: ModelAnswer) -> Decision:
        return Deny("it says too little")


def polite(call: PolicyCall) -> Decision:
    return Modify(ModelRequest(model="", messages=(Message("user", f"Please: {call.text}"),)), "manners")


def broken(call: PolicyCall) -> Decision:
    raise RuntimeError(call.text)


OWN = {"my:refuses": Refuses, "my:polite": polite, "my:broken": broken, "my:answers": RefusesAnswers}


# --- Verdicts in the log ----------------------------------------------------------------------------------------------


def test_a_denied_call_is_not_made_and_stands_in_the_log_with_its_verdict(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        row, events = await ended(bench, asks("[my:refuses]", "retry: 3"))

        assert (row.head.status, provider.calls) == ("failed", [])
        requested, refused = only(events, g.CallRequested), only(events, g.CallRefused)
        (verdict,) = requested.verdicts
        assert (verdict.policy, verdict.decision, verdict.details) == ("my:refuses", "deny", {"length": 14})
        assert (refused.code, [c.model for c in requested.candidates]) == ("policy_denied", ["scripted/m"])
        failed = only(events, e.ActivityFailed)  # and no second attempt
        assert failed.code == "policy_denied"
        assert "ask of asks asks scripted/m" in failed.message

    play(scene, scripted=provider, policies=OWN)


def test_what_a_policy_changes_is_what_is_asked(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        row, events = await ended(bench, asks("[my:polite]"))

        assert row.head.status == "completed"
        assert provider.calls[0].messages[0].content == "Please: Explain tides."
        assert only(events, g.CallRequested).verdicts[0].reason == "manners"

    play(scene, scripted=provider, policies=OWN)


def test_a_denied_answer_is_paid_for_and_not_used(play: Any):
    async def scene(bench: Any) -> None:
        _, events = await ended(bench, asks("[my:answers]"))

        settled = only(events, g.CallSettled)
        assert (settled.outcome, settled.verdicts[0].decision, settled.verdicts[0].of) == ("used", "deny", "answer")
        failed = only(events, e.ActivityFailed)
        assert (failed.code, "it says too little" in failed.message) == ("policy_denied", True)

    play(scene, scripted=scripted(), policies=OWN)


def test_a_policy_that_raises_lets_no_call_through_and_its_words_are_nowhere(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(asks("[my:broken]"), {"what": "xyzzy"})
        await bench.finished(run_id)

        events = await bench.events(run_id)
        assert only(events, e.ActivityFailed).code == only(events, g.CallRefused).code == "policy_failed"
        assert provider.calls == []
        assert b"RuntimeError" in await bench.stored(run_id)
        assert (await bench.stored(run_id)).count(b"xyzzy") == 1  # the run's own input

    play(scene, scripted=provider, policies=OWN)


def test_a_policy_that_nobody_has_registered_lets_no_call_through(play: Any):
    async def scene(bench: Any) -> None:
        _, events = await ended(bench, asks("[my:unknown]"))

        assert only(events, e.ActivityFailed).code == "policy_failed"

    play(scene, scripted=scripted(), policies=OWN)


def test_a_dry_run_only_records(play: Any):
    async def scene(bench: Any) -> None:
        row, events = await ended(bench, asks("[{use: my:refuses, dry_run: true}]"))

        assert row.head.status == "completed"
        (verdict,) = only(events, g.CallRequested).verdicts
        assert (verdict.decision, verdict.dry_run) == ("deny", True)

    play(scene, scripted=scripted(), policies=OWN)


def test_the_process_comes_first_then_the_workflow_then_the_activity_which_replaces_its_own(play: Any):
    own = {f"my:{name}": (lambda call: None) for name in "abcd"}

    async def scene(bench: Any) -> None:
        definition = asks("[my:b, my:c]", "policies: [my:d, {use: my:b, dry_run: true}]")
        _, events = await ended(bench, definition)

        verdicts = only(events, g.CallRequested).verdicts
        assert [(v.policy, v.dry_run) for v in verdicts] == [
            ("my:a", False),
            ("my:b", True),
            ("my:c", False),
            ("my:d", False),
        ]

    play(scene, scripted=scripted(), policies=own, environment={"HEADGATE_POLICIES": "my:a"})


def test_embeddings_go_through_policies_text_by_text(play: Any):
    provider = scripted(e=[{"embeddings": [[1.0], [2.0]]}])

    def shout(call: PolicyCall) -> ModelRequest:
        assert call.purpose == "embedding"
        texts = tuple(Message("user", message.content.upper()) for message in call.request.messages)
        return ModelRequest(model="", messages=texts)

    async def scene(bench: Any) -> None:
        definition = (
            "name: v\npolicies: [my:s]\nactivities:\n  e: {use: embedding, with: {model: scripted/e, input: [a, b]}}"
        )
        row, _ = await ended(bench, definition)

        assert row.head.status == "completed"
        assert provider.calls[0].extra == {"input": ["A", "B"]}

    play(scene, scripted=provider, policies={"my:s": shout})


def test_results_are_not_shared_with_those_that_went_through_other_policies(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        for policies in ("[]", "[my:polite]", "[my:polite]"):
            await ended(bench, asks(policies, "cache: true"))

        assert len(provider.calls) == 2

    play(scene, scripted=provider, policies=OWN)


# --- The allow-list ---------------------------------------------------------------------------------------------------


def test_models_that_are_not_allowed_are_passed_over_and_the_log_says_so(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        models = "[scripted/m, scripted/n]"
        row, events = await ended(bench, asks("[{use: allow_list, models: [scripted/n]}]", model=models))

        assert row.head.status == "completed"
        assert [call.model for call in provider.calls] == ["n"]
        skipped = only(events, g.ModelSkipped)
        assert (skipped.model, skipped.reason) == ("scripted/m", "a policy does not allow it")

    play(scene, scripted=provider)


# --- Tokens -----------------------------------------------------------------------------------------------------------


TWICE = """
name: twice
policies: [{use: token_budget, run: 90}]
activities:
  first: {use: llm_prompt, with: {model: scripted/m, prompt: hello, max_tokens: 60}}
  second: {use: llm_prompt, after: [first], with: {model: scripted/m, prompt: hello, max_tokens: 60}}
"""


def test_what_calls_have_used_counts_against_the_tokens_of_the_run(play: Any):
    provider = scripted(m=[{"text": "x", "usage": {"input_tokens": 10, "output_tokens": 15}}] * 2)

    async def scene(bench: Any) -> None:
        row, events = await ended(bench, TWICE)

        assert (row.head.status, len(provider.calls)) == ("failed", 1)
        refused = only(events, g.CallRefused)
        assert refused.code == "policy_denied"
        assert "65 are left of the 90 of the run" in refused.message

    play(scene, scripted=provider)


def test_what_open_calls_may_still_take_makes_others_wait_and_no_admission_goes_above(play: Any):
    provider = scripted(m=[{"text": "x", "usage": {"input_tokens": 1, "output_tokens": 1}, "delay": 0.001}] * 9)
    definition = """
name: many
policies: [{use: token_budget, activity: 150}]
activities:
  each:
    use: llm_prompt
    for_each: [1, 2, 3, 4, 5, 6]
    with: {model: scripted/m, prompt: "{{ITEM}}", max_tokens: 100}
"""

    async def scene(bench: Any) -> None:
        row, events = await ended(bench, definition)

        assert row.head.status == "completed"
        open_, most = 0, 0
        for event in events:
            open_ += isinstance(event, g.CallAdmitted)
            open_ -= isinstance(event, g.CallSettled)
            most = max(most, open_)
        assert most == 1
        waiting = [event for event in events if isinstance(event, g.CallWaiting)]
        assert waiting[0].budget == "tokens of activity 'each'"

    play(scene, scripted=provider)


def test_one_call_may_not_take_more_than_its_limit_and_the_next_model_is_asked_no_more_than_the_first(play: Any):
    async def scene(bench: Any) -> None:
        _, events = await ended(bench, asks("[{use: token_budget, call: 100}]"))

        requested = only(events, g.CallRequested)
        assert requested.candidates[0].output_tokens == 1024  # nobody had set max_tokens
        assert only(events, e.ActivityFailed).code == "policy_denied"

    play(scene, scripted=scripted())


def test_a_budget_of_tokens_in_a_dry_run_admits_with_an_alert(play: Any):
    async def scene(bench: Any) -> None:
        row, events = await ended(bench, asks("[{use: token_budget, call: 1, dry_run: true}]"))

        assert row.head.status == "completed"
        assert "of one call" in only(events, g.CallAdmitted).alert

    play(scene, scripted=scripted())
