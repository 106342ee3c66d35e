"""Libraries that only scripts import. Importing them to see whether they are there would cost each run of the tests a
hundred megabytes, for good."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

__all__ = ["need"]


def need(*names: str) -> None:
    """Skip the test where one of these is not installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
