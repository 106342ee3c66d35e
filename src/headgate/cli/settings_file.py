"""The file of settings: read before a verb runs, into the environment where that does not say otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from headgate.core.errors import Invalid, NotFound, Unavailable
from headgate.settings import FILE, FILE_VARIABLE, all_of, problems_in, variables_in

__all__ = ["apply_settings_file", "settings_path"]


def settings_path() -> Path:
    """Return where the settings are: as `HEADGATE_CONFIG` says, else `headgate.toml` in this folder."""
    return Path(os.environ.get(FILE_VARIABLE) or FILE)


def apply_settings_file() -> dict[str, str]:
    """Put what the file says into this process's environment; return it. None is needed but the one that was named.

    Raises `Invalid` with everything that is wrong in it, `NotFound`, `Unavailable`.
    """
    path = settings_path()
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        if os.environ.get(FILE_VARIABLE):
            raise NotFound(f"{FILE_VARIABLE} names {path}, and there is no such file.") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"The settings {path} cannot be read: {error}.") from None
    try:
        found = variables_in(text, str(path))
    except Invalid as error:
        raise _with_the_environment(error) from None
    for variable, value in found.items():
        os.environ.setdefault(variable, value)
    return found


def _with_the_environment(error: Invalid) -> Invalid:
    """Return the error with what is wrong in the environment, too: nobody mends one thing to hear of the next."""
    more = problems_in(os.environ)
    if not more:
        return error
    return Invalid(f"{error.message}\n{all_of(more, 'the environment').message}", (*error.problems, *more))
