"""The other products, got from their package registries into a temporary folder, an environment of its own for each.

None of them becomes a dependency of Headgate, its tests or its lock files. What cannot be installed says why.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

__all__ = ["Installed", "install"]

HERE = Path(__file__).parent
INSTALL_SECONDS_MAX = 600
REASON_CHARACTERS_MAX = 500
PACKAGES = {
    "DBOS": ("dbos", "psycopg[binary]"),
    "LangGraph": (
        "langgraph",
        "langgraph-checkpoint-sqlite",
        "langgraph-checkpoint-postgres",
        "psycopg[binary,pool]",
    ),
    "Absurd": ("absurd-sdk", "absurdctl"),
    "Restate": ("restate-sdk", "hypercorn"),
}
"""The versions are those of requirements.txt, which holds all that they stand on."""
RESTATE_SERVER = "@restatedev/restate-server@1.7.12"


class Installed(msgspec.Struct):
    """The interpreters of the products that are there, why others are not, and where Restate's server is."""

    pythons: dict[str, str] = {}
    missing: dict[str, str] = {}
    restate_server: str = ""


def install(folder: Path) -> Installed:
    """Install all products below the folder."""
    found = Installed({}, {})
    for product, packages in PACKAGES.items():
        place = folder / product.lower()
        try:
            _run(sys.executable, "-m", "venv", place)
            _run(place / "bin" / "pip", "install", "--quiet", *packages, "-c", HERE / "requirements.txt")
            if product == "Restate":
                found.restate_server = str(_restate_server(place))
        except (OSError, subprocess.SubprocessError) as error:
            found.missing[product] = _reason(error)
        else:
            found.pythons[product] = str(place / "bin" / "python")
    return found


def _restate_server(place: Path) -> Path:
    """Get Restate's server, a binary that npm brings; its packages' own scripts are not run."""
    words = ("install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", place)
    _run("npm", *words, RESTATE_SERVER)
    found = sorted(place.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    if not found:
        raise FileNotFoundError(f"{RESTATE_SERVER} has no server for this machine")
    return found[0]


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX)


def _reason(error: Exception) -> str:
    said = (error.stderr or error.stdout or "") if isinstance(error, subprocess.CalledProcessError) else ""
    lines = [line for line in said.splitlines() if line.strip()]
    return ("; ".join(lines[:2]) or str(error))[:REASON_CHARACTERS_MAX]
