"""What `headgate doctor --server` says: how a server that runs is, part by part, in its own words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from headgate.cli.doctor_providers import Finding
from headgate.core.errors import Invalid

__all__ = ["look_at_server"]

ANSWER_BYTES_MAX = 1_000_000
STATUSES = {"ok": "good", "degraded": "note", "failing": "bad"}


def look_at_server(url: str, seconds: float) -> Iterator[Finding]:
    """Ask a server for its health, without a login. Raises `Invalid` for what is no address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid(f"--server: expected the address of a server, such as http://127.0.0.1:8720, got {url!r}.")
    try:
        said = _asked(f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/"), seconds)
        checks: dict[str, Any] = said["checks"]
        yield Finding("server", "good", f"{url} answers, Headgate {said['version']}")
        for name, check in checks.items():
            yield Finding(name, STATUSES[check["status"]], check.get("message", "ok"))
    except (OSError, HTTPException) as error:
        yield Finding("server", "bad", f"{url} does not answer: {error}")
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Finding("server", "bad", f"{url} answers, but not as a Headgate server does")


def _asked(origin: str, path: str, seconds: float) -> Any:
    base = path.removesuffix("/api/v1")
    connect = HTTPSConnection if origin.startswith("https:") else HTTPConnection
    connection = connect(urlsplit(origin).netloc, timeout=seconds)
    try:
        connection.request("GET", f"{base}/api/v1/health")
        return json.loads(connection.getresponse().read(ANSWER_BYTES_MAX))
    finally:
        connection.close()
