"""Workers as threads of one process, connected as those in processes of their own are."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from eightfold.training.connected import Connected, connected
from eightfold.training.seat import Address, Seat

PATIENCE = 20.0


def seats(count: int, secret: str = "word", memory: int | None = None) -> list[Seat]:
    """Seats on loopback whose sockets listen already."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    places = tuple(Address(*one.getsockname()) for one in listeners)
    return [Seat(rank, places, secret, one.detach(), memory) for rank, one in enumerate(listeners)]


def together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What they return, or the exceptions that they raise; all run at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        return [future.exception() or future.result() for future in futures]


@contextmanager
def joined(
    count: int, *, shared: bool = False, silence: float = 20.0, least: float = 120.0
) -> Iterator[list[Connected]]:
    """Connected workers; `shared` lets them add up in memory that all of them see."""
    memory = os.memfd_create("test") if shared else None
    workers = together(
        [
            lambda seat=seat: connected(seat, {}, patience=PATIENCE, silence=silence, least=least)
            for seat in seats(count, memory=memory)
        ]
    )
    assert all(isinstance(worker, Connected) for worker in workers), workers
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()
        if memory is not None:
            os.close(memory)
