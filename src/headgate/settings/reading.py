"""What settings say: in a file, in the environment, and which of it holds.

Whoever needs a setting reads its variable. A file is only another way to say the same: what it says goes into the
environment where that does not say otherwise, so a reader never knows which of the two it was.

    retention = "90d"

    [serve]
    port = 443

    [providers.acme]
    base_url = "https://models.acme.example/v1"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, cast

import msgspec

from headgate.core.addresses import with_masked_query
from headgate.core.duration import parse_microseconds
from headgate.core.errors import Invalid, Problem
from headgate.settings.table import FILE, NOT_SETTINGS, SETTINGS, Holds, Setting

__all__ = [
    "Effective",
    "all_of",
    "checked_environment",
    "effective",
    "is_on",
    "listed",
    "problems_in",
    "strangers",
    "variables_in",
]

MASK = "(set)"
_PASSWORD = re.compile(r"(?<=://)([^\s:@/]*):\S*@")
"""Where addresses hold what is a secret, in settings that are none."""

_NAME = r"([A-Za-z0-9][A-Za-z0-9_-]*)"


class Effective(msgspec.Struct, frozen=True):
    """A setting as it stands. `value` of a secret is only whether it is set."""

    path: str
    variable: str
    value: str
    source: str


# --- The file --------------------------------------------------------------------------------------------------------


def variables_in(text: str, source: str = FILE) -> dict[str, str]:
    """Return what a file says, as variables and their values. Raises `Invalid` with every problem in it."""
    try:
        said = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Invalid(f"{source} is not TOML: {error}.") from None
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for path, value in _leaves(said, ""):
        setting, name = _of_path(path)
        if setting is None:
            problems.append(Problem(f"There is no setting {path!r}.{_near(path, _paths())}", path=path))
            continue
        written = _written(setting, value)
        if isinstance(written, Problem):
            problems.append(msgspec.structs.replace(written, path=path))
        else:
            found[_filled(setting.variable, name.upper().replace("-", "_"))] = written
    if problems:
        raise all_of(problems, source)
    return found


def _leaves(value: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for name, below in value.items():
        path = f"{before}{name}"
        if isinstance(below, dict) and not any(pattern.fullmatch(path) for pattern, _ in _patterns("path")):
            yield from _leaves(cast("dict[str, Any]", below), f"{path}.")
        else:
            yield path, below


def _written(setting: Setting, value: Any) -> str | Problem:
    """Return a value of the file as its variable has it, or what is wrong with it."""
    wrong = Problem(f"{setting.path}: expected {_expected(setting)}, got {_shown(setting, value)}.")
    match value:
        case bool():
            text = "true" if value else "false"
            return text if setting.holds == "true or false" else wrong
        case int() | float() if setting.holds in ("whole number", "seconds"):
            text = f"{value:g}" if isinstance(value, float) else str(value)
        case str() if setting.holds not in ("whole number", "seconds", "true or false"):
            text = value
        case list() if setting.holds == "list" and all(isinstance(one, str) for one in cast("list[Any]", value)):
            text = ",".join(cast("list[str]", value))
        case dict() if setting.path.endswith(".headers"):
            text = msgspec.json.encode(value).decode()
        case _:
            return wrong
    return text if _sound(setting, text) else wrong


# --- The environment -------------------------------------------------------------------------------------------------


def checked_environment(environment: Mapping[str, str]) -> None:
    """Raise `Invalid` with every variable that does not hold what its setting should."""
    if problems := problems_in(environment):
        raise all_of(problems, "the environment")


def problems_in(environment: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong with variables, each by itself."""
    return [
        Problem(f"{variable}: expected {_expected(setting)}, got {_shown(setting, value)}.", path=variable)
        for variable, value in sorted(environment.items())
        if value.strip() and (setting := _of_variable(variable)) is not None and not _sound(setting, value.strip())
    ]


