"""`headgate schema`: the JSON Schema of workflow files, for editors."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.cli import exit_codes
from headgate.cli.options import Common, common
from headgate.core.errors import Invalid

__all__ = ["schema"]


@click.command()
@common
@click.option("--out", metavar="FILE", help="Write it to this file instead of printing it.")
def schema(common: Common, out: str | None) -> int:
    """Print the JSON Schema of workflow files, from which editors complete and check.

    With the schema in a file, `# yaml-language-server: $schema=FILE` at the top of a workflow tells an editor of it.
    """
    import msgspec

    from headgate.authoring.json_schema_of import definition_schema

    made = definition_schema()
    if out is None:
        common.output.data(made)
        return exit_codes.COMPLETED
    try:
        Path(out).write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
    except OSError as error:
        raise Invalid(f"--out: {out} cannot be written: {error.strerror or error}.") from None
    common.output.notice(f"Wrote the schema to {out}.")
    return exit_codes.COMPLETED
