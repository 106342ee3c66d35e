"""The chain of policies: their order, what each is given, what is recorded, and that nothing passes by accident."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from headgate.core.errors import Invalid
from headgate.core.values import Assignment, Usage, Verdict
from headgate.policies.allow_list import AllowList
from headgate.policies.chain import Chain, Link
from headgate.policies.guards import PolicyGuards, process_policies
from headgate.policies.own import made_policy
from headgate.policies.token_budget import MAX_TOKENS_UNDER_BUDGET, TokenBudget
from headgate.ports import Allow, Attempt, Decision, Deny, Message, ModelAnswer, ModelRequest, Modify, PolicyCall

REQUEST = ModelRequest(model="", messages=(Message("user", "a"),))
CALL = PolicyCall(request=REQUEST, models=("lab/one", "lab/two"))
ANSWER = ModelAnswer(content="z", model="one", usage=Usage())


@dataclass
class Writes:
    """Adds its letter to what is asked and to what is answered, and notes what it was given."""

    name: str
    seen: list[str] = field(default_factory=list)

    def on_request(self, call: PolicyCall) -> Decision:
        self.seen.append(call.text)
        return Modify(msgspec.structs.replace(call.request, messages=(Message("user", call.text + self.name),)))

    def on_answer(self, call: PolicyCall, answer: ModelAnswer) -> Decision:
        self.seen.append(answer.content)
        return Modify(msgspec.structs.replace(answer, content=answer.content + self.name))


class Denies:
    name = "denies"

    def on_request(self, call: PolicyCall) -> Decision:
        return Deny("it is a test", {"score": 1})

    def on_answer(self, call: PolicyCall, answer: ModelAnswer) -> Decision:
        return Deny("it is a test")


class Breaks:
    name = "breaks"

    def on_request(self, call: PolicyCall) -> Decision:
        raise ValueError(f"cannot read {call.text}")


def chain(*policies: Any, dry: tuple[str, ...] = ()) -> Chain:
    return Chain([Link(policy, policy.name in dry) for policy in policies])


def text(changed: Any) -> str:
    return PolicyCall(request=changed, models=()).text


# --- Order and composition ------------------------------------------------------------------------------


def test_each_policy_is_given_what_the_one_before_it_left_and_answers_go_back_the_other_way():
    first, second = Writes("1"), Writes("2")
    guard = chain(first, second)

    asked = guard.on_request(CALL)
    answered = guard.on_answer(CALL, ANSWER)

    assert text(asked.changed) == "a12"
    assert (first.seen, second.seen) == (["a", "z2"], ["a1", "z"])
    assert answered.changed == msgspec.structs.replace(ANSWER, content="z21")
    assert [(v.policy, v.of, v.decision) for v in (*asked.verdicts, *answered.verdicts)] == [
        ("1", "request", "modify"),
        ("2", "request", "modify"),
        ("2", "answer", "modify"),
        ("1", "answer", "modify"),
    ]


def test_the_first_that_denies_ends_the_chain():
    last = Writes("2")

    checked = chain(Writes("1"), Denies(), last).on_request(CALL)

    assert checked.denied == Deny("it is a test", {"score": 1})
    assert text(checked.changed) == "a1"
    assert last.seen == []
    assert checked.verdicts[-1] == Verdict("denies", "deny", "it is a test", details={"score": 1})
    assert checked.verdicts[-1].denies


def test_an_answer_can_be_denied_too():
    checked = chain(Writes("1"), Denies()).on_answer(CALL, ANSWER)

    assert checked.denied is not None
    assert [verdict.of for verdict in checked.verdicts] == ["answer"]


# --- Dry runs and failures ------------------------------------------------------------------------------


def test_a_dry_run_records_what_a_policy_would_do_and_does_nothing():
    checked = chain(Writes("1"), Denies(), Writes("2"), dry=("1", "denies")).on_request(CALL)

    assert checked.denied is None
    assert text(checked.changed) == "a2"
    assert [(v.policy, v.decision, v.dry_run, v.denies) for v in checked.verdicts] == [
        ("1", "modify", True, False),
        ("denies", "deny", True, False),
        ("2", "modify", False, False),
    ]


def test_a_policy_that_raises_has_denied_and_its_words_are_not_recorded():
    checked = chain(Breaks(), Writes("1")).on_request(CALL)

    assert checked.denied is not None
    (verdict,) = checked.verdicts
    assert (verdict.decision, verdict.details) == ("deny", {"failed": "ValueError"})
    assert "cannot read a" not in str(checked)


@pytest.mark.parametrize(
    "wrong",
    [
        "allow",
        Modify(ANSWER),
        Modify("a text"),  # what a user's policy may return
        Modify(models=()),
    ],
)
def test_what_is_no_decision_about_a_request_denies(wrong: Any):
    class Wrong:
        name = "wrong"

        def on_request(self, call: PolicyCall) -> Any:
            return wrong

    checked = chain(Wrong()).on_request(CALL)

    assert checked.denied is not None
    assert checked.verdicts[0].details == {"failed": "TypeError"}


def test_a_broken_policy_in_a_dry_run_stops_nobody():
    checked = chain(Breaks(), Writes("1"), dry=("breaks",)).on_request(CALL)

    assert checked.denied is None
    assert text(checked.changed) == "a1"
    assert (checked.verdicts[0].decision, checked.verdicts[0].dry_run) == ("deny", True)


def test_tokens_are_held_back_while_a_policy_must_see_the_whole_answer():
    held = chain(Writes("1")).text_filter()

    assert held is not None
    assert [held.add("some"), held.add("thing"), held.rest()] == ["", "", ""]


def test_tokens_pass_where_no_policy_minds_answers():
    assert chain(Breaks()).text_filter() is None
    assert chain(Writes("1"), dry=("1",)).text_filter() is None


# --- The allow-list -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        (AllowList(["lab/*"]), ("lab/one", "lab/two")),
        (AllowList(["lab/t*"]), ("lab/two",)),
        (AllowList(deny=["*/two"]), ("lab/one",)),
        (AllowList(["lab/*"], ["lab/o*"]), ("lab/two",)),
        (AllowList(["LAB/*"]), None),
        (AllowList(["lab/*"], ["*"]), None),
    ],
)
def test_an_allow_list_leaves_the_models_that_it_names(policy: AllowList, left: tuple[str, ...] | None):
    checked = chain(policy).on_request(CALL)

    assert (None if checked.denied else checked.models) == left


def test_a_denied_model_is_told_with_what_is_allowed():
    denied = chain(AllowList(["openai/*"], ["openai/gpt-4*"])).on_request(CALL).denied

    assert denied is not None
    assert denied.reason == "lab/one, lab/two may not be asked; it allows openai/* without openai/gpt-4*"


# --- Tokens ---------------------------------------------------------------------------------------------


def test_a_budget_of_tokens_sets_the_most_that_an_answer_may_have_where_nobody_has():
    set_already = msgspec.structs.replace(REQUEST, max_tokens=7)

    changed = chain(TokenBudget()).on_request(CALL).changed
    unchanged = chain(TokenBudget()).on_request(msgspec.structs.replace(CALL, request=set_already)).changed

    assert isinstance(changed, ModelRequest)
    assert changed.max_tokens == MAX_TOKENS_UNDER_BUDGET
    assert unchanged == set_already


# --- One's own ------------------------------------------------------------------------------------------


def shout(call: PolicyCall, word: str = "!") -> ModelRequest | None:
    return msgspec.structs.replace(call.request, messages=(Message("user", call.text + word),)) if word else None


class Limits:
    def __init__(self, letters: int) -> None:
        self.letters = letters

    def on_request(self, call: PolicyCall) -> Decision:
        return Allow() if len(call.text) <= self.letters else Deny("too long")


def test_a_function_is_called_with_its_options_and_what_it_returns_is_asked_instead():
    loud = made_policy("my:shout", shout, {"word": "?"})
    quiet = made_policy("my:shout", shout, {"word": ""})

    assert text(chain(loud).on_request(CALL).changed) == "a?"
    assert chain(quiet).on_request(CALL).verdicts[0] == Verdict("my:shout", "allow")


def test_a_class_is_made_with_its_options():
    assert chain(made_policy("my:Limits", Limits, {"letters": 1})).on_request(CALL).denied is None
    assert chain(made_policy("my:Limits", Limits, {"letters": 0})).on_request(CALL).denied == Deny("too long")


def task(*policies: dict[str, Any]) -> Assignment:
    return Assignment(
        activity_id="c",
        workflow_id="r",
        activity_key="ask",
        place="ask",
        activity_name="llm_prompt",
        settings={"policies": list(policies)},
    )


@pytest.mark.parametrize(
    ("use", "says"),
    [
        ({"use": "my:other"}, "has no policy of the name"),
        ({"use": "my:Limits", "options": {"words": 1}}, "TypeError"),
        ({"use": "my:thing"}, "has no on_request"),
    ],
)
def test_a_policy_that_cannot_be_had_lets_no_call_through(use: dict[str, Any], says: str):
    guards = PolicyGuards({"my:Limits": Limits, "my:thing": object()})

    with pytest.raises(Attempt) as caught:
        guards.guard(task(use))

    assert (caught.value.failure.code, caught.value.failure.retryable) == ("policy_failed", False)
    assert says in caught.value.failure.message


def test_policies_of_the_process_are_named_by_a_variable():
    assert [policy.use for policy in process_policies({"HEADGATE_POLICIES": " my:one ,my:two,, my:one"})] == [
        "my:one",
        "my:two",
    ]
    assert process_policies({}) == ()


@pytest.mark.parametrize(("name", "says"), [("pi", "there is no policy 'pi'"), ("allow_list", "needs options")])
def test_what_cannot_hold_for_a_whole_process_is_refused_at_its_start(name: str, says: str):
    with pytest.raises(Invalid, match=says):
        process_policies({"HEADGATE_POLICIES": name})
