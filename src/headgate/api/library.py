"""The library: definitions that are deployed by themselves, listed, and given back as the file that means the same."""

from __future__ import annotations

import msgspec

from headgate.core.definition import Definition
from headgate.core.errors import NotFound
from headgate.engine.engine import Engine
from headgate.ports import DEFAULT_TENANT

__all__ = ["Deployed", "Library"]


class Deployed(msgspec.Struct, frozen=True):
    """A definition as it is kept. `new` False: the same content was there, and is the newest of its name again."""

    definition: Definition
    version: str
    deployed_at: int
    new: bool = False


class Library:
    """The definitions of a tenant. `providers` and `activities` are what a definition may name beside what is built
    in."""

    def __init__(
        self, engine: Engine, providers: frozenset[str], activities: frozenset[str], tenant: str = DEFAULT_TENANT
    ) -> None:
        self._engine = engine
        self._providers = providers
        self._activities = activities
        self._tenant = tenant

    def of(self, tenant: str) -> Library:
        """Return the library of another tenant."""
        return Library(self._engine, self._providers, self._activities, tenant)

    async def deploy(self, text: bytes | str, *, source: str = "definition") -> Deployed:
        """Keep a definition. Raises `InvalidDefinition` with everything that is wrong with it."""
        from headgate.authoring import load_definition

        definition = load_definition(text, source=source, providers=self._providers, activities=self._activities)
        version, new = await self._engine.definitions.deploy(definition, tenant=self._tenant)
        return Deployed(definition, version, self._engine.clock.now(), new)

    async def all(self, *, limit: int = 100, after: str = "") -> list[Deployed]:
        """Return the newest of each name behind `after`, by name."""
        rows = await self._engine.log.definitions(limit=limit, after=after, tenant=self._tenant)
        return [Deployed(_definition(body), version, at) for _, version, at, body in rows]

    async def one(self, name: str, version: str | None = None) -> Definition:
        """Return a definition, the newest of its name unless `version` says which. Raises `NotFound`."""
        found = await self._engine.log.definition(name, version, tenant=self._tenant)
        if found is None:
            of = f" of version {version}" if version else ""
            raise NotFound(f"There is no workflow definition {name!r}{of}.")
        return _definition(found[1])


def _definition(body: bytes) -> Definition:
    return msgspec.json.decode(body, type=Definition)