def strangers(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence on each variable that looks like a setting of ours and is none."""
    known = [setting.variable for setting in SETTINGS]
    return [
        f"{variable} is set and means nothing.{_near(variable, known)}"
        for variable in sorted(environment)
        if variable.startswith("HEADGATE_") and variable not in NOT_SETTINGS and _of_variable(variable) is None
    ]


def effective(environment: Mapping[str, str], in_file: Mapping[str, str], source: str = FILE) -> list[Effective]:
    """Return every setting as it stands: what `environment` says, which `in_file` has gone into, or the default."""
    found: list[Effective] = []
    for setting in SETTINGS:
        pattern = _pattern(setting.variable)
        held = sorted(variable for variable in environment if pattern.fullmatch(variable))
        for variable in held or ([] if "NAME" in setting.variable else [setting.variable]):
            value = environment.get(variable, "").strip()
            match = pattern.fullmatch(variable)
            name = match[1].lower() if match and match.groups() else ""
            of_file = value and in_file.get(variable) == environment.get(variable)
            shown = MASK if value and setting.secret else _without_password(value) or setting.default
            says = source if of_file else "environment" if value else "default"
            found.append(Effective(_filled(setting.path, name), variable, shown, says))
    return found


def is_on(environment: Mapping[str, str], variable: str) -> bool:
    """Whether a setting that is true or false is true. Raises `Invalid`."""
    checked_environment({variable: environment.get(variable, "")})
    return environment.get(variable, "").strip().lower() in ("true", "1", "yes")


def listed(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    """Return the parts of a setting that is a list."""
    return tuple(part.strip() for part in environment.get(variable, "").split(",") if part.strip())


# --- What a setting holds --------------------------------------------------------------------------------------------


def _sound(setting: Setting, text: str) -> bool:
    return _SOUND[setting.holds](text) and not (setting.most and int(text) > setting.most)


def _is_duration(text: str) -> bool:
    try:
        parse_microseconds(text)
    except Invalid:
        return text == "forever"
    return True


_SOUND: dict[Holds, Callable[[str], bool]] = {
    "text": bool,
    "list": bool,
    "whole number": lambda text: text.isdecimal() and len(text) < 10,
    "seconds": lambda text: re.fullmatch(r"\d{1,9}(\.\d+)?", text) is not None,
    "duration": _is_duration,
    "true or false": lambda text: text.lower() in ("true", "false", "1", "0", "yes", "no"),
    "URL": lambda text: re.fullmatch(r"https?://[^\s/]+\S*", text) is not None,
}


def _expected(setting: Setting) -> str:
    kinds: dict[Holds, str] = {
        "text": "a text",
        "list": "a list of texts",
        "whole number": f"a whole number{f' up to {setting.most}' if setting.most else ''}",
        "seconds": "seconds",
        "duration": "a duration such as 30d, or forever",
        "true or false": "true or false",
        "URL": "an address such as https://example.org",
    }
    return kinds[setting.holds]


def _shown(setting: Setting, value: Any) -> str:
    hidden = "something else (it is not shown, for it may hold a secret)"
    return hidden if setting.secret else _without_password(repr(value))


def _without_password(text: str) -> str:
    return with_masked_query(_PASSWORD.sub(r"\1:***@", text))


# --- Names -----------------------------------------------------------------------------------------------------------


def _patterns(which: Literal["path", "variable"]) -> Iterator[tuple[re.Pattern[str], Setting]]:
    for setting in SETTINGS:
        yield _pattern(getattr(setting, which)), setting


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace("NAME", _NAME))


def _filled(text: str, name: str) -> str:
    return text.replace("NAME", name) if name else text


def _of_path(path: str) -> tuple[Setting | None, str]:
    for pattern, setting in _patterns("path"):
        if match := pattern.fullmatch(path):
            return setting, match[1] if match.groups() else ""
    return None, ""


def _of_variable(variable: str) -> Setting | None:
    return next((setting for pattern, setting in _patterns("variable") if pattern.fullmatch(variable)), None)


def _paths() -> list[str]:
    return [setting.path for setting in SETTINGS]


def _near(name: str, known: list[str]) -> str:
    import difflib

    elsewhere = [one for one in known if one.rpartition(".")[2] == name.rpartition(".")[2]]
    near = elsewhere or difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def all_of(problems: list[Problem], where: str) -> Invalid:
    """Return the error that says them all."""
    said = "\n".join(f"  {problem.message}" for problem in problems)
    return Invalid(f"The settings in {where} are not right:\n{said}", tuple(problems))
