"""A second opinion: the adapters against a mock of the vendors' servers by others (`@copilotkit/aimock`, run by Node).

It is installed into a temporary folder, in one version. Where there is no npm, or no registry to be reached, that is
said loudly, and under CI=true it fails.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.llm.fakes.rigs import KINDS, Kind

from headgate.llm.registry import build_providers, close_providers
from headgate.ports import Message, ModelAnswer, ModelProvider, ModelRequest, ProviderError
from headgate.testing.provider_rig import TOOL

pytestmark = pytest.mark.slow

PACKAGE = "@copilotkit/aimock@1.43.0"
INSTALL_SECONDS_MAX = 120
START_SECONDS_MAX = 20
FIXTURES = {
    "fixtures": [
        {"match": {"userMessage": "How far"}, "response": {"content": "It is 384,400 km away, größer als π."}},
        {
            "match": {"userMessage": "Measure it", "hasToolResult": False},
            "response": {"toolCalls": [{"name": "measure_distance", "arguments": {"target": "moon"}}]},
        },
        {"match": {"userMessage": "Measure it", "hasToolResult": True}, "response": {"content": "Measured."}},
        {
            "match": {"userMessage": "Too often"},
            "response": {"error": {"message": "Rate limit reached", "type": "rate_limit_error"}, "status": 429},
        },
        {
            "match": {"userMessage": "Break down"},
            "response": {"error": {"message": "Internal error", "type": "server_error"}, "status": 500},
        },
        {"match": {"inputText": "first"}, "response": {"embedding": [0.5, 0.25]}},
    ]
}
EVERY = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture(scope="session")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of the mock."""
    folder = tmp_path_factory.mktemp("aimock")
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("no second opinion: there is no npm here (install Node 20 or newer)")
    command = [npm, "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", folder, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False, cwd=folder)
    if done.returncode != 0:
        pytest.skip(f"no second opinion: npm could not install {PACKAGE}: {done.stderr[-300:]}")
    (folder / "fixtures.json").write_text(json.dumps(FIXTURES), encoding="utf-8")
    port = _free_port()
    program = folder / "node_modules" / ".bin" / "llmock"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [node, program, "-p", str(port), "-f", folder / "fixtures.json", "--strict"], stdout=log, stderr=log
        )
        try:
            _await_start(server, port, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await_start(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert server.poll() is None, f"the mock did not start:\n{log.read_text()}"
            assert time.monotonic() < until, f"the mock takes no connection:\n{log.read_text()}"
            time.sleep(0.05)  # another process, which says nothing that could be waited for
        else:
            return


def use(kind: Kind, address: str, call: Callable[[ModelProvider], Awaitable[Any]]) -> Any:
    async def used() -> Any:
        providers = build_providers(kind.environment(address))
        try:
            return await call(providers[kind.name])
        except ProviderError as error:
            return error
        finally:
            await close_providers(providers)

    return asyncio.run(used())


def asking(kind: Kind, text: str, **fields: Any) -> ModelRequest:
    return ModelRequest(model=kind.model, messages=(Message("user", text),), max_tokens=100, **fields)


@EVERY
def test_an_answer_of_the_mock_is_read_whole_and_streamed(kind: Kind, aimock: str):
    request = asking(kind, "How far is the moon?")

    async def read(provider: ModelProvider) -> list[Any]:
        return [item async for item in provider.stream(request)]

    whole = use(kind, aimock, lambda provider: provider.request(request))
    items = use(kind, aimock, read)

    assert isinstance(whole, ModelAnswer), whole
    assert isinstance(items, list), items
    assert whole.content == items[-1].content == "".join(items[:-1]) == "It is 384,400 km away, größer als π."
    assert len(items) > 2
    assert whole.finish_reason == items[-1].finish_reason == "Stop"
    assert whole.usage.output_tokens > 0


@EVERY
def test_a_tool_of_the_mock_is_called_and_answered(kind: Kind, aimock: str):
    async def talk(provider: ModelProvider) -> tuple[ModelAnswer, ModelAnswer]:
        first = await provider.request(asking(kind, "Measure it", tools=(TOOL,)))
        messages = (
            Message("user", "Measure it"),
            Message("assistant", first.content, first.tool_calls),
            Message("tool", "384400", tool_call_id=first.tool_calls[0].id),
        )
        again = ModelRequest(model=kind.model, messages=messages, max_tokens=100, tools=(TOOL,))
        return first, await provider.request(again)

    outcome = use(kind, aimock, talk)

    assert isinstance(outcome, tuple), outcome
    assert [(call.name, call.arguments) for call in outcome[0].tool_calls] == [("measure_distance", {"target": "moon"})]
    assert outcome[0].finish_reason == "ToolUse"
    assert outcome[1].content == "Measured."


@EVERY
@pytest.mark.parametrize(
    ("text", "code"), [("Too often", "rate_limited"), ("Break down", "provider_unavailable")], ids=["429", "500"]
)
def test_a_refusal_of_the_mock_has_our_name(kind: Kind, text: str, code: str, aimock: str):
    error = use(kind, aimock, lambda provider: provider.request(asking(kind, text)))

    assert isinstance(error, ProviderError), error
    assert (error.kind, error.retryable) == (code, True), error
