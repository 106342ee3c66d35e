"""The SQL of the stores."""

from __future__ import annotations

from headgate.named_sql import named_sql

__all__ = ["load_queries"]


def load_queries(file_name: str) -> dict[str, str]:
    """Return the statements of a `.sql` file of this folder by name."""
    return named_sql("headgate.stores", file_name)
