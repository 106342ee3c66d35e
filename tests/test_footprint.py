"""What is not used is not loaded: heavy libraries stay out of a process that has no need of them.

Each test starts a fresh interpreter, since this one has long loaded everything.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT, SOURCE

pytestmark = pytest.mark.slow  # each starts a process

ALWAYS_LAZY = [
    "anthropic",
    "boto3",
    "botocore",
    "cryptography",
    "google",
    "grpc",
    "jwt",
    "mcp",
    "mistralai",
    "numpy",
    "openai",
    "pydantic_ai",
    "rich",
]
NOT_AT_REST = [
    "cryptography.x509",
    "difflib",
    "email.headerregistry",
    "headgate.api.approval_page",
    "headgate.authoring",
    "html",
    "httpx2",
    "jinja2",
    "jwt",
    "yaml",
    "zoneinfo",
]
"""What a server with logins has no need of before the first run."""
OWN_LIBRARIES = ["apsw", "click", "httpx2", "jinja2", "msgspec", "yaml"]

ECHO = """
import asyncio
from headgate.app import App
from headgate.ports import StartRequest
from headgate.stores.sqlite import SqliteLog
from pathlib import Path

async def main():
    async with App(SqliteLog(Path("runs.db")), offline=True) as app:
        definition = "name: hello\\nactivities:\\n  greet: {use: echo, with: {text: hello}}\\n"
        await app.desk.start(StartRequest(definition=definition, input={}))
        await app.desk.settled()
        assert (await app.desk.show("-")).status == "completed"

asyncio.run(main())
"""


def test_a_process_that_ran_an_echo_workflow_has_loaded_no_model_sdk_and_nothing_to_draw_with(tmp_path: Path):
    loaded = modules_after(ECHO, tmp_path)

    assert "apsw" in loaded
    assert loaded.isdisjoint(ALWAYS_LAZY), "Import it in the function that needs it."


def test_a_process_that_ran_an_echo_workflow_has_loaded_no_http_client(tmp_path: Path):
    loaded = modules_after(ECHO, tmp_path)

    assert "httpx2" not in loaded, "httpx2 brings ssl and 20 MB: import it where the first request is made."


def test_a_process_on_sqlite_has_loaded_nothing_of_postgresql(tmp_path: Path):
    report = "\nassert not [name for name in sys.modules if name.startswith('headgate.stores.postgres_r')]"

    assert modules_after(f"{ECHO}\nimport sys{report}", tmp_path)


def test_a_server_at_rest_has_loaded_only_what_it_needs_to_know_who_asks(tmp_path: Path):
    loaded = modules_of_a_server(tmp_path)

    assert {"headgate.api.http.server", "cryptography.hazmat.primitives.asymmetric.ed25519"} <= loaded
    assert loaded.isdisjoint({*ALWAYS_LAZY, *NOT_AT_REST} - {"cryptography"}), (
        "Import it in the function that needs it."
    )


def test_importing_headgate_loads_nothing_but_the_standard_library(tmp_path: Path):
    loaded = modules_after("import headgate", tmp_path)

    assert "headgate" in loaded
    assert loaded.isdisjoint([*ALWAYS_LAZY, *OWN_LIBRARIES, "asyncio"])


def test_what_everybody_installs_has_at_most_a_hundred_megabytes():
    """Twenty of them are what logins and sealed secrets need (`cryptography`, and what it needs), fourteen the loop of
    what serves (`uvloop`)."""
    lock = (ROOT / "requirements" / "base.txt").read_text(encoding="utf-8")
    names = re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE)

    sizes = {name: size_of(name) for name in [*names, "headgate"]}

    assert len(names) > 10
    assert sum(sizes.values()) < 100_000_000, sorted(sizes.items(), key=lambda entry: -entry[1])[:8]


def size_of(name: str) -> int:
    """Return the bytes of a package's files; ours are counted where they lie, for it is installed editable, without the
    second bytecode that pytest makes of what it loads."""
    if name == "headgate":
        ours = (path for path in SOURCE.rglob("*") if path.is_file() and "-pytest-" not in path.name)
        return sum(path.stat().st_size for path in ours)
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:  # for another system than this one
        return 0
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file())


def modules_of_a_server(folder: Path) -> set[str]:
    """Return the modules that `headgate serve` has imported when a token was got and used, and it has ended."""
    command, log = [sys.executable, "-X", "importtime", "-m", "headgate"], folder / "imports"
    create = [*command, "client", "create", "first", "--scopes", "admin", "--quiet"]
    secret = subprocess.run(create, cwd=folder, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    serve = [*command, "serve", "--port", "0", "--json", "--quiet"]
    with (
        log.open("w", encoding="utf-8") as imports,
        subprocess.Popen(serve, cwd=folder, stdout=subprocess.PIPE, stderr=imports, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            token = asked(f"{url}/oauth/token", secret=secret)["access_token"]
            assert asked(f"{url}/api/v1/workflows", token=token)["total"] == 0
        finally:
            server.terminate()
    assert server.returncode == 0, log.read_text(encoding="utf-8")[-2_000:]
    return set(re.findall(r"^import time: .*\| +([\w.]+)$", log.read_text(encoding="utf-8"), flags=re.MULTILINE))


def asked(url: str, *, secret: str = "", token: str = "") -> Any:
    login = {"grant_type": "client_credentials", "client_id": "first", "client_secret": secret}
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, json.dumps(login).encode() if secret else None, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def modules_after(program: str, folder: Path) -> set[str]:
    """Return the top names in `sys.modules` after a fresh interpreter has run `program` in `folder`."""
    report = "\nimport json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", program + report], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))
