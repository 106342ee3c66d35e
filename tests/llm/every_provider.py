"""What tests of all providers ask them."""

from __future__ import annotations

import pytest
from tests.llm.fakes.rigs import KINDS

from headgate.ports import Message, ModelRequest

QUESTION = ModelRequest(model="m", messages=(Message("user", "Hello"),), max_tokens=20)
EVERY = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
slow = pytest.mark.slow  # talks to a server of its own
