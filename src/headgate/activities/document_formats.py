"""What a document is, by its name or first bytes, and how the text of each kind is read.

Everything here runs in a thread and works on bytes; no kind of document is trusted to be what it says.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from headgate.ports import Attempt

if TYPE_CHECKING:
    from docx.blkcntnr import BlockItemContainer
    from docx.table import Table
    from docx.text.paragraph import Paragraph

__all__ = ["MEDIA_TYPES", "Document", "bytes_of", "media_type_of", "read_document"]

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML = "text/html"
MARKDOWN = "text/markdown"
PLAIN = "text/plain"
MEDIA_TYPES = (PDF, DOCX, HTML, MARKDOWN, PLAIN)
PAGES_MAX = 5_000
TEXT_CHARACTERS_MAX = 20_000_000
UNPACKED_BYTES_MAX = 400 * 1024 * 1024
"""What a DOCX, which is a ZIP archive, may unpack to."""
TABLE_DEPTH_MAX = 8
_SUFFIXES = {
    ".pdf": PDF,
    ".docx": DOCX,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".txt": PLAIN,
    ".text": PLAIN,
}
_ALIASES = {"application/xhtml+xml": HTML, "text/x-markdown": MARKDOWN, "application/x-pdf": PDF}
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_HEADING_STYLE = re.compile(r"Heading ([1-9])")
_NUL = str.maketrans({"\0": None})


class Document(msgspec.Struct, frozen=True):
    """A document's text, page by page (formats without pages have one), and what it says its title is."""

    pages: tuple[str, ...]
    title: str


Stopped = Callable[[], bool]


def media_type_of(name: str, data: bytes, given: str) -> str:
    """Return the kind of a document: as it was `given`, else by the name's ending, else by its first bytes.

    Raises `Attempt` (`unknown_media_type`).
    """
    base = given.partition(";")[0].strip().lower()
    base = _ALIASES.get(base, base)
    if base in MEDIA_TYPES:
        return base
    if base.startswith("text/"):
        return PLAIN
    if base and base != "application/octet-stream":
        raise _failed("unknown_media_type", f"expected media_type to be one of {', '.join(MEDIA_TYPES)}, got {given!r}")
    suffix = re.search(r"\.\w+$", name.lower())
    return _SUFFIXES.get(suffix.group(), "") or _by_bytes(name, data) if suffix else _by_bytes(name, data)


def _by_bytes(name: str, data: bytes) -> str:
    if b"%PDF-" in data[:1024]:
        return PDF
    if data.startswith(b"PK\x03\x04") and b"word/" in data:
        return DOCX
    if re.match(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)", data[:512], re.IGNORECASE):
        return HTML
    if b"\0" not in data[:4096] or data.startswith(tuple(bom for bom, _ in _BOMS)):
        return PLAIN
    raise _failed(
        "unknown_media_type",
        f"{name} is none of the documents that can be read ({', '.join(MEDIA_TYPES)}). Convert it, or set media_type",
    )


def bytes_of(content: str, media_type: str) -> bytes:
    """Return the bytes of a document given as text: PDF and DOCX as Base64, others as they are."""
    base = media_type.partition(";")[0].strip().lower()
    if _ALIASES.get(base, base) not in (PDF, DOCX):
        return codecs.BOM_UTF8 + content.encode("utf-8", "replace")
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        message = f"expected content to be Base64, as {base} is given, got {len(content):,} characters that are not"
        raise _failed("invalid_parameters", message) from None


def read_document(name: str, data: bytes, media_type: str, *, charset_of: str, stopped: Stopped) -> Document:
    """Return the text of a document of that kind; `stopped` is asked before each page.

    Raises `Attempt`, not retryable, saying what to do: `document_encrypted`, `document_damaged`, `document_too_large`,
    `document_empty`, `missing_extra`.
    """
    if media_type == PDF:
        document = _read_pdf(name, data, stopped)
    elif media_type == DOCX:
        document = _read_docx(name, data)
    elif media_type == HTML:
        document = _read_html(_decoded(data, charset_of, HTML))
    else:
        document = _read_text(_decoded(data, charset_of, media_type), media_type)
    return _checked(name, document, media_type)


def _checked(name: str, document: Document, media_type: str) -> Document:
    characters = sum(map(len, document.pages))
    if characters > TEXT_CHARACTERS_MAX:
        message = f"{name} has {characters:,} characters of text, the most is {TEXT_CHARACTERS_MAX:,}. Divide it"
        raise _failed("document_too_large", message)
    if any(page.strip() for page in document.pages):
        return document
    if media_type == PDF:
        pages = len(document.pages)
        message = (
            f"{name} has {pages} pages and no text in them: they are probably scanned pictures. Let a program for "
            "text recognition add the text first (such as `ocrmypdf`)"
        )
        raise _failed("document_empty", message)
    raise _failed("document_empty", f"{name} has no text ({media_type}). Is it the right file?")


# --- PDF -------------------------------------------------------------------------------------------------------


def _read_pdf(name: str, data: bytes, stopped: Stopped) -> Document:
    try:
        import pypdf
        from pypdf.errors import DependencyError, FileNotDecryptedError, WrongPasswordError
    except ImportError:
        raise _missing_extra("PDF") from None
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise _encrypted(name)
        return Document(tuple(_pdf_pages(name, reader, stopped)), _pdf_title(reader))
    except Attempt:
        raise
    except (FileNotDecryptedError, WrongPasswordError, DependencyError):
        raise _encrypted(name) from None
    except Exception as error:  # noqa: BLE001 - a damaged file makes pypdf fail with whatever it stumbles over
        raise _damaged(name, "PDF", error) from None


