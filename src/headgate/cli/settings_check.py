"""Everything that is wrong with the settings of a server, said at once: what one of them holds, and what several do."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from headgate.core.errors import Invalid, Problem
from headgate.settings import all_of, listed, problems_in

__all__ = ["check_settings"]

KEY = "HEADGATE_KEY"
NETWORKS = ("HEADGATE_TRUSTED_PROXIES", "HEADGATE_PRIVATE_ADDRESSES")


def check_settings(environment: Mapping[str, str]) -> None:
    """Raise `Invalid` with all of it."""
    from headgate.api.auth.oidc_settings import oidc_settings

    problems = problems_in(environment)
    known = {problem.path for problem in problems}
    if KEY in environment:
        problems += _raised_by(lambda: _look_at_key(environment))
    if "HEADGATE_OIDC_ISSUER" not in known:
        problems += _raised_by(lambda: oidc_settings(environment))
    problems += _wrong_networks(environment)
    if problems:
        raise all_of(problems, "the environment")


def _look_at_key(environment: Mapping[str, str]) -> None:
    from headgate.engine.sealing import sealer_of

    if environment[KEY].strip():
        sealer_of(environment, None)


def _raised_by(check: Callable[[], object]) -> list[Problem]:
    try:
        check()
    except Invalid as error:
        return list(error.problems) or [Problem(error.message)]
    return []


def _wrong_networks(environment: Mapping[str, str]) -> Iterator[Problem]:
    for variable in NETWORKS:
        for part in listed(environment, variable):
            if not _is_place(part, names=variable == "HEADGATE_PRIVATE_ADDRESSES"):
                message = f"{variable}: expected an address or a network such as 10.0.0.0/8, got {part!r}."
                yield Problem(message, path=variable)


def _is_place(text: str, *, names: bool) -> bool:
    with suppress(ValueError):
        ipaddress.ip_network(text, strict=False)
        return True
    return "/" not in text if names else text == "*"
