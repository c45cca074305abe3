"""Connections between all workers, and bytes that go both ways at once over them."""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from eightfold.errors import PlatformError
from eightfold.training.collective import WorkerLostError
from eightfold.training.pace import LEAST, Pace
from eightfold.training.pulse import SILENCE, Pulse, ended
from eightfold.training.stopping import StopRequest

__all__ = ["Link", "Mesh"]

HEADER = struct.Struct("<8sQQB")
"""What is done, how many bytes of it, the how manieth time anything is done, and the signal to stop for."""

ADDING = ("grow", "sum")
"""What is done where a sum of gradients begins."""


class Link(NamedTuple):
    """What leads to one other worker."""

    data: socket.socket
    pulse: socket.socket


class Mesh:
    """This worker's connections to all others.

    Args:
        rank: of this worker.
        links: to each other worker, by its rank.
        silence: seconds after which a worker that gives no sign of life counts as lost.
        least: seconds for which one that does is waited for at least; see `Pace`.

    Attributes:
        stop: what this worker is asked for.
        stopping: the signal for which all are to stop, as all know it since they last met; 0: none.
    """

    def __init__(self, rank: int, links: Mapping[int, Link], silence: float = SILENCE, least: float = LEAST) -> None:
        self.rank, self.count = rank, len(links) + 1
        self.stop, self.stopping = StopRequest(), 0
        self.others = tuple(sorted(links))
        self._links = {other: link.data for other, link in links.items()}
        self._turns, self._pace = 0, Pace(least)
        for link in self._links.values():
            link.setblocking(False)
        self._pulse = Pulse({other: link.pulse for other, link in links.items()}, silence)

    def close(self) -> None:
        """Parts from the others."""
        self._pulse.close()
        for link in self._links.values():
            link.close()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Lets the others wait for as long as the block takes."""
        self._pulse.busy = True
        try:
            yield
        finally:
            self._pulse.busy = False

    def meet(self, what: str, size: int = 0) -> None:
        """Waits until all workers have come to the same place.

        Args:
            what: is done there; at most 8 letters.
            size: how much of it.

        Raises:
            WorkerLostError: one does not come any more.
            PlatformError: one has come to another place.
        """
        self._turns += 1
        signal = self.stop.signal  # as it is now: it may change while others are waited for
        own = HEADER.pack(what.encode(), size, self._turns, signal)
        came = {other: bytearray(HEADER.size) for other in self.others}
        self.exchange(dict.fromkeys(self.others, own), came)
        headers = {other: HEADER.unpack(header) for other, header in came.items()}
        self.stopping = max(self.stopping, signal, *(header[-1] for header in headers.values()))
        for other, (name, amount, turn, _) in headers.items():
            there = name.rstrip(b"\0").decode()
            if (there, amount, turn) != (what, size, self._turns):
                raise PlatformError(
                    f"the workers have come apart: worker {other} is at exchange {turn} ({there}, {amount} bytes), "
                    f"worker {self.rank} at {self._turns} ({what}, {size} bytes); expected the same calls in the same "
                    "order on all"
                )
        self._pace.met(adding=what in ADDING)
        self._pulse.limit = self._pace.limit

    def exchange(self, sent: Mapping[int, Any], received: Mapping[int, Any]) -> None:
        """Sends and receives until all has come and gone.

        Args:
            sent: a buffer for each worker that something goes to.
            received: a buffer for each worker that something comes from; it is filled.

        Raises:
            WorkerLostError: a worker is lost.
        """
        going = {other: memoryview(buffer).cast("B") for other, buffer in sent.items()}
        coming = {other: memoryview(buffer).cast("B") for other, buffer in received.items()}
        with selectors.DefaultSelector() as selector:
            selector.register(self._pulse.alarm, selectors.EVENT_READ, None)
            waiting = {other: self._move(other, going, coming) for other in self.others}
            for other, events in waiting.items():
                if events:
                    selector.register(self._links[other], events, other)
            while any(waiting.values()):
                self._pulse.awaited = {other: 0 for other, events in waiting.items() if events}
                for key, _ in selector.select():
                    if key.data is None:
                        raise self._alarm()
                    events = self._move(key.data, going, coming)
                    if not events:
                        selector.unregister(key.fileobj)
                    elif events != waiting[key.data]:
                        selector.modify(key.fileobj, events, key.data)
                    waiting[key.data] = events
        self._pulse.awaited = {}

    def _move(self, other: int, going: dict[int, memoryview], coming: dict[int, memoryview]) -> int:
        """Moves what can be moved now; what is still to be waited for, as a selector's events."""
        link, events = self._links[other], 0
        try:
            if going.get(other):
                going[other] = going[other][_now(link.send, going[other]) :]
            if coming.get(other):
                coming[other] = coming[other][self._arrived(other, link, coming[other]) :]
        except (ConnectionResetError, BrokenPipeError) as error:
            raise self._pulse.blame(other, ended(other)) from error
        except OSError as error:
            raise self._pulse.blame(other, f"the connection to worker {other} has failed: {error.strerror}") from error
        events |= selectors.EVENT_WRITE if going.get(other) else 0
        events |= selectors.EVENT_READ if coming.get(other) else 0
        return events

    def _arrived(self, other: int, link: socket.socket, room: memoryview) -> int:
        try:
            size = link.recv_into(room)
        except BlockingIOError:
            return 0
        if not size:
            raise self._pulse.blame(other, ended(other))
        return size

    def _alarm(self) -> WorkerLostError:
        lost = self._pulse.lost
        assert lost is not None  # the alarm rings for nothing else
        return lost


def _now(send: Any, data: memoryview) -> int:
    try:
        return int(send(data))
    except BlockingIOError:
        return 0
