"""Reads ahead in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")

AHEAD = 2
"""Items that wait: one is enough to overlap, a second evens out batches that take longer to read."""
PATIENCE = 0.2
"""Seconds that a caller who stops waits for the thread."""


class _End:
    """After the last item: what ended it, where that was an exception."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(items: Iterable[T], count: int = AHEAD) -> Iterator[T]:
    """The same items, produced by a thread while the ones before are used.

    An exception of the producer is raised here, after the items before it. When the caller stops early, the thread
    ends after the item that it is about to produce; where that takes long (a server that does not answer), it is left
    behind, and does not keep the process alive.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(count)
    stopped = threading.Event()

    def produce() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                waiting.put(item)
                if stopped.is_set():
                    return
        except BaseException as raised:  # handed to the thread that reads
            error = raised
        waiting.put(_End(error))

    thread = threading.Thread(target=produce, name="ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        _empty(waiting)  # a `put` that waits for room goes on, and none after it has to wait
        thread.join(PATIENCE)


def _empty(waiting: queue.Queue[T]) -> None:
    while not waiting.empty():
        waiting.get_nowait()
