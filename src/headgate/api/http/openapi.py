"""The OpenAPI 3.1 document, made of the route table: nothing in it is written twice, so nothing in it can be wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from headgate.api.http.route import BASE, Answer, Call, Chunks, NoQuery, Raw, Route
from headgate.api.http.socket_route import SocketRoute

__all__ = ["document_of", "documented"]

REASONS = {
    400: "It cannot be read",
    401: "Nobody is known to be asking",
    403: "It is not for this caller",
    404: "There is no such thing",
    409: "It is not possible now",
    413: "It is too long",
    416: "The file has no such part",
    422: "It is not right; `details.field_errors` says where",
    429: "Too many; `Retry-After` says when",
    500: "A fault in Headgate",
    503: "Ask again; `Retry-After` says when",
}
BYTES = {"type": "string", "format": "binary"}
PARAMETER = re.compile(r"\{(\w+)\}")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Headgate API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
code{font:14px ui-monospace,monospace}td{padding:.3rem .8rem .3rem 0;vertical-align:top}
.method{font-weight:600}@media(prefers-color-scheme:dark){body{background:#111;color:#eee}a{color:#8cf}}
</style></head><body><h1>Headgate API</h1>
<p>Everything here, with its types, is in <a href="openapi.json">openapi.json</a>.</p><table>%s</table></body></html>
"""


def documented(routes: Sequence[Route], sockets: Sequence[SocketRoute] = ()) -> tuple[Route, ...]:
    """Return the routes with two more: the document itself, and a page that lists what there is, WebSockets too."""
    kept: list[bytes] = []

    async def get_openapi(call: Call[NoQuery, None]) -> Answer:
        """Give this document"""
        if not kept:
            kept.append(msgspec.json.encode(document_of(table, version=call.doors.version)))
        return Answer(data=kept[0])

    async def get_docs(call: Call[NoQuery, None]) -> Answer:
        """List what there is, for people"""
        return Answer(data=_page(routes, sockets), content_type="text/html; charset=utf-8")

    table = (
        *routes,
        Route(method="GET", path="/openapi.json", function=get_openapi, answer=dict[str, Any], scope=""),
        Route(method="GET", path="/docs", function=get_docs, answer=str, scope=""),
    )
    return table


def _page(routes: Sequence[Route], sockets: Sequence[SocketRoute]) -> bytes:
    from html import escape

    listed = [(route.method, route.address, route.summary) for route in routes]
    listed += [("WS", BASE + route.path, route.summary) for route in sockets]
    rows = "".join(
        f'<tr><td class="method">{method}</td><td><code>{escape(path)}</code></td><td>{escape(summary)}</td></tr>'
        for method, path, summary in listed
    )
    return (PAGE % rows).encode()


def document_of(routes: Sequence[Route], *, version: str) -> dict[str, Any]:
    """Return the document as a JSON value."""
    types = _types(routes)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.address, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headgate", "version": version or "0", "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": components},
    }


def _types(routes: Sequence[Route]) -> list[Any]:
    found: dict[int, Any] = {}
    for route in routes:
        for kind in (*route.answers, route.reads, route.words.body):
            if kind not in (None, Raw, Chunks, str, bytes):
                found[id(kind)] = kind
    return list(found.values())


def _operation(route: Route, schema_of: dict[int, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_of_path(route), *_of_query(route)],
        "responses": _responses(route, schema_of),
    }
    if route.scope:
        operation["x-scope"] = " or ".join((route.scope, *route.other_scopes))
    if route.reads is Raw:
        text = {"schema": {"type": "string"}}
        operation["requestBody"] = {"required": True, "content": {"application/yaml": text, "application/json": {}}}
    elif route.reads is Chunks:
        operation["requestBody"] = {"required": True, "content": {"*/*": {"schema": BYTES}}}
    elif route.reads is not None:
        required = any(field.required for field in msgspec.structs.fields(route.reads))
        kinds = ("application/json", "application/x-www-form-urlencoded")[: 1 + route.takes_form]
        content = {kind: {"schema": schema_of[id(route.reads)]} for kind in kinds}
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def _of_path(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PARAMETER.findall(route.path)
    ]


def _of_query(route: Route) -> list[dict[str, Any]]:
    (_,), components = msgspec.json.schema_components([route.query])
    properties: dict[str, Any] = next(iter(components.values()))["properties"]
    required = {field.encode_name for field in msgspec.structs.fields(route.query) if field.required}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in properties.items()
    ]
    if route.streams:
        parameters.append({"name": "token", "in": "query", "schema": {"type": "string"}})
    if route.method == "POST":
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}})
    return parameters


def _responses(route: Route, schema_of: dict[int, Any]) -> dict[str, Any]:
    content: dict[str, Any]
    if route.answer is str:
        content = {route.answer_type: {"schema": {"type": "string"}}}
    elif route.answer is bytes:
        content = {"*/*": {"schema": BYTES}}
    elif route.answer is None:
        content = {}
    else:
        schemas = [schema_of[id(kind)] for kind in route.answers]
        content = {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}
    if route.streams:
        content = {**content, "text/event-stream": {}}
    content = {**content, **{kind: {} for kind in route.other_content_types}}
    found: dict[str, Any] = {}
    refused = {"application/json": {"schema": schema_of[id(route.words.body)]}}
    for status in (route.status, *route.other_statuses):
        bodies = _either(content, refused) if status in route.words.statuses else content
        found[str(status)] = {"description": route.summary, "content": bodies}
    for status in sorted({*route.words.statuses, *route.all_refusals}):
        found.setdefault(str(status), {"description": REASONS[status], "content": refused})
    return found


def _either(content: dict[str, Any], refused: dict[str, Any]) -> dict[str, Any]:
    """Return the bodies of a status that the route answers with, and so does what stands before it."""
    bodies = [one["application/json"]["schema"] for one in (content, refused) if "application/json" in one]
    return {**content, "application/json": {"schema": bodies[0] if len(bodies) == 1 else {"anyOf": bodies}}}
