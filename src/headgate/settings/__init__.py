"""Every setting of an installation, what is said of it, and what holds."""

from headgate.settings.reading import (
    Effective,
    all_of,
    checked_environment,
    effective,
    is_on,
    listed,
    problems_in,
    strangers,
    variables_in,
)
from headgate.settings.table import FILE, FILE_VARIABLE, NOT_SETTINGS, SETTINGS, Setting

__all__ = [
    "FILE",
    "FILE_VARIABLE",
    "NOT_SETTINGS",
    "SETTINGS",
    "Effective",
    "Setting",
    "all_of",
    "checked_environment",
    "effective",
    "is_on",
    "listed",
    "problems_in",
    "strangers",
    "variables_in",
]
