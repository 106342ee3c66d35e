"""The command line: parse, call, print. Nothing is imported before the verb is known."""

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and exit with its code."""
    from headgate.cli.program import run_program

    run_program()
