"""Parameters as a worker gets them: a function of the claim (definition, values, secrets), stored nowhere.

The input hash is taken of the same parameters with every secret replaced by the marker `secret:NAME`, and with
attempt and remaining budget replaced too: equal hashes mean equal work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.core.expression import Template
from headgate.core.names import Names, Values, needed
from headgate.core.place import Place
from headgate.core.plan import Planned, reads_of
from headgate.core.run import Run
from headgate.core.scope import MarkedSecrets, SecretView

__all__ = ["Rendered", "reads_secrets", "render", "rendering_needs"]

_canonical = msgspec.json.Encoder(order="sorted")


class Rendered(msgspec.Struct, frozen=True):
    """What was rendered for a claim, its hash, and the secrets that went into it."""

    parameters: dict[str, Any]
    input_hash: str
    plain: Any
    """The parameters as they were hashed: markers in the place of secrets and of what changes with each attempt."""
    secrets: tuple[str, ...] = ()


def rendering_needs(run: Run, place: Place) -> set[int]:
    """Return the versions whose contents `render` reads."""
    planned = place.planned
    versions = set[int]() if planned.parameters.constant else needed(run, reads_of(planned.parameters))
    if planned.cache_key is not None:
        versions |= needed(run, reads_of(planned.cache_key))
    owner = run.owner(place)
    if place.item >= 0 and owner.fan is not None:
        versions.add(owner.fan.content)
    if owner.signal:
        versions.add(owner.signal)
    if planned.activity.name == "script":
        versions |= needed(run, {"INPUT", *(dependency.key for dependency in planned.activity.depends_on)})
    return versions


def reads_secrets(place: Place) -> bool:
    """Whether `render` needs secrets for the place."""
    return "SECRET" in place.planned.parameters.roots


def render(run: Run, place: Place, values: Values, secrets: Mapping[str, str]) -> Rendered:
    """Render the parameters of `place`. Raises `ExpressionError`."""
    template = place.planned.parameters
    if template.constant:
        return _constant(place.planned, template)
    uses_secrets = reads_secrets(place)
    extra: dict[str, object] = {"SECRET": SecretView(secrets)} if uses_secrets else {}
    parameters: Any = template.render(Names(run, values, place, extra))
    plain = parameters
    if uses_secrets or "ACTIVITY" in template.roots:
        marked = {"SECRET": MarkedSecrets(), "ACTIVITY": _marked_activity(place.planned.key, place.iteration)}
        plain = template.render(Names(run, values, place, marked))
    return Rendered(parameters, _hash(place.planned, plain), plain, _used(template, secrets) if uses_secrets else ())


def _marked_activity(key: str, iteration: int) -> dict[str, object]:
    """Return `ACTIVITY` for the hash: what changes from attempt to attempt is a marker. A map and no kind of one, for
    templates read fields of nothing else."""
    return {
        "key": key,
        "iteration": iteration,
        "attempt": "activity:attempt",
        "accumulated_cost_usd": "activity:cost",
        "remaining_budget_usd": "activity:budget",
    }


_constants: dict[int, tuple[Planned, Rendered]] = {}
CONSTANTS_MAX = 10_000


def _constant(planned: Planned, template: Template) -> Rendered:
    """Parameters without templates are rendered and hashed once per plan."""
    known = _constants.get(id(planned))
    if known is None or known[0] is not planned:
        if len(_constants) >= CONSTANTS_MAX:
            _constants.clear()
        parameters: Any = template.render({})
        known = _constants[id(planned)] = (planned, Rendered(parameters, _hash(planned, parameters), parameters))
    return known[1]


def _hash(planned: Planned, parameters: object) -> str:
    return hashlib.sha256(_canonical.encode((planned.activity.name, parameters))).hexdigest()[:32]


def _used(template: Template, secrets: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets that a template may have read: by name in whatever case, as `SecretView` finds them; all of
    them where the name is calculated."""
    paths = [reference.path for reference in template.references if reference.root == "SECRET"]
    if not all(paths):
        return tuple(dict.fromkeys(secrets.values()))
    names = {str(path[0]).upper() for path in paths}
    return tuple(dict.fromkeys(value for name, value in secrets.items() if name.upper() in names))
