"""The handshake of a WebSocket: made by the `websockets` package, and refused in the envelope of every route."""

from __future__ import annotations

import http
import logging
from typing import Any

import msgspec
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from headgate.api.http.errors import ErrorBody, ErrorEnvelope, Refusal, code_of
from headgate.api.http.request_ids import request_ids

__all__ = ["Handshake"]


class Handshake(ServerProtocol):
    """The protocol of one connection, which begins with it."""

    def __init__(self, *, max_size: int, logger: logging.Logger) -> None:
        super().__init__(max_size=max_size, logger=logger)
        self.asked: dict[str, str] = {}
        """The headers of the request, their names in lower case."""
        self.ids = request_ids({})

    def accept(self, request: Request) -> Response:
        self.asked = {name.lower(): value for name, value in request.headers.raw_items()}
        self.ids = request_ids(self.asked)
        response = super().accept(request)
        if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers.update(self.ids.headers)
        return response

    def reject(self, status: Any, text: str) -> Response:
        """Refuse what is no handshake; called by the package, whose own words are plain text."""
        said = " ".join(text.split())
        return self.refusal(Refusal(int(status), ErrorEnvelope(ErrorBody(code_of(int(status)), said))))

    def refusal(self, refusal: Refusal) -> Response:
        """Return what is answered in the place of a connection."""
        response, data = super().reject(refusal.status, ""), msgspec.json.encode(refusal.body)
        del response.headers["content-type"], response.headers["content-length"]
        response.headers.update(
            (
                ("content-type", "application/json"),
                ("content-length", str(len(data))),
                *self.ids.headers,
                *refusal.headers,
            )
        )
        response.body = data
        return response
