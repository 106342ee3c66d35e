"""Every error code that people meet: what it means, whether another attempt is made, and what to do about it.

`headgate explain CODE` prints an entry, the reference page of errors is made of them, and a test looks for codes in the
source that are missing here.
"""

from __future__ import annotations

from headgate.core.activity_codes import ACTIVITY_CODES
from headgate.core.code import Code
from headgate.core.command_codes import COMMAND_CODES
from headgate.core.model_codes import MODEL_CODES

__all__ = ["APPROVAL_NEEDED", "CODES", "POLICY_DENIED", "POLICY_FAILED", "explained"]

POLICY_DENIED = "policy_denied"
POLICY_FAILED = "policy_failed"
APPROVAL_NEEDED = "approval_needed"
"""Codes that several parts of the house must agree on."""

CODES: dict[str, Code] = {code.name: code for code in (*COMMAND_CODES, *ACTIVITY_CODES, *MODEL_CODES)}


def explained(name: str) -> Code | None:
    """Return what is known of a code; `http_404` and its like are one."""
    if name.startswith("http_") and name[5:].isdigit():
        return CODES["http_…"]
    return CODES.get(name)
