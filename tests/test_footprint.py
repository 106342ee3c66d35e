"""What is not used is not loaded: heavy libraries stay out of a process that has no need of them.

Each test starts a fresh interpreter, since this one has long loaded everything.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

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


def test_importing_headgate_loads_nothing_but_the_standard_library(tmp_path: Path):
    loaded = modules_after("import headgate", tmp_path)

    assert "headgate" in loaded
    assert loaded.isdisjoint([*ALWAYS_LAZY, *OWN_LIBRARIES, "asyncio"])


def test_what_everybody_installs_has_at_most_eighty_megabytes():
    """Twenty of them are what logins and sealed secrets need: `cryptography`, and what it needs."""
    lock = (ROOT / "requirements" / "base.txt").read_text(encoding="utf-8")
    names = re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE)

    sizes = {name: size_of(name) for name in [*names, "headgate"]}

    assert len(names) > 10
    assert sum(sizes.values()) < 80_000_000, sorted(sizes.items(), key=lambda entry: -entry[1])[:8]


def size_of(name: str) -> int:
    """Return the bytes of a package's files; ours are counted where they lie, for it is installed editable."""
    if name == "headgate":
        return sum(path.stat().st_size for path in SOURCE.rglob("*") if path.is_file())
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:  # for another system than this one
        return 0
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file())


def modules_after(program: str, folder: Path) -> set[str]:
    """Return the top names in `sys.modules` after a fresh interpreter has run `program` in `folder`."""
    report = "\nimport json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", program + report], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))
