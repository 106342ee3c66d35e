"""Threads for a user's plain functions: a bounded pool that nobody waits for when the process ends.

`ThreadPoolExecutor` waits at the end of the process for whatever its threads do, so a function that hangs would keep a
worker that was told to leave for ever, and go on with a task that others have been given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

__all__ = ["UserThreads"]

_Work = tuple["Future[Any]", Callable[[], Any]]


class UserThreads(Executor):
    """At most `most` threads, made as they are needed; what is submitted while all are busy waits its turn."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._work.put((future, partial(fn, *args, **kwargs)))
        with self._lock:
            if not self._idle.acquire(blocking=False) and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let idle threads end, and the others when they are done; `wait` or not, they are not waited for."""
        if cancel_futures:
            self._cancel_what_waits()
        for _ in range(self._threads):
            self._work.put(None)

    def _cancel_what_waits(self) -> None:
        while True:
            try:
                item = self._work.get_nowait()
            except Empty:
                return
            if item is not None:
                item[0].cancel()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            _settle(*item)
            del item  # or what it returned would live until the next one
            self._idle.release()


def _settle(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - it is the caller's to deal with
        future.set_exception(error)
    else:
        future.set_result(result)
