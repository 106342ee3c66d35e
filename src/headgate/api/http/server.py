"""The HTTP server in our own loop: uvicorn, told when to begin and when to end.

It takes no signals and logs no requests; whoever owns the process decides both. On its end it answers what it has begun
to answer, closes what is held open (long polls, event streams, WebSockets), and takes nothing new.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from headgate.api.http.application import HttpApplication
from headgate.core.errors import Unavailable

if TYPE_CHECKING:
    import uvicorn


__all__ = ["HttpServer", "Tls", "take_port"]

DRAIN_SECONDS = 5
CONNECTIONS_MAX = 20_000
"""Beyond it a request is answered with 503."""
KEEP_ALIVE_SECONDS = 75


class Tls(NamedTuple):
    """The files of a certificate chain and of its private key (PEM)."""

    certificate: str
    key: str


class HttpServer:
    """`async with HttpServer(application, host, port) as server:` answers until the block ends; then what is held back
    is answered, sockets are closed, and what is under way has `DRAIN_SECONDS`. Any ASGI application will do.

    Port 0 takes a free one; `port` says which. `trusted_proxies`: whose `X-Forwarded-For` and `X-Forwarded-Proto` are
    believed; `cors_origins`: whose pages may call, with tokens. Raises `Unavailable` where the address cannot be taken.
    """

    def __init__(
        self,
        application: Any,
        host: str,
        port: int,
        *,
        tls: Tls | None = None,
        trusted_proxies: Sequence[str] = (),
        cors_origins: Sequence[str] = (),
    ) -> None:
        self._door = application if isinstance(application, HttpApplication) else None
        self._application = with_cors(application, cors_origins) if cors_origins else application
        self.host = host
        self.port = port
        self._tls = tls
        self._trusted_proxies = list(trusted_proxies)
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        import uvicorn

        from headgate.api.http.bounded_protocol import BoundedProtocol

        listener = take_port(self.host, self.port)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._application,
            lifespan="off",
            access_log=False,
            log_config=None,
            http=BoundedProtocol,
            ws=cast("Any", self._door.sockets.protocol if self._door else "none"),
            loop="none",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            limit_concurrency=CONNECTIONS_MAX,
            server_header=False,
            proxy_headers=bool(self._trusted_proxies),
            forwarded_allow_ips=self._trusted_proxies,
            ssl_certfile=self._tls.certificate if self._tls else None,
            ssl_keyfile=self._tls.key if self._tls else None,
        )
        server = self._server = _QuietServer(config)
        serving = self._serving = asyncio.create_task(server.serve([listener]), name="headgate-http")
        while not server.started:
            if serving.done():
                listener.close()
                await serving
                raise Unavailable(f"The HTTP server at {self.url} ended before it began.")
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None and self._serving is not None:
            if self._door is not None:
                self._door.close()
            self._server.should_exit = True
            await self._serving


def take_port(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 takes a free one. Raises `Unavailable`, whose cause says why."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, for the loop turns Nagle's algorithm off only where it sees that the protocol is TCP; with it an answer
    # in two parts waits 40 ms for the reader's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2_048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"Port {port} of {host} cannot be taken: {error.strerror or error}. Name another with --port."
        ) from error
    return listener


def _QuietServer(config: uvicorn.Config) -> uvicorn.Server:  # noqa: N802 - makes one: the class itself needs uvicorn, which is imported late
    """Return a server that leaves the process's signals alone."""
    import contextlib

    import uvicorn

    class Quiet(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield

    return Quiet(config)


def with_cors(application: Any, origins: Sequence[str]) -> Any:
    """Let pages of these sites call the API, with tokens; cookies stay this site's own."""
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        application,
        allow_origins=origins,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=[
            "authorization",
            "content-type",
            "idempotency-key",
            "last-event-id",
            "x-request-id",
            "x-trace-id",
        ],
        expose_headers=["retry-after", "x-request-id", "x-trace-id"],
    )
