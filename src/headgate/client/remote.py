"""A program's way to a server: runs started, waited for, watched and decided over HTTP, with the handle of a run that
`headgate.start` gives for one in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypedDict, Unpack

from headgate.client.blocking import BlockingHandle, Bridge
from headgate.client.handle import Handle, Result
from headgate.client.http import Deployed, HttpClient
from headgate.client.http_line import PATIENCE_SECONDS, ClientLogin, HttpLine
from headgate.core.errors import Invalid
from headgate.core.money import Amount, given_nano
from headgate.core.values import Mode
from headgate.core.view import RunSummary
from headgate.ports import StartRequest

__all__ = ["AsyncClient", "Client", "Login", "StartOptions", "WantedRuns"]


class Login(TypedDict, total=False):
    """Who asks, and for how long: what `AsyncClient` takes beside the address."""

    token: str
    client_id: str
    client_secret: str
    patience_seconds: float


class StartOptions(TypedDict, total=False):
    """What `AsyncClient.start` takes beside the workflow and its input."""

    version: str | None
    mode: Mode
    budget: Amount | None
    labels: Mapping[str, str] | None
    unique_key: str
    command_id: str


class WantedRuns(TypedDict, total=False):
    """What `AsyncClient.runs` takes."""

    status: str | None
    workflow: str | None
    limit: int


class AsyncClient:
    """A server, and its runs. `async with AsyncClient("https://…", client_id=…, client_secret=…) as server:`

    Without a login it reaches a `headgate dev` of this machine; `token` is a bearer token. What fails on the way, and
    what the server refuses for now (429, 503), is asked again for `patience_seconds`; that is safe, for what changes
    something bears a key by which the server knows a repeat. Raises what the server raises (`Invalid`, `Refused`,
    `NotFound`, `Unavailable`), and `Unavailable` (`server_away`) when patience is over. To be used on one loop.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        client_id: str = "",
        client_secret: str = "",
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        if bool(client_id) != bool(client_secret) or (token and client_id):
            raise Invalid("Expected a token, or client_id and client_secret, or none of them.")
        login = ClientLogin(client_id, client_secret) if client_id else token
        self._line = HttpLine(url, login=login, patience_seconds=patience_seconds)
        self.client = HttpClient(self._line)
        """Every verb of a run there is."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Harmless when repeated; runs go on."""
        await self._line.close()

    async def deploy(self, definition: str | bytes) -> Deployed:
        """Give the server a definition (YAML or JSON); what it had of the same content is `unchanged`."""
        return await self.client.deploy(definition)

    async def start(
        self,
        workflow: str,
        input: Any = None,
        *,
        version: str | None = None,
        mode: Mode = "realtime",
        budget: Amount | None = None,
        labels: Mapping[str, str] | None = None,
        unique_key: str = "",
        command_id: str = "",
    ) -> Handle:
        """Start a run of a deployed workflow, by its name, and return its handle, when its start is on disk.

        `budget` is in US dollars. Repeated with the same `command_id` within a week it starts once. Raises `NotFound`
        for a workflow that is not there, `Invalid` for its input, `Refused` while another run holds `unique_key`.
        """
        request = StartRequest(
            workflow=workflow,
            version=version,
            input=input,
            mode=mode,
            limit=None if budget is None else given_nano(budget),
            labels=dict(labels or {}),
            unique_key=unique_key,
            command_id=command_id,
        )
        return self.handle((await self.client.start(request)).id)

    async def run(self, workflow: str, input: Any = None, **options: Unpack[StartOptions]) -> Result:
        """Start a run (`start` has the options) and return what it came to, when it has ended."""
        return await (await self.start(workflow, input, **options)).result()

    def handle(self, run_id: str) -> Handle:
        """Return the handle of a run that was started before, by whomever; whether it exists shows at first use."""
        return Handle(self.client, run_id)

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 50
    ) -> list[RunSummary]:
        """Return the newest runs, newest first; at most 1,000."""
        return await self.client.runs(status=status, workflow=workflow, limit=limit)


class Client:
    """`AsyncClient`, which see, for code that is not async: from any thread, with a loop in a thread of its own."""

    def __init__(self, url: str, **login: Unpack[Login]) -> None:
        self._bridge = Bridge()
        try:
            self._inner = self._bridge.call(_made(url, login))
        except BaseException:
            self._bridge.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if not self._bridge.closed:
            self._bridge.call(self._inner.close())
            self._bridge.close()

    def deploy(self, definition: str | bytes) -> Deployed:
        return self._bridge.call(self._inner.deploy(definition))

    def start(self, workflow: str, input: Any = None, **options: Unpack[StartOptions]) -> BlockingHandle:
        return BlockingHandle(self._bridge, self._bridge.call(self._inner.start(workflow, input, **options)))

    def run(self, workflow: str, input: Any = None, **options: Unpack[StartOptions]) -> Result:
        return self._bridge.call(self._inner.run(workflow, input, **options))

    def handle(self, run_id: str) -> BlockingHandle:
        return BlockingHandle(self._bridge, self._inner.handle(run_id))

    def runs(self, **wanted: Unpack[WantedRuns]) -> list[RunSummary]:
        return self._bridge.call(self._inner.runs(**wanted))


async def _made(url: str, login: Login) -> AsyncClient:
    return AsyncClient(url, **login)
