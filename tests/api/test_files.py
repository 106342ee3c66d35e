"""Files over HTTP: sent and taken out piece by piece, by names that are no paths, as attachments and nothing else."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headgate.api.uploads import KEPT_MICROSECONDS, UPLOADED
from headgate.core.commands import LoseAttempt
from headgate.stores.files import FolderFiles, _Unfinished
from headgate.stores.kept_files import KeptFiles

TAKING = """
name: taking
inputs: {picture: {type: file}}
activities:
  look: {use: echo, with: {size: "{{ INPUT.picture.size }}"}}
"""
MAKING = """
name: making
activities:
  make: {use: draw, queue: outside, outputs: [{name: chart, type: file}, note]}
  after: {use: echo, with: {size: "{{ make.chart.size }}", note: "{{ make.note }}"}}
"""
TABLE = """
name: table
activities:
  count: {use: script, outputs: [{name: rows, type: file}], with: {script: "OUTPUT = {'rows': 'a,b'}"}}
"""
GIF = bytes.fromhex("4749463839610100010080000000000000ffffff21f90401000000002c00000000010001000002024401003b")


async def taken(desk: Any) -> dict[str, Any]:
    polled = await desk.post("/workers/poll", {"worker": "outside", "worker_id": "w", "wait_seconds": 20})
    (task,) = polled.json()["activities"]
    return task


def test_a_file_that_was_sent_goes_into_a_start_and_comes_out_as_it_was(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TAKING)
        sent = (await desk.client.post("/files/dot.gif", content=GIF)).json()
        assert (sent["size"], sent["content_type"]) == (len(GIF), "image/gif")

        run = await desk.start("taking", wait=20, input={"picture": sent["file"]})

        assert run["outputs"] == {"look": {"size": len(GIF)}}
        for name in ("dot.gif", "picture"):
            got = await desk.get(f"/workflows/{run['id']}/activities/INPUT/files/{name}")
            assert got.content == GIF
        assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''dot.gif"
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in got.headers["content-security-policy"]

    play(scene)


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-3", 206, GIF[:4]),
        ("bytes=4-", 206, GIF[4:]),
        ("bytes=-2", 206, GIF[-2:]),
        ("bytes=10-999", 206, GIF[10:]),
        ("bytes=999-", 416, None),
        ("bytes=5-2", 416, None),
        ("bytes=0-1,4-5", 200, GIF),
        ("lines=1-2", 200, GIF),
    ],
)
def test_a_part_of_a_file_is_given_where_one_is_asked_for(play: Any, wanted: str, status: int, part: bytes | None):
    async def scene(desk: Any) -> None:
        await desk.deploy(TAKING)
        sent = (await desk.client.post("/files/dot.gif", content=GIF)).json()
        run = await desk.start("taking", wait=20, input={"picture": sent["file"]})

        got = await desk.get(f"/workflows/{run['id']}/activities/INPUT/files/dot.gif", headers={"Range": wanted})

        assert got.status_code == status
        assert part is None or got.content == part
        if status == 206 and part is not None:
            begin = GIF.index(part)
            assert got.headers["content-range"] == f"bytes {begin}-{begin + len(part) - 1}/{len(GIF)}"

    play(scene)


@pytest.mark.parametrize("report", ["by value", "by address", "by uuid", "by name"])
def test_a_worker_sends_the_file_of_its_output(play: Any, report: str):
    async def scene(desk: Any) -> None:
        await desk.deploy(MAKING)
        run = (await desk.start("making"))["workflow_id"]
        task = await taken(desk)
        path = f"/workflows/{run}/activities/make/files/chart.gif"
        sent = await desk.client.post(path, content=GIF, headers={"Content-Type": "image/gif"})
        assert sent.status_code == 201
        assert (await desk.get(path)).content == GIF, "it is there before the report"

        output = {
            "by value": {"note": "n", "chart": sent.json()["file"]},
            "by address": {"note": "n", "chart": f"postgres://{run}/make/chart.gif"},
            "by uuid": {"note": "n", "chart": f"postgres://{task['workflow_id']}/make/chart.gif"},
            "by name": {"note": "n"},
        }[report]
        await desk.post(f"/activities/{task['activity_id']}/complete", {"worker_id": "w", "output": output})

        ended = (await desk.get(f"/workflows/{run}?wait=20")).json()
        assert ended["outputs"] == {"after": {"size": len(GIF), "note": "n"}}
        assert (await desk.get(path)).content == GIF
        assert (await desk.client.post(path, content=GIF)).status_code == 409, "the run has ended"

    play(scene)


def test_what_a_worker_has_not_sent_fails_its_activity(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(MAKING)
        run = (await desk.start("making"))["workflow_id"]
        task = await taken(desk)
        await desk.post(f"/activities/{task['activity_id']}/complete", {"worker_id": "w", "output": {}})

        ended = (await desk.get(f"/workflows/{run}?wait=20")).json()
        assert (ended["status"], ended["activities"][0]["error_code"]) == ("failed", "invalid_output")

    play(scene)


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fpasswd", "a%5cb", "a%00b", "a%0ab", "a%22b", "x" * 201, "a/b"])
def test_a_name_that_could_be_a_path_or_a_header_is_refused(play: Any, name: str):
    async def scene(desk: Any) -> None:
        await desk.deploy(MAKING)
        run = (await desk.start("making"))["workflow_id"]
        for path in (f"/files/{name}", f"/workflows/{run}/activities/make/files/{name}"):
            answer = await raw_post(desk, path)
            assert answer in (404, 405, 422)
        assert not list((desk.app.folder / "files").rglob("*"))

    play(scene, work=False)


async def raw_post(desk: Any, path: str) -> int:
    """Return the status of a POST whose path no client has tidied up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.client.base_url.port)
    writer.write(f"POST /api/v1{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx".encode())
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


