"""The worker of the how-to page, as it stands there, in a shell of its own, against a real `headgate dev`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-over-http.md"

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A `headgate dev` in a folder of its own; its base URL."""
    arguments = [sys.executable, "-m", "headgate", "dev", "--port", "0", "--no-worker"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"Listening at (\S+)", line):
                yield found[1]
                break
        else:
            pytest.fail(f"headgate dev ended with {process.wait()}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def block(beginning: str) -> str:
    blocks = re.findall(r"^```\w+\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return next(text for text in blocks if text.startswith(beginning))


def test_the_shell_worker_of_the_page_does_its_task(server: str, tmp_path: Path):
    missing = [tool for tool in ("curl", "jq") if shutil.which(tool) is None]
    if missing:
        assert not os.environ.get("CI"), f"CI needs {missing}"
        pytest.skip(f"{missing} are not on this machine; the page's worker needs them")
    script = tmp_path / "worker.sh"
    script.write_text(block("#!/bin/bash"))
    httpx2.post(f"{server}/workflow_definitions", content=block("# shout.yaml")).raise_for_status()
    started = httpx2.post(f"{server}/workflows", json={"definition_name": "shout", "input": {"text": 'it\'s "me"'}})

    worker = subprocess.run(
        ["bash", str(script), "once"], env={**os.environ, "HEADGATE_API": server}, timeout=60, check=False
    )

    run = httpx2.get(f"{server}/workflows/{started.json()['workflow_id']}?wait=20", timeout=30).json()
    assert worker.returncode == 0
    assert run["outputs"] == {"text": 'IT\'S "ME"'}
