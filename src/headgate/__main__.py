"""`python -m headgate` is the command line."""

from headgate.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
