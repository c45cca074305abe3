"""A sign of life every second between workers, and who is lost as soon as one is.

A process that ends closes its connections, which is seen at once. One that is stopped, or whose machine or network
is gone, leaves them open and falls silent. One that hangs still gives signs of life, but does not come to the next
exchange. Whoever notices first tells the others, so that all name the same worker and not those that ended because of
it.
"""

from __future__ import annotations

import math
import selectors
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from eightfold.training.collective import WorkerLostError

__all__ = ["SILENCE", "Pulse", "ended"]

BEAT = 1.0
"""Seconds between two signs of life."""
SILENCE = 20.0
"""Seconds after which a worker that says nothing counts as lost."""
SETTLING = 1.0
"""Seconds to wait for the reason why a connection has been closed."""
ALIVE, BUSY, LOST, BYE = "alive", "busy", "lost", "bye"


class Pulse:
    """The thread that gives and hears the signs of life of all other workers.

    Args:
        links: a connection to each other worker, by rank, for this alone.
        silence: see `SILENCE`.

    Attributes:
        alarm: becomes readable when a worker is lost.
        busy: whether this worker does something that the others wait for without a limit.
        limit: seconds for which a worker that is not busy may be waited for.
        awaited: the workers that are waited for now, with the number of beats since then; to be replaced whenever one
            of them moves.
    """

    def __init__(self, links: Mapping[int, socket.socket], silence: float = SILENCE) -> None:
        self.alarm, self._inner = socket.socketpair()
        self._links, self._beats = dict(links), silence / BEAT
        self._missed = dict.fromkeys(links, 0)
        self.busy, self.limit = False, math.inf
        self.awaited: dict[int, int] = {}
        self._busy: set[int] = set()
        self._unread = dict.fromkeys(links, b"")
        self._parted: set[int] = set()
        self._lost: WorkerLostError | None = None
        self._losing, self._known = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> WorkerLostError | None:
        """What is to be raised where a worker is lost; None where all are there."""
        return self._lost

    def blame(self, rank: int, how: str) -> WorkerLostError:
        """What to raise where the connection to a worker has failed: it may have ended because of another."""
        self._known.wait(SETTLING)
        if rank in self._parted:
            how = f"worker {rank} has ended its part before the others"
        return self._lose(rank, how)

    def close(self) -> None:
        """Says goodbye and stops."""
        with suppress(OSError):  # the thread has ended already
            self.alarm.send(b"!")
        self._thread.join()
        for link in self._links.values():
            if self._lost is None:
                _say(link, BYE)
            link.close()
        self.alarm.close()
        self._inner.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._inner, selectors.EVENT_READ, None)
            for rank, link in self._links.items():
                link.setblocking(False)
                selector.register(link, selectors.EVENT_READ, rank)
            due = time.monotonic()
            while True:
                for key, _ in selector.select(max(0.0, due - time.monotonic())):
                    if key.data is None:
                        return
                    if not self._hear(key.data):
                        selector.unregister(key.fileobj)
                if time.monotonic() >= due:
                    due = time.monotonic() + BEAT
                    self._beat()

    def _beat(self) -> None:
        """Silence is counted in beats of our own: when all have been stopped for a while, nobody has missed any."""
        for rank in self._links.keys() - self._parted:
            _say(self._links[rank], BUSY if self.busy else ALIVE)
            self._missed[rank] += 1
            if self._missed[rank] > self._beats:
                silent = self._missed[rank] * BEAT
                self._lose(rank, f"worker {rank} has said nothing for {silent:.0f} s: it is stopped or out of reach")
        self._wait()

    def _wait(self) -> None:
        """Waiting is counted in beats, too."""
        awaited = self.awaited  # the other thread may replace it meanwhile
        for rank, beats in awaited.items():
            awaited[rank] = 0 if rank in self._busy else beats + 1
            if awaited[rank] * BEAT > self.limit:
                self._lose(
                    rank,
                    f"worker {rank} gives signs of life, but has kept the others waiting for "
                    f"{awaited[rank] * BEAT:.0f} s: it hangs",
                )

    def _hear(self, rank: int) -> bool:
        """Reads what a worker says; whether there may be more."""
        if rank in self._parted:  # what it has sent before is still to be read by whom it is for
            return False
        try:
            came = self._links[rank].recv(4096)
        except ConnectionResetError:
            came = b""
        except OSError as error:
            self._lose(rank, f"the connection to worker {rank} has failed: {error.strerror}")
            return False
        if not came:
            self._lose(rank, ended(rank))
            return False
        self._missed[rank] = 0
        *lines, self._unread[rank] = (self._unread[rank] + came).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word in (ALIVE, BUSY):
                (self._busy.add if word == BUSY else self._busy.discard)(rank)
            elif word == LOST:
                lost, _, how = rest.partition(" ")
                self._lose(int(lost), how)
            elif word == BYE:
                self._parted.add(rank)
        return True

    def _lose(self, rank: int, how: str) -> WorkerLostError:
        """Only the first loss counts: those after it are its consequences."""
        with self._losing:
            if self._lost is not None:
                return self._lost
            self._lost = WorkerLostError(how, rank)
        for other, link in self._links.items():
            if other != rank:
                _say(link, f"{LOST} {rank} {how}")
        self._known.set()
        self._inner.send(b"!")
        return self._lost


def ended(rank: int) -> str:
    """What is said of a worker whose connections are closed."""
    return f"worker {rank} has ended: its connection is closed"


def _say(link: socket.socket, words: str) -> None:
    """One line. A connection that does not take it is closed or silent, which listening finds out."""
    with suppress(OSError):
        link.send(f"{words}\n".encode())
