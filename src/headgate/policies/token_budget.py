"""The caller's half of the policy `token_budget`: a call says how many tokens its answer may have at most.

The limits themselves are kept by the ledger (`core.token_budget`), which alone knows what other calls take.
"""

from __future__ import annotations

import msgspec

from headgate.core.token_budget import MAX_TOKENS_UNDER_BUDGET
from headgate.ports.policy import Allow, Decision, Modify, PolicyCall

__all__ = ["TokenBudget"]


class TokenBudget:
    """Sets `max_tokens` where nobody has: without it there is no most that a call may use."""

    name = "token_budget"

    def on_request(self, call: PolicyCall) -> Decision:
        if call.purpose == "embedding" or call.request.max_tokens is not None:
            return Allow()
        changed = msgspec.structs.replace(call.request, max_tokens=MAX_TOKENS_UNDER_BUDGET)
        return Modify(changed, "max_tokens was not set", details={"max_tokens": MAX_TOKENS_UNDER_BUDGET})
