"""The file of settings: read before a verb runs, into the environment where that does not say otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from headgate.core.errors import NotFound, Unavailable
from headgate.settings import FILE, FILE_VARIABLE, variables_in

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
    found = variables_in(text, str(path))
    for variable, value in found.items():
        os.environ.setdefault(variable, value)
    return found
