"""Files among values: each list of items is looked through once, and of its files only the item's own is read."""

from __future__ import annotations

from typing import Any

from headgate.engine.file_values import with_texts

LIST = 7


class Shelf:
    """Files by name; `read` are those whose text was asked for."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def keep(self, data: bytes, name: str, media_type: str = "") -> dict[str, Any]:
        raise NotImplementedError  # files are only read here

    def text(self, value: dict[str, Any]) -> str | None:
        self.read.append(value["name"])
        return f"text of {value['name']}"


def file(name: str) -> dict[str, Any]:
    return {"$file": "0" * 64, "name": name, "media_type": "text/plain"}


def test_a_text_file_becomes_its_text_wherever_it_stands():
    values = {1: {"letter": file("a"), "rest": [1, {"inner": file("b")}]}, 2: "plain"}

    read = with_texts(values, Shelf(), fileless=set())

    assert read == {1: {"letter": "text of a", "rest": [1, {"inner": "text of b"}]}, 2: "plain"}
    assert values[1]["letter"] == file("a"), "what is shared stays as it is"


def test_an_item_reads_its_own_file_and_no_other():
    shelf = Shelf()
    values = {LIST: [file("a"), file("b"), {"deep": file("c")}]}

    read = with_texts(values, shelf, fileless=set(), list_of_items=LIST, item=2)

    assert read[LIST] == [file("a"), file("b"), {"deep": "text of c"}]
    assert shelf.read == ["c"]


def test_what_holds_no_file_is_looked_through_once():
    class Watched(dict[str, Any]):
        looked = 0

        def __contains__(self, key: object) -> bool:
            Watched.looked += 1
            return super().__contains__(key)

    fileless: set[int] = set()
    values = {3: Watched(a=1), LIST: [1, 2, 3]}

    for item in range(3):
        assert with_texts(values, Shelf(), fileless=fileless, list_of_items=LIST, item=item) is values

    assert Watched.looked == 1
    assert fileless == {3}
