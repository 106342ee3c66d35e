"""`headgate settings`: every setting as it stands, and where that comes from."""

from __future__ import annotations

import os

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.options import Common, common
from headgate.cli.settings_check import check_settings
from headgate.cli.settings_file import apply_settings_file, settings_path
from headgate.settings import effective, strangers

__all__ = ["settings"]


@click.command()
@common
def settings(common: Common) -> int:
    """Print every setting as it stands, and where that comes from: the environment, headgate.toml, or a default.

    Of secrets is only said whether they are set. Ends with 2 where a setting is not right, with all that is wrong.
    """
    in_file = apply_settings_file()
    check_settings(os.environ)
    found = effective(os.environ, in_file, str(settings_path()))
    if common.output.json:
        common.output.data(msgspec.to_builtins(found))
    else:
        common.output.table([(one.path, one.value, one.source, one.variable) for one in found])
    for sentence in strangers(os.environ):
        common.output.notice(sentence)
    return exit_codes.COMPLETED
