"""The tables of the reference pages are those of the code: a changed event, key or activity changes its page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def generate(docs: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, docs / "generate.py", "--check"], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_reference_pages_are_up_to_date():
    checked = generate(DOCS)

    assert checked.returncode == 0, f"Run `python docs/generate.py`.\n{checked.stdout}{checked.stderr}"


def test_a_page_that_is_not_what_the_code_says_is_named(tmp_path: Path):
    for source in (*DOCS.glob("*.py"), DOCS / "reference" / "events.md"):
        copy = tmp_path / source.relative_to(DOCS)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(source.read_text(encoding="utf-8").replace("activity_completed", "activity_ended"))

    checked = generate(tmp_path)

    assert checked.returncode == 1
    assert "reference/events.md is out of date" in checked.stdout
