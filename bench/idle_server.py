"""What a server with logins weighs at rest: `headgate serve` in a folder of its own, one client, one token used once.

`python -m bench.idle_server FOLDER` prints its resident memory as JSON, in MiB, a while after its last answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.first_run import resident_mb

__all__: list[str] = []

IDLE_SECONDS = 1.0


def main(folder: Path) -> dict[str, float]:
    headgate = [sys.executable, "-m", "headgate"]
    secret = subprocess.run(
        [*headgate, "client", "create", "first", "--scopes", "admin", "--quiet"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with subprocess.Popen(
        [*headgate, "serve", "--port", "0", "--json", "--quiet"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            token = _asked(f"{url}/oauth/token", {"client_secret": secret})["access_token"]
            listed = _asked(f"{url}/api/v1/workflows", token=token)
            assert listed["total"] == 0, listed
            time.sleep(IDLE_SECONDS)
            return {"server_idle_rss_mb": resident_mb(server.pid)}
        finally:
            server.terminate()


def _asked(url: str, body: dict[str, str] | None = None, token: str = "") -> Any:
    login = {"grant_type": "client_credentials", "client_id": "first"}
    data = None if body is None else json.dumps(login | body).encode()
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
