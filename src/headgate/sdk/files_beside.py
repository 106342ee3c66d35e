"""The files beside a definition that it refers to (scripts, prompt templates), read when it is loaded."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from headgate.authoring import UnreadableFile

__all__ = ["FilesBeside"]

FILE_BYTES_MAX = 1024 * 1024
NEIGHBOURS_MAX = 1_000


class FilesBeside:
    """Reads texts from a folder, and keeps what it has read in `texts`, by the path that the definition names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.texts: dict[str, str] = {}

    def read(self, path: str) -> str:
        """Return a file's text; the same every time. Raises `UnreadableFile` for one that is missing, too large, not
        UTF-8, or not inside the folder."""
        if path in self.texts:
            return self.texts[path]
        relative = PurePosixPath(path)
        if relative.is_absolute() or ".." in relative.parts or "\\" in path:
            raise UnreadableFile(f"the file {path} is not in the definition's folder or below it; move it there.")
        file = self._folder / relative
        if not file.is_file():
            raise UnreadableFile(
                f"there is no file {path} beside the definition.", missing=True, neighbours=self._names_in(file.parent)
            )
        self.texts[path] = _text_of(file, path)
        return self.texts[path]

    def _names_in(self, folder: Path) -> tuple[str, ...]:
        if not folder.is_dir():
            return ()
        return tuple(sorted(file.name for file in list(folder.iterdir())[:NEIGHBOURS_MAX] if file.is_file()))


def _text_of(file: Path, path: str) -> str:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise UnreadableFile(f"the file {path} is larger than {FILE_BYTES_MAX} bytes.")
        return file.read_bytes().decode()
    except OSError as error:
        raise UnreadableFile(f"the file {path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"the file {path} is not UTF-8 text (byte {error.start}).") from None
