"""`headgate version`."""

from __future__ import annotations

import sys

import click

from headgate.version import package_version

__all__ = ["version"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def version(as_json: bool) -> None:
    """Print the version of Headgate, and with --json that of Python."""
    number = package_version()
    if as_json:
        python = ".".join(str(part) for part in sys.version_info[:3])
        print(f'{{"headgate":"{number}","python":"{python}"}}')
    else:
        print(f"headgate {number}")
