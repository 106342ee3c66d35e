"""`scripts/programs.sh`: where its programs are there it does nothing, and where it gets none it says what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script")

SCRIPT = Path(__file__).parents[1] / "scripts" / "programs.sh"
TOOLS = ("cat", "mktemp", "rm", "tail", "timeout")
APT = '#!/bin/sh\necho "$*" >> {said}\necho "E: the network hiccups"\nexit {code}\n'


PROGRAMS = ("chromium", "pgbouncer")


def played(
    folder: Path, *, user: int = 0, apt: int | None = None, there: Sequence[str] = ("pgbouncer",)
) -> tuple[str, list[str]]:
    """Run the script where these programs are there, and `apt-get` ends with this code, or is not there; return what
    it said, and what apt-get was asked for."""
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    scripts = {"id": f"#!/bin/sh\necho {user}\n", **dict.fromkeys(there, "#!/bin/sh\n")}
    if apt is not None:
        scripts["apt-get"] = APT.format(said=folder / "asked", code=apt)
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    shell = shutil.which("sh")
    assert shell is not None
    done = subprocess.run(
        [shell, SCRIPT], env={"PATH": str(folder)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    asked = (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []
    return done.stderr, asked


def test_where_there_is_all_nothing_is_done_or_said(tmp_path: Path):
    assert played(tmp_path, apt=0, there=PROGRAMS) == ("", [])


def test_root_gets_what_is_not_there_from_apt(tmp_path: Path):
    said, asked = played(tmp_path, apt=0)

    assert said == "Installing chromium for the tests of pages\n"
    assert [line.split()[-4:] for line in asked] == [["install", "-y", "--no-install-recommends", "chromium"]]


def test_what_apt_said_and_what_to_do_is_told_when_it_fails(tmp_path: Path):
    said, asked = played(tmp_path, apt=100)

    assert [line.split()[-1] for line in asked] == ["chromium", "update"]
    assert "E: the network hiccups\n" in said
    assert "apt-get update failed (see above); is there a network?" in said
    assert "HEADGATE_TEST_BROWSER=/its/path make test" in said


@pytest.mark.parametrize(
    ("user", "apt", "says"),
    [(1000, 0, "apt-get needs root: sudo apt-get install chromium"), (0, None, "no apt-get to install one with")],
)
def test_who_cannot_install_is_told_so(user: int, apt: int | None, says: str, tmp_path: Path):
    said, asked = played(tmp_path, user=user, apt=apt)

    assert says in said
    assert asked == []
