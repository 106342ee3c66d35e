"""`document_text`: what a reader would see of a document, and a clear word where there is nothing to see."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.activities.context import context_of

from headgate.activities import document_formats, document_text
from headgate.activities.document_formats import DOCX, HTML, PDF
from headgate.ports import Attempt


def read(folder: Path = Path("nowhere"), **parameters: Any) -> dict[str, Any]:
    running: Any = document_text.document_text(folder)(parameters, context_of())
    return asyncio.run(running)


def failure(**parameters: Any) -> Attempt:
    with pytest.raises(Attempt) as caught:
        read(**parameters)
    assert not caught.value.failure.retryable
    assert caught.value.message.startswith("document_text: ")
    return caught.value


# --- PDF -----------------------------------------------------------------------------------------------------


def pdf(*pages: str, title: str = "", password: str = "") -> bytes:
    """A PDF whose pages show these lines."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
            NameObject("/Encoding"): NameObject("/WinAnsiEncoding"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(300, 300)
        shown = " T* ".join(f"({line}) Tj" for line in text.split("\n")) if text else ""
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 14 TL 20 250 Td {shown} ET".encode("cp1252"))
        page[NameObject("/Contents")] = writer._add_object(stream)
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def test_a_pdf_is_read_page_by_page(tmp_path: Path):
    path = tmp_path / "pump.PDF"
    path.write_bytes(pdf("The pump\nruns dry.", "", "Café closes at 5.", title=" Pumps "))

    result = read(file=str(path))

    assert [page["number"] for page in result["pages"]] == [1, 2, 3]
    assert result["pages"][0]["text"].split() == ["The", "pump", "runs", "dry."]
    assert result["pages"][2]["text"] == "Café closes at 5."
    assert result["text"] == "\f".join(page["text"] for page in result["pages"])
    assert (result["title"], result["media_type"], result["page_count"]) == ("Pumps", PDF, 3)
    assert result["empty_pages"] == [2]


def test_a_pdf_may_be_given_as_base64():
    content = base64.b64encode(pdf("Hello there.")).decode()

    assert read(content=content, media_type=PDF)["text"] == "Hello there."
    assert "Base64" in failure(content="no base, 64 or not", media_type=PDF).message


def test_a_pdf_of_pictures_says_that_its_text_has_to_be_recognised_first(tmp_path: Path):
    (tmp_path / "scan.pdf").write_bytes(pdf("", ""))

    error = failure(file=str(tmp_path / "scan.pdf"))

    assert error.failure.code == "document_empty"
    assert "2 pages and no text" in error.message
    assert "text recognition" in error.message


def test_an_encrypted_pdf_says_what_to_do(tmp_path: Path):
    (tmp_path / "locked.pdf").write_bytes(pdf("Secret.", password="swordfish"))

    error = failure(file=str(tmp_path / "locked.pdf"))

    assert error.failure.code == "document_encrypted"
    assert "without a password" in error.message


@pytest.mark.parametrize("media_type", [PDF, DOCX])
@pytest.mark.parametrize("data", [b"", b"%PDF-1.7\n", b"PK\x03\x04 broken", b"\x00\xff" * 500])
def test_a_damaged_document_is_named_as_damaged(data: bytes, media_type: str):
    error = failure(content=base64.b64encode(data).decode(), media_type=media_type)

    assert error.failure.code == "document_damaged"
    assert "damaged" in error.message


def test_a_pdf_cut_anywhere_is_read_or_named_as_damaged_and_nothing_else(tmp_path: Path):
    whole = pdf("The pump runs dry.", "Second page.")
    path = tmp_path / "cut.pdf"
    outcomes: set[str] = set()

    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        try:
            outcomes.add(read(file=str(path))["text"])
        except Attempt as error:
            outcomes.add(error.failure.code)

    assert "document_damaged" in outcomes
    assert outcomes <= {"document_damaged", "document_empty", "The pump runs dry.", "The pump runs dry.\fSecond page."}


def test_reading_ends_at_the_next_page_when_nobody_waits_for_it():
    asked: list[int] = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 2

    document = document_formats.read_document(
        "a", pdf("one", "two", "three", "four"), PDF, charset_of="", stopped=stopped
    )

    assert document.pages == ("one", "two")


def test_without_the_extra_it_says_which_to_install(monkeypatch: pytest.MonkeyPatch):
    content = base64.b64encode(pdf("Hello.")).decode()
    monkeypatch.setitem(sys.modules, "pypdf", None)
    monkeypatch.setitem(sys.modules, "docx", None)

    for media_type in (PDF, DOCX):
        error = failure(content=content, media_type=media_type)
        assert error.failure.code == "missing_extra"
        assert 'pip install "headgate[docs]"' in error.message


# --- DOCX ----------------------------------------------------------------------------------------------------


def docx_bytes() -> bytes:
    import docx

    document = docx.Document()
    document.add_heading("Service", 1)
    document.add_paragraph("Rinse the filter.")
    table = document.add_table(rows=2, cols=3)
    for cell, text in zip(
        (cell for row in table.rows for cell in row.cells), ["Part", "No", "Price", "Seal", "X-7", "4.50"], strict=True
    ):
        cell.text = text
    table.rows[0].cells[0].merge(table.rows[0].cells[1])
    document.add_heading("Storage", 2)
    document.add_paragraph("Keep it dry.", style="List Bullet")
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def test_a_docx_keeps_the_order_of_headings_paragraphs_and_tables(tmp_path: Path):
    (tmp_path / "service.docx").write_bytes(docx_bytes())

    result = read(file=str(tmp_path / "service.docx"))

    assert result["text"].split("\n\n") == [
        "# Service",
        "Rinse the filter.",
        "Part No | Price\nSeal | X-7 | 4.50",
        "## Storage",
        "- Keep it dry.",
    ]
    assert (result["title"], result["page_count"], result["media_type"]) == ("Service", 1, DOCX)


def test_a_docx_that_unpacks_to_too_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", "0" * 5_000_000)
    monkeypatch.setattr(document_formats, "UNPACKED_BYTES_MAX", 4_999_999)

    error = failure(file=str(path))

    assert error.failure.code == "document_too_large"
    assert "5,000,000" in error.message


def test_a_word_file_of_the_old_kind_is_named_as_such():
    content = base64.b64encode(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100).decode()

    assert "Save it as .docx" in failure(content=content, media_type=DOCX).message


# --- HTML and text -------------------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html><html><head><title>The &amp; Mill</title><style>p {color: red}</style>
<script>if (a < b) document.write("<p>gone</p>")</script></head><body>
<nav><a href="/x">Home</a></nav><h1>Mill  &mdash; hours</h1>
<p>Open from
  <b>nine</b> to f&#105;ve.<br>Not on <i>Sunday</i>s.</p>
<ul><li>bread<li>rolls</ul><table><tr><th>Day<th>Hours</tr><tr><td>Mon</td><td>9&ndash;17</td></tr></table>
<pre>  a
    b</pre><noscript>no</noscript><p>End &lt;here&gt;</body>"""


def test_html_is_read_as_it_is_seen(tmp_path: Path):
    (tmp_path / "mill.html").write_text(PAGE, encoding="utf-8")

    result = read(file=str(tmp_path / "mill.html"))

    assert result["text"].split("\n") == [
        *("Home", "", "# Mill — hours", "", "Open from nine to five.", "Not on Sundays.", "", "- bread", "- rolls", ""),
        *("Day | Hours", "Mon | 9–17", "", "  a", "    b", "", "End <here>"),
    ]
    assert (result["title"], result["media_type"]) == ("The & Mill", HTML)


def test_html_that_is_wrong_is_read_as_far_as_it_goes():
    assert read(content="<p>a<div>b</p></span><td>c", media_type="text/html")["text"] == "a\n\nb\n\nc"
    assert failure(content="<script>never closed <p>text", media_type="text/html").failure.code == "document_empty"


@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [
        ("Größe".encode(), "a.txt", None),
        ("Größe".encode("utf-8-sig"), "a.txt", None),
        ("Größe".encode("utf-16"), "a.txt", None),
        ("Größe".encode("cp1252"), "a.txt", None),
        ("Größe".encode("cp437"), "a.txt", "text/plain; charset=cp437"),
        ('<meta charset="mac-roman">Größe'.encode("mac-roman"), "a.html", None),
    ],
)
def test_the_encoding_is_found(data: bytes, name: str, media_type: str | None, tmp_path: Path):
    (tmp_path / name).write_bytes(data)

    text = read(file=str(tmp_path / name), media_type=media_type)["text"]

    assert text == "Größe"


def test_markdown_and_text_are_taken_as_they_are(tmp_path: Path):
    (tmp_path / "notes.md").write_text("Intro\r\n\r\n## Title ##\r\nText\fNext", encoding="utf-8")
    (tmp_path / "README").write_text("<b>no page</b>", encoding="utf-8")

    notes, readme = read(file=str(tmp_path / "notes.md")), read(file=str(tmp_path / "README"))

    assert (notes["title"], notes["text"]) == ("Title", "Intro\n\n## Title ##\nText\fNext")
    assert [page["text"] for page in notes["pages"]] == ["Intro\n\n## Title ##\nText", "Next"]
    assert (readme["text"], readme["media_type"]) == ("<b>no page</b>", "text/plain")


def test_a_file_without_an_ending_is_known_by_its_first_bytes(tmp_path: Path):
    kinds = {"a": (pdf("Hi."), PDF), "b": (docx_bytes(), DOCX), "c": (b"\n<HTML>x", HTML)}
    for name, (data, _) in kinds.items():
        (tmp_path / name).write_bytes(data)

    assert {name: read(file=str(tmp_path / name))["media_type"] for name in kinds} == {
        name: kind for name, (_, kind) in kinds.items()
    }
    (tmp_path / "d.xls").write_bytes(b"\0\1\2" * 50)
    assert failure(file=str(tmp_path / "d.xls")).failure.code == "unknown_media_type"


# --- Where it is ---------------------------------------------------------------------------------------------


def test_a_path_is_relative_to_the_folder_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("Here.", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert read(file="in/a.txt")["text"] == "Here."
    assert "in/b.txt is not there" in failure(file="in/b.txt").message
    assert "in is a folder" in failure(file="in").message


def test_a_file_value_is_read_from_the_state_folder_by_its_own_media_type(tmp_path: Path):
    data = pdf("From the store.")
    key = hashlib.sha256(data).hexdigest()
    (tmp_path / "files" / key[:2]).mkdir(parents=True)
    (tmp_path / "files" / key[:2] / key).write_bytes(data)
    value = {"$file": key, "name": "report", "size": len(data), "media_type": PDF}

    result = read(tmp_path, file=value)

    assert (result["text"], result["name"]) == ("From the store.", "report")
    assert failure(file={"$file": "../" * 20}).failure.code == "invalid_parameters"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.txt").write_bytes(b"x" * 101)
    monkeypatch.setattr(document_text, "FILE_BYTES_MAX", 100)

    error = failure(file=str(tmp_path / "a.txt"))

    assert error.failure.code == "document_too_large"
    assert "101 bytes, the most is 100" in error.message


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({}, "either file or content, got neither"),
        ({"file": "a", "content": "b"}, "got both"),
        ({"content": "b"}, "beside its media_type"),
        ({"file": 7}, "a path or a file value, got int"),
        ({"file": "a\0b"}, "a path or a file value"),
        ({"fiel": "a"}, "got fiel"),
        ({"content": "b", "media_type": "image/png"}, "media_type to be one of application/pdf"),
    ],
)
def test_what_cannot_be_is_refused_with_its_value(parameters: dict[str, Any], says: str):
    assert says in failure(**parameters).message