def test_a_type_that_could_break_a_header_is_not_taken_over(play: Any):
    async def scene(desk: Any) -> None:
        for given, kept in [
            ("text/html; charset=utf-8", "text/html; charset=utf-8"),
            ("text/html, x", "text/plain"),
            ("application/x-www-form-urlencoded", "text/plain"),
        ]:
            sent = await desk.client.post("/files/page", content=b"<p>", headers={"Content-Type": given})
            assert sent.json()["content_type"] == kept

    play(scene)


def test_a_file_that_is_cut_off_or_too_long_leaves_nothing(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("headgate.api.http.application.BODY_BYTES_MAX", 1_000_000)
    begun, ended = threading.Event(), threading.Event()
    discard = _Unfinished.discard
    write = _Unfinished.write

    def noted_write(self: Any, data: bytes) -> None:
        write(self, data)
        begun.set()

    def noted_discard(self: Any) -> None:
        discard(self)
        ended.set()

    monkeypatch.setattr(_Unfinished, "write", noted_write)
    monkeypatch.setattr(_Unfinished, "discard", noted_discard)

    async def scene(desk: Any) -> None:
        async def long() -> AsyncIterator[bytes]:
            for _ in range(11):
                yield bytes(100_000)

        assert (await desk.client.post("/files/long", content=long())).status_code == 413
        assert begun.is_set()
        assert not files_in(desk.app.folder / "files")
        begun.clear()
        ended.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", desk.client.base_url.port)
        head = b"POST /api/v1/files/cut HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000\r\n\r\n"
        writer.write(head + bytes(500_000))
        await asyncio.to_thread(begun.wait, 30)
        writer.close()
        await asyncio.to_thread(ended.wait, 30)
        assert not files_in(desk.app.folder / "files")

    play(scene)


class Upload:
    """Half of a file, on a connection of its own."""

    def __init__(self, address: str, path: str, content: bytes) -> None:
        host, _, port = address.partition(":")
        self.socket = socket.create_connection((host, int(port)))
        head = f"POST /api/v1{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(content)}\r\n\r\n"
        self.socket.sendall(head.encode() + content[: len(content) // 2])

    def end(self, how: str) -> None:
        """As the system does it for a process that is killed: in order, or, where it had something to read, hastily."""
        if how == "reset":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how != "silent":
            self.socket.close()


@pytest.mark.parametrize("how", ["closed", "reset", "silent"])
def test_a_worker_that_dies_while_it_sends_a_file_leaves_nothing_and_the_next_one_sends_it_whole(
    how: str, play: Any, monkeypatch: pytest.MonkeyPatch
):
    content, left = bytes(range(256)) * 4_000, threading.Event()
    discard = _Unfinished.discard

    def noted_discard(self: Any) -> None:
        discard(self)
        left.set()

    monkeypatch.setattr(_Unfinished, "discard", noted_discard)
    if how == "silent":
        monkeypatch.setattr("headgate.api.http.exchange.SILENCE_SECONDS_MAX", 1)

    async def scene(desk: Any) -> None:
        await desk.deploy(MAKING)
        run = (await desk.start("making"))["workflow_id"]
        await taken(desk)
        path = f"/workflows/{run}/activities/make/files/chart"
        upload = Upload(desk.client.base_url.netloc.decode(), path, content)
        async with asyncio.timeout(30):
            while not files_in(desk.app.folder / "files"):  # noqa: ASYNC110 - half of it is on the disk
                await asyncio.sleep(0.01)

        upload.end(how)
        assert await asyncio.to_thread(left.wait, 30)

        assert not files_in(desk.app.folder / "files")
        assert (await desk.get(path)).status_code == 404
        await desk.app.engine.submit(run, LoseAttempt(at=0, place="make", attempt=1, reason="its worker died"))
        again = await taken(desk)
        assert (await desk.client.post(path, content=content)).status_code == 201
        await desk.post(f"/activities/{again['activity_id']}/complete", {"worker_id": "w", "output": {"note": "n"}})
        assert (await desk.get(f"/workflows/{run}?wait=20")).json()["outputs"]["after"]["size"] == len(content)
        assert (await desk.get(path)).content == content
        assert len(files_in(desk.app.folder / "files")) == 1
        upload.socket.close()

    play(scene)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_no_file_stands_in_memory_as_a_whole(play: Any):
    size = 40_000_000

    async def scene(desk: Any) -> None:
        await desk.deploy(TAKING)

        async def zeros() -> AsyncIterator[bytes]:
            for _ in range(size // 100_000):
                yield bytes(100_000)

        tracemalloc.start()
        try:
            sent = (await desk.client.post("/files/zeros.bin", content=zeros())).json()
            run = await desk.start("taking", wait=20, input={"picture": sent["file"]})
            got = 0
            async with desk.client.stream("GET", f"/workflows/{run['id']}/activities/INPUT/files/picture") as answer:
                async for piece in answer.aiter_bytes():
                    got += len(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (sent["size"], got) == (size, size)
        assert peak < size / 3, "of client and server together"

    play(scene)


def test_a_file_that_an_activity_made_is_found_by_its_field_and_by_its_name(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TABLE)
        run = await desk.start("table", wait=30)
        for name in ("rows", "rows.txt"):
            assert (await desk.get(f"/workflows/{run['id']}/activities/count/files/{name}")).content == b"a,b"
        assert (await desk.get(f"/workflows/{run['id']}/activities/count/files/other")).status_code == 404
        assert (await desk.get(f"/workflows/{run['id']}/activities/what/files/rows")).status_code == 404
        for path in files_in(desk.app.folder / "files"):
            path.unlink()
        assert (await desk.get(f"/workflows/{run['id']}/activities/count/files/rows")).status_code == 404

    play(scene)


@pytest.mark.parametrize("tenant", ["default", "acme"])
def test_what_a_crash_leaves_of_a_file_is_swept_away_like_one_that_no_run_names(tmp_path: Path, tenant: str):
    unfinished = FolderFiles(tmp_path).of(tenant).begin("half")
    unfinished.write(b"half of it")
    unfinished._file.close()
    kept, now = KeptFiles(tmp_path), 1 << 62

    left = kept.older_than(now)

    assert len(left) == kept.remove(left, now) == 1
    assert not files_in(tmp_path)


def test_notes_of_files_that_were_sent_are_forgotten_after_a_day(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(MAKING)
        run = (await desk.start("making"))["workflow_id"]
        path = f"/workflows/{run}/activities/make/files"
        await desk.client.post(f"{path}/first", content=b"1")
        now = desk.app.clock.now()
        desk.app.clock.now = lambda: now + KEPT_MICROSECONDS + 1_000_000
        await desk.client.post(f"{path}/second", content=b"2")

        kept = [one.name for one in await desk.app.documents.list(UPLOADED)]
        assert kept == [f"{run}/make/second"]

    play(scene, work=False)
