"""Activities from the user's own modules: `--activities MODULE`, a dotted name or a file."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from headgate.core.errors import Invalid
from headgate.sdk.activity import as_activity, collect_activities, settings_of
from headgate.sdk.policy import collect_policies, is_policy

__all__ = ["load_activities", "load_policies"]


def load_activities(modules: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    """Return the activities of the modules by name: a module's `ACTIVITIES` map where it has one, else the functions
    marked with `@headgate.activity`, else its public functions, which take parameters and context.

    Raises `Invalid` for a module that cannot be imported, that has none, or that repeats a name."""
    found: dict[str, Callable[..., Any]] = {}
    for name in modules:
        activities = _activities_of(_module(name), name)
        if repeated := sorted(found.keys() & activities.keys()):
            raise Invalid(f"--activities {name}: {', '.join(repeated)} is there already; rename one of them.")
        found |= activities
    return found


def load_policies(modules: tuple[str, ...]) -> dict[str, Any]:
    """Return the policies of the modules by name: what is marked with `@headgate.policy`. Raises `Invalid`."""
    return collect_policies(value for name in modules for value in vars(_module(name)).values())


def _module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    if (known := sys.modules.get(Path(name).stem)) is not None and name.endswith(".py") and _is_file(known, name):
        return known
    try:
        return _from_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:
        raise Invalid(f"--activities {name} cannot be imported: {type(error).__name__}: {error}.") from error


def _is_file(module: ModuleType, name: str) -> bool:
    return bool(module.__file__) and Path(str(module.__file__)).resolve() == Path(name).resolve()


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _activities_of(module: ModuleType, name: str) -> dict[str, Callable[..., Any]]:
    listed: Any = getattr(module, "ACTIVITIES", None)
    if listed is not None:
        if not isinstance(listed, dict) or not all(callable(function) for function in listed.values()):
            raise Invalid(f"--activities {name}: expected ACTIVITIES to be a map from names to functions.")
        return {key: as_activity(function) if settings_of(function) else function for key, function in listed.items()}
    if marked := [function for function in vars(module).values() if settings_of(function)]:
        return collect_activities(dict.fromkeys(marked))
    policies = [value for value in vars(module).values() if is_policy(value)]
    found = {
        key: function
        for key, function in vars(module).items()
        if inspect.isfunction(function)
        and not key.startswith("_")
        and function.__module__ == module.__name__
        and not is_policy(function)
    }
    if not found and not policies:
        raise Invalid(f"--activities {name}: the module has no ACTIVITIES map and no public function.")
    return found
