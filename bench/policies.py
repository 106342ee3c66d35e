"""What the chain of policies takes for one prompt of 2 kB, in microseconds of processor time: no engine, no model.

The prompt is a letter as people write them, with some of what is scrubbed in it; all of it counts as untrusted, so
that the score of injections reads all of it too. A new chain is made for each call, as for each attempt, and no two
prompts are the same: nothing is known of one from the one before.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from headgate.core.values import Assignment, Usage
from headgate.policies.guards import PolicyGuards
from headgate.ports import Message, ModelAnswer, ModelRequest, PolicyCall

__all__ = ["measure_policies"]

LETTER = """Dear Ms Okonjo,

thank you for letting us stay in your flat while ours is dried out. A few things that you should know, since
we leave on Sunday 14 March at half past ten and you return on Tuesday, and the two of us will hardly meet.

The plants have been watered, with the exception of the large one by the window, which looked at us in a way
that we took for a no. The tap in the bathroom drips if it is turned to the right. We have not turned it to
the left. The key of the cellar is with Mr Brandt on the third floor, who asks that you ring twice. Please
note that the caretaker must see the meter before the end of the month; he will show you how to read it, and
you need not pay anything for that.

You can reach us at +44 131 496 0188 or under f.lindgren@survey.example. If the insurance asks, our account is
GB26 MIDL 4005 1512 3456 74, and the claim has the number 2026-0117-33. The neighbours were kind; send them
our regards.

"""
PROMPT = (LETTER * 3)[:2_048]
CHAINS = {
    "pii": ["pii"],
    "secrets": ["secrets"],
    "injection": ["injection"],
    "all": ["pii", "secrets", "injection", "allow_list", "token_budget"],
}
OPTIONS: dict[str, dict[str, Any]] = {"allow_list": {"models": ["lab/*"]}, "token_budget": {"run": 100_000}}
CALLS = 300
CALLS_QUICK = 3


def measure_policies(*, quick: bool = False) -> dict[str, Any]:
    """Return the median time of each chain on the way out, and of the whole one on the way back."""
    figures: dict[str, Any] = {"bytes": len(PROMPT.encode())}
    for name, policies in CHAINS.items():
        times = [_call(policies, number) for number in range(CALLS_QUICK if quick else CALLS)]
        figures[f"{name}_request_us"] = round(statistics.median(out for out, _ in times), 1)
        if name == "all":
            figures["all_answer_us"] = round(statistics.median(back for _, back in times), 1)
    return figures


def _call(policies: list[str], number: int) -> tuple[float, float]:
    prompt = f"{number:>4}{PROMPT[4:]}"
    uses = [{"use": name, "options": OPTIONS.get(name, {})} for name in policies]
    settings = {"policies": uses, "placeholder_key": "00" * 32}
    task = Assignment(
        activity_id="c", workflow_id="r", activity_key="a", place="a", activity_name="llm_prompt", settings=settings
    )
    request = ModelRequest(model="", messages=(Message("user", prompt),))
    call = PolicyCall(request=request, models=("lab/m",), untrusted=(prompt,))
    begin = time.thread_time_ns()
    guard = PolicyGuards().guard(task)
    assert guard is not None
    checked = guard.on_request(call)
    between = time.thread_time_ns()
    assert checked.denied is None
    assert isinstance(checked.changed, ModelRequest)
    guard.on_answer(call, ModelAnswer(content=checked.changed.messages[0].content, model="m", usage=Usage()))
    return (between - begin) / 1_000, (time.thread_time_ns() - between) / 1_000
