"""Whatever a client sends, what comes back is what the OpenAPI document says: no fault, no status and no content type
that it does not name, and bodies of its types. What is sent is the same each time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.postgres_logs import empty_postgres_log

from headgate.api.http import HttpApplication
from headgate.api.http.openapi import document_of
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.stores.sqlite import SqliteLog

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES_MAX = int(os.environ.get("DOCUMENT_EXAMPLES", "20"))
"""For each operation, besides those that the document names."""
STORE = os.environ.get("DOCUMENT_STORE", "file")
"""Or `postgres`: what is asked for may mean something to one store and break the other."""
ANSWER_SECONDS_MAX = 5.0
KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
HELLO = "name: hello\nactivities: {say: {use: echo, with: {text: hi}}}"
FAR = "name: far\nactivities: {work: {use: work, queue: gpu, with: {n: 1}}}"

document = schemathesis.openapi.from_dict(document_of(ROUTES, version="test"))
document.config.generation.update(deterministic=True, database="none")
document.config.phases.update(phases=["examples", "fuzzing"])
chosen = document.include(path_regex=os.environ.get("DOCUMENT_PATHS", "."))


class Site:
    """An application in this process, with something of everything in it, on a loop that turns while it answers."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._app = self._run(_opened(folder))
        application = HttpApplication(ROUTES, self._app.doors)
        self._client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(application, raise_app_exceptions=False), base_url="http://localhost"
        )
        self.known = self._run(_furnish(self._client))
        self._run(_close(application))

    def answer(self, case: schemathesis.Case) -> httpx2.Response:
        sent = case.as_transport_kwargs()
        return self._run(self._send(sent))

    async def _send(self, sent: dict[str, Any]) -> httpx2.Response:
        names = ["params", "headers", "cookies", "json", "data"]
        rest = {name: sent[name] for name in names if sent.get(name) is not None}
        if isinstance(rest.get("data"), bytes | str):
            rest["content"] = rest.pop("data")
        request = self._client.build_request(sent["method"], sent["url"], **rest)
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return await self._client.send(request)

    def status_of(self, path: str, name: str, value: object, **rest: Any) -> int:
        return self._run(self._client.get(path, params={name: str(value)}, **rest)).status_code

    def status_of_new_tenant(self, **quotas: object) -> int:
        return self._run(self._client.post("/api/v1/tenants", json={"name": "acme", **quotas})).status_code

    def close(self) -> None:
        self._run(self._client.aclose())
        self._run(self._app.__aexit__(None, None, None))
        self._runner.close()

    def _run(self, work: Any) -> Any:
        return self._runner.run(work)


async def _opened(folder: Path) -> App:
    log = empty_postgres_log() if STORE == "postgres" else SqliteLog(folder / "runs.db")
    return await App(log, folder=folder, environment={"HEADGATE_KEY": KEY}).__aenter__()


async def _close(application: HttpApplication) -> None:
    application.close()  # so that no answer is held back


async def _furnish(client: httpx2.AsyncClient) -> dict[str, list[str]]:
    """Return names of things that are there, by the parameter of a path that they stand for."""

    async def post(path: str, **rest: Any) -> Any:
        answer = await client.post(f"/api/v1{path}", **rest)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    for text in (HELLO, FAR):
        await post("/workflow_definitions", content=text)
    run = await post("/workflows?wait=20", json={"definition_name": "hello"})
    await post("/workflows", json={"definition_name": "far"})
    polled = await post("/workers/poll", json={"worker": "gpu", "worker_id": "w", "wait_seconds": 20})
    schedule = await post("/schedules", json={"name": "nightly", "definition_name": "hello", "cron": "0 3 * * *"})
    webhook = await post("/webhooks", json={"url": "https://acme.example/news"})
    return {
        "id": [run["id"], schedule["id"], webhook["id"]],
        "key": ["say"],
        "activity": [polled["activities"][0]["activity_id"]],
        "name": ["hello"],
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


@chosen.parametrize()
@settings(
    max_examples=EXAMPLES_MAX,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)
def test_every_answer_is_one_that_the_document_names(case: schemathesis.Case, site: Site):
    for known in _with_what_is_there(case, site.known):
        known.validate_response(site.answer(known), checks=CHECKS)


def _with_what_is_there(case: schemathesis.Case, known: dict[str, list[str]]) -> Generator[schemathesis.Case]:
    """Yield the case, and again with each thing that is there in the place of one that is not."""
    yield case
    for name in case.path_parameters or ():
        for value in known.get(name, ()):
            case.path_parameters[name] = value
            yield case


def _whole_numbers_asked_for() -> Generator[tuple[str, str]]:
    for path, operations in document_of(ROUTES, version="test")["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", ()):
            if parameter["in"] == "query" and "integer" in str(parameter["schema"]):
                yield path, parameter["name"]


@pytest.mark.parametrize("number", [10**30, -(10**30), 2**63, -(2**63), 2**64])
@pytest.mark.parametrize(("path", "name"), list(_whole_numbers_asked_for()))
def test_no_number_is_so_large_that_it_is_a_fault(path: str, name: str, number: int, site: Site):
    status = site.status_of(path.replace("{id}", site.known["id"][0]), name, number)

    assert status in (200, 422)


@pytest.mark.parametrize("number", [10**30, 2**63, "9" * 5_000])
def test_no_event_is_so_late_that_it_is_a_fault(number: int | str, site: Site):
    path = f"/api/v1/workflows/{site.known['id'][0]}/events"

    assert site.status_of(path, "limit", 1, headers={"last-event-id": str(number)}) == 422


def test_a_quota_beyond_all_measure_is_refused(site: Site):
    assert site.status_of_new_tenant(requests_per_minute=10**30) == 422
