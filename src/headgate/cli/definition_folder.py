"""The folder of a workflow file: where its scripts and prompt templates are read, and nothing outside of it."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

from headgate.authoring import UnreadableFile

__all__ = ["DefinitionFolder"]

FILE_BYTES_MAX = 1024 * 1024
FILES_MAX = 1_000
NEIGHBOURS_MAX = 10_000


class DefinitionFolder:
    """Reads files by paths relative to a folder. `texts` holds what was read, so that it can be sent along."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts: dict[str, str] = {}

    def read(self, path: str) -> str:
        """Return a file's text; the same each time. Raises `UnreadableFile`: the path leads out of the folder (`..`,
        absolute, through a link), or there is no plain UTF-8 file of at most a mebibyte."""
        if path not in self.texts:
            if len(self.texts) >= FILES_MAX:
                raise UnreadableFile(
                    f"a workflow can refer to {FILES_MAX:,} files at most; split it into sub-workflows."
                )
            self.texts[path] = self._text(path)
        return self.texts[path]

    def _text(self, path: str) -> str:
        named = PurePosixPath(path)
        if named.is_absolute() or Path(path).is_absolute() or ".." in named.parts or "\x00" in path:
            raise UnreadableFile(f"the file {path} is not inside of the workflow's folder; move it there.")
        file = self.folder / path
        try:
            real = file.resolve(strict=True)
            if not real.is_relative_to(self.folder.resolve()):
                raise UnreadableFile(
                    f"the file {path} is a link that leads out of the workflow's folder; copy it there."
                )
            kind = real.stat().st_mode
            if not stat.S_ISREG(kind):
                what = "a folder" if stat.S_ISDIR(kind) else "no plain file"
                raise UnreadableFile(f"expected {path} to be a file, but it is {what}.")
            with real.open("rb") as opened:
                data = opened.read(FILE_BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise UnreadableFile(
                f"there is no file {path} beside the workflow.", missing=True, neighbours=self._neighbours(named.parent)
            ) from None
        except (OSError, RuntimeError) as error:  # a RuntimeError: links that lead round in a circle
            raise UnreadableFile(
                f"the file {path} cannot be read: {getattr(error, 'strerror', None) or error}."
            ) from None
        if len(data) > FILE_BYTES_MAX:
            raise UnreadableFile(f"expected {path} to have at most {FILE_BYTES_MAX:,} bytes; it has more.")
        try:
            return data.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise UnreadableFile(f"the file {path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None

    def _neighbours(self, folder: PurePosixPath) -> tuple[str, ...]:
        """Return the names of what is in a folder of this one, to say what could have been meant."""
        try:
            place = (self.folder / folder).resolve()
            if not place.is_relative_to(self.folder.resolve()):
                return ()
            names = sorted(entry.name for entry in place.iterdir())
        except (OSError, RuntimeError):
            return ()
        return tuple(names[:NEIGHBOURS_MAX])
