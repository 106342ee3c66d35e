"""The text of an HTML page as a reader sees it: no scripts or styles, headings and lists marked as in Markdown."""

from __future__ import annotations

import re
from html.parser import HTMLParser

__all__ = ["HtmlText"]

_UNSEEN = frozenset({"script", "style", "noscript", "template", "svg", "math", "iframe", "object", "select"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "div", "dl", "dt", "fieldset"}
    | {"figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "nav"}
    | {"ol", "p", "pre", "section", "summary", "table", "ul"}
)
_LINES = frozenset({"br", "li", "tr", "option"})
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_SPACES = re.compile(r"[ \t\r\n\f]+")


class HtmlText(HTMLParser):
    """Reads a page: `feed` it, `close` it, then `text` and `title` are there. It never fails on wrong HTML."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._title: list[str] = []
        self._pieces: list[str] = []
        self._unseen: list[str] = []
        self._in_title = False
        self._preformatted = 0
        self._cells = 0

    @property
    def title(self) -> str:
        return _SPACES.sub(" ", "".join(self._title)).strip()

    @property
    def text(self) -> str:
        whole = "".join(self._pieces)
        lines = [line.rstrip() if line.startswith("\0") else line.strip() for line in whole.split("\n")]
        joined = "\n".join(line.removeprefix("\0") for line in lines)
        return re.sub(r"\n{3,}", "\n\n", joined).strip("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen.append(tag)
        elif tag == "title":
            self._in_title = True
        elif not self._unseen:
            self._open(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            if tag in self._unseen:
                del self._unseen[self._unseen.index(tag) :]
        elif tag == "title":
            self._in_title = False
        elif tag in _BLOCKS:
            self._pieces.append("\n\n")
            self._preformatted = max(0, self._preformatted - 1) if tag == "pre" else self._preformatted

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _UNSEEN and tag != "title" and not self._unseen:
            self._open(tag)

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        if self._in_title:
            self._title.append(data)
        elif self._preformatted:
            self._pieces.append(data.replace("\0", "").replace("\n", "\n\0"))
        else:
            self._pieces.append(_SPACES.sub(" ", data.replace("\0", "")))

    def _open(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._pieces.append("\n\n" + _HEADINGS.get(tag, "") + ("\0" if tag == "pre" else ""))
            self._preformatted += tag == "pre"
        elif tag in _LINES:
            self._pieces.append("\n- " if tag == "li" else "\n")
            self._cells = 0
        elif tag in ("td", "th"):
            self._pieces.append(" | " if self._cells else "")
            self._cells += 1