def _pdf_pages(name: str, reader: Any, stopped: Stopped) -> Iterator[str]:
    if (pages := len(reader.pages)) > PAGES_MAX:
        message = f"{name} has {pages:,} pages, the most is {PAGES_MAX:,}. Divide it"
        raise _failed("document_too_large", message)
    characters = 0
    for page in reader.pages:
        if stopped() or characters > TEXT_CHARACTERS_MAX:
            return  # nobody waits for it any more, or `_checked` will refuse it
        text = page.extract_text().translate(_NUL).replace("\f", "\n").strip()
        characters += len(text)
        yield text


def _pdf_title(reader: Any) -> str:
    title = reader.metadata.title if reader.metadata else None
    return title.strip() if isinstance(title, str) else ""


def _encrypted(name: str) -> Attempt:
    message = f"{name} is encrypted. Save a copy without a password first (such as `qpdf --decrypt IN OUT`)"
    return _failed("document_encrypted", message)


# --- DOCX ------------------------------------------------------------------------------------------------------


def _read_docx(name: str, data: bytes) -> Document:
    try:
        import docx
    except ImportError:
        raise _missing_extra("DOCX") from None
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise _encrypted_word(name)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > UNPACKED_BYTES_MAX:
            message = f"{name} unpacks to {unpacked:,} bytes, the most is {UNPACKED_BYTES_MAX:,}. Divide it"
            raise _failed("document_too_large", message)
        document = docx.Document(io.BytesIO(data))
        blocks = [block for block in _docx_blocks(document, 0) if block.strip()]
        title = (document.core_properties.title or "").strip() or _first_heading("\n".join(blocks))
    except Attempt:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file makes python-docx fail with whatever it stumbles over
        raise _damaged(name, "DOCX", error) from None
    return Document(("\n\n".join(blocks).translate(_NUL),), title)


def _docx_blocks(container: Any, depth: int) -> Iterator[str]:
    """Yield paragraphs and tables in the order of the document."""
    from docx.table import Table

    for item in container.iter_inner_content():
        if isinstance(item, Table):
            yield "\n".join(_docx_rows(item, depth))
        else:
            yield _docx_paragraph(item)


def _docx_paragraph(paragraph: Paragraph) -> str:
    style = (paragraph.style.name if paragraph.style is not None else None) or ""
    text = paragraph.text.strip()
    if style == "Title":
        return f"# {text}" if text else ""
    if heading := _HEADING_STYLE.fullmatch(style):
        return f"{'#' * min(int(heading.group(1)), 6)} {text}" if text else ""
    return f"- {text}" if text and style.startswith("List") else text


def _docx_rows(table: Table, depth: int) -> Iterator[str]:
    if depth >= TABLE_DEPTH_MAX:
        return
    for row in table.rows:
        cells: dict[int, Any] = {id(cell._tc): cell for cell in row.cells}  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]  # a merged cell is told from its element only
        yield " | ".join(_docx_cell(cell, depth) for cell in cells.values())


def _docx_cell(cell: BlockItemContainer, depth: int) -> str:
    return " ".join(block.replace("\n", " ") for block in _docx_blocks(cell, depth + 1) if block.strip())


def _encrypted_word(name: str) -> Attempt:
    message = f"{name} is a Word file that is encrypted, or of the old .doc kind. Save it as .docx without a password"
    return _failed("document_encrypted", message)


# --- HTML, Markdown, text --------------------------------------------------------------------------------------


def _read_html(text: str) -> Document:
    from headgate.activities.html_text import HtmlText

    page = HtmlText()
    page.feed(text)
    page.close()
    return Document((page.text,), page.title or _first_heading(page.text))


def _read_text(text: str, media_type: str) -> Document:
    title = _first_heading(text) if media_type == MARKDOWN else ""
    pages = [page.strip("\n") for page in text.replace("\r\n", "\n").translate(_NUL).split("\f")]
    return Document(tuple(pages), title)


def _first_heading(text: str) -> str:
    found = re.search(r"^#{1,6}[ \t]+(\S.*)$", text, re.MULTILINE)
    return found.group(1).strip().rstrip("#").rstrip() if found else ""


def _decoded(data: bytes, charset_of: str, media_type: str) -> str:
    """Return the text: by its byte order mark, the charset that is told, UTF-8 where it is that, else Windows-1252."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data.decode(encoding, "replace")
    told = _CHARSET.search(charset_of)
    named = told.group(1) if told else ""
    if not named and media_type == HTML and (meta := _META_CHARSET.search(data[:4096])):
        named = meta.group(1).decode("ascii")
    for encoding in (named, "utf-8"):
        try:
            if encoding:
                return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode("cp1252", "replace")


# --- Failures --------------------------------------------------------------------------------------------------


def _failed(code: str, message: str) -> Attempt:
    return Attempt.failed(code, f"document_text: {message}.", retryable=False)


def _missing_extra(kind: str) -> Attempt:
    return _failed("missing_extra", f'reading {kind} needs packages that are not here: pip install "headgate[docs]"')


def _damaged(name: str, kind: str, error: Exception) -> Attempt:
    what = type(error).__name__
    return _failed("document_damaged", f"{name} cannot be read as {kind} ({what}): it is damaged, or no {kind} at all")
