"""Routes of definitions: keep one, list them, give one back as a file that means the same."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.api.http.query import Limit
from headgate.api.http.route import Answer, Call, NoQuery, Raw, Route
from headgate.api.http.wire import DefinitionAnswer, DefinitionLine, DefinitionList, rfc3339

__all__ = ["ROUTES"]


class Page(msgspec.Struct, frozen=True):
    limit: Limit = 100
    after: str = ""


class Which(msgspec.Struct, frozen=True):
    version: str | None = None
    format: Literal["json", "yaml"] = "json"


async def deploy_definition(call: Call[NoQuery, Raw]) -> Answer:
    """Keep a definition (YAML or JSON). The same content again changes nothing and says so"""
    deployed = await call.library.deploy(call.body.data)
    answer = DefinitionAnswer(
        deployed.definition.name, deployed.version, rfc3339(deployed.deployed_at), unchanged=not deployed.new
    )
    return Answer(answer, 201 if deployed.new else 200)


async def list_definitions(call: Call[Page, None]) -> DefinitionList:
    """List the newest version of each definition, by name"""
    found = await call.library.all(limit=call.query.limit, after=call.query.after)
    lines = [
        DefinitionLine(
            one.definition.name,
            one.version,
            rfc3339(one.deployed_at),
            one.definition.description,
            len(one.definition.activities),
        )
        for one in found
    ]
    return DefinitionList(lines, len(lines))


async def get_definition(call: Call[Which, None]) -> Answer:
    """Give a definition back, as a file that loads to the same version"""
    from headgate.authoring.definition_text import document_of, write_yaml

    definition = await call.library.one(call.path["name"], call.query.version)
    document: dict[str, Any] = document_of(definition)
    headers = (("etag", f'"{definition.version}"'),)
    if call.query.format == "yaml":
        data = write_yaml(document).encode()
        return Answer(headers=headers, data=data, content_type="application/yaml")
    return Answer(document, headers=headers)


ROUTES = (
    Route(
        method="POST",
        path="/workflow_definitions",
        function=deploy_definition,
        body=Raw,
        answer=DefinitionAnswer,
        status=201,
        other_statuses=(200,),
        scope="definitions:write",
    ),
    Route(method="GET", path="/workflow_definitions", function=list_definitions, query=Page, answer=DefinitionList),
    Route(
        method="GET",
        path="/workflow_definitions/{name}",
        function=get_definition,
        query=Which,
        answer=dict[str, Any],
        other_content_types=("application/yaml",),
        refusals=(404,),
    ),
)
