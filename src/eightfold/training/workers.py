"""Starts the workers of one machine, each pinned to cores of its own, and sees to it that they end together.

    code = launched(2, [sys.executable, "-m", "eightfold.cli.app", "train", ...], say=print)

A worker that loses another notices it by itself, writes a checkpoint and exits with `EXIT_LOST`; here they are only
given the time for it.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

from eightfold.errors import EightfoldError, RecipeError
from eightfold.running.environment import environment
from eightfold.running.launch import without_given
from eightfold.running.pinned import command
from eightfold.running.pinning import cpus_of
from eightfold.running.process import this_eightfold
from eightfold.running.settings import Runtime
from eightfold.running.signals import Process, Repeats, passed_on, send
from eightfold.system.topology import Topology, topology
from eightfold.training.collective import EXIT_LOST, WorkerLostError
from eightfold.training.seat import Address, Seat

__all__ = ["GRACE", "launched", "settings"]

GRACE = 30.0
"""Seconds that workers have for a checkpoint once one of them has failed."""
EXIT_STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""With which workers exit that have agreed to stop."""
ENDING = 5.0
"""Seconds from SIGTERM to SIGKILL."""
LOOK = 0.05
LAST_LINES = 5
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def settings(count: int, here: Topology, *, cores: int | None = None) -> Runtime:
    """How so many workers share a machine: equally many cores for each, and a thread for each core.

    Raises:
        RecipeError: there is no such number of workers.
    """
    if count < 1:
        raise RecipeError(f"there cannot be {count} workers; expected at least 1")
    each = cores or max(1, here.usable // count)
    return Runtime(instances=count, cores=each, intra=each)


def launched(
    count: int,
    program: Sequence[str],
    *,
    cores: int | None = None,
    env: Mapping[str, str] | None = None,
    grace: float = GRACE,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Runs a program as so many workers, and returns when all have ended.

    Each finds its place with `seat.given`. The first has this process's output; what the others write is shown only
    where they fail. SIGINT, SIGTERM and SIGHUP are passed on to all, which may take their time; at a second one they
    are killed. When this process ends, the workers do too.

    Args:
        count: how many workers.
        program: its name or path, and its arguments.
        cores: physical cores of each; by default all there are, shared out.
        env: further variables for all.
        grace: see `GRACE`.
        say: is told what happens to workers.

    Returns:
        0; the exit code, where all workers have ended with the same and so have said why themselves; or 128 and a
        signal's number, where it was passed on and they have not ended well in spite of it.

    Raises:
        WorkerLostError: one has ended before its work was done; the message says how, and what it wrote last.
        PlatformError: the workers need more cores than this process may use.
        RecipeError: there is no such number of workers.
        EightfoldError: the program cannot be started.
    """
    here = topology()
    runtime = settings(count, here, cores=cores)
    shared, notes = without_given({**environment(runtime), "PYTHONUNBUFFERED": "1"})
    for note in notes:
        say(note)
    places = cpus_of(runtime, here)
    workers: list[_Worker] = []
    repeats = Repeats()

    def to_all(number: int) -> None:
        again = repeats.count() > 1
        for worker in workers:
            send(worker.process, signal.SIGKILL if again else number)

    with ExitStack() as stack:
        received = stack.enter_context(passed_on(PASSED_ON, to_all))
        stack.callback(_none_left, workers)
        with _meeting_place(count) as seats:
            for seat, cpus in zip(seats, places, strict=True):
                workers.append(_started(seat, command(cpus, program), {**shared, **(env or {})}))
                for number in received:  # while it was being started
                    send(workers[-1].process, number)
        failure = _watch(workers, received, grace, say)
        return _outcome(workers, failure, received)


@dataclass(frozen=True)
class _Worker:
    """A running worker, and the file that it writes to (None: where this process does)."""

    seat: Seat
    process: Process
    written: IO[bytes] | None

    def code(self) -> int | None:
        return self.process.poll()

    def how(self) -> str:
        """How it ended, in words."""
        code = self.process.returncode
        if code < 0:
            return f"{self.seat.name} was ended by signal {-code} ({signal.strsignal(-code)})"
        return f"{self.seat.name} has ended with exit code {code}"

    def last_lines(self) -> str:
        """The last that it wrote, where nobody has seen it yet."""
        if self.written is None:
            return ""
        self.written.seek(0)
        lines = self.written.read().decode(errors="replace").strip().splitlines()[-LAST_LINES:]
        return "; it wrote last:\n" + "\n".join(lines) if lines else ""


@contextmanager
def _meeting_place(count: int) -> Iterator[list[Seat]]:
    """Seats whose sockets listen already, so that no port is taken by somebody else, and with memory in common."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        memory = os.memfd_create("eightfold")
        stack.callback(os.close, memory)
        addresses = tuple(Address(*listener.getsockname()) for listener in listeners)
        secret = secrets.token_hex(16)
        yield [Seat(rank, addresses, secret, one.fileno(), memory) for rank, one in enumerate(listeners)]


def _started(seat: Seat, program: Sequence[str], env: Mapping[str, str]) -> _Worker:
    written = tempfile.TemporaryFile() if seat.rank else None  # noqa: SIM115  (an unread pipe would block)
    assert seat.listener is not None
    assert seat.memory is not None
    try:
        process = subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            env={**os.environ, **this_eightfold(), **env, **seat.variables(os.getpid())},
            pass_fds=(seat.listener, seat.memory),
            start_new_session=True,  # a Ctrl-C at the terminal comes once: from here
        )
    except OSError as error:
        raise EightfoldError(f"the program {program[0]} cannot be started: {error.strerror}") from error
    return _Worker(seat, process, written)


def _watch(
    workers: Sequence[_Worker], received: Sequence[int], grace: float, say: Callable[[str], None]
) -> tuple[_Worker, str] | None:
    """Waits for all; which was the first to fail, and how."""
    _wait(workers, until=lambda: _failed(workers, received) is not None)
    first = _failed(workers, received)
    if first and _running(workers):
        say(f"{first.how()}; the others have up to {grace:.0f} s to write a checkpoint")
    _wait(workers, grace)
    first = first if first and first.code() != EXIT_LOST else _failed(workers, received)
    late = _running(workers)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for worker in _running(workers):
            send(worker.process, number)
        _wait(workers, ENDING)
    if late and (first is None or first.code() == EXIT_LOST):
        return late[0], f"{late[0].seat.name} no longer answered, and was ended{late[0].last_lines()}"
    return None if first is None else (first, f"{first.how()}{first.last_lines()}")


def _wait(workers: Sequence[_Worker], seconds: float | None = None, until: Callable[[], bool] = lambda: False) -> None:
    """Returns when all have ended, or before."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while _running(workers) and not until() and (deadline is None or time.monotonic() < deadline):
        time.sleep(LOOK)


def _running(workers: Sequence[_Worker]) -> list[_Worker]:
    return [worker for worker in workers if worker.code() is None]


def _failed(workers: Sequence[_Worker], received: Sequence[int]) -> _Worker | None:
    """Of those that have failed one that is not only a consequence: it was killed, or has an error of its own.

    Who has ended because of a signal that was passed on, or because all have agreed to stop, has not failed.
    """
    ended = {worker.code() for worker in workers} - {None}
    agreed = EXIT_STOPPED if ended <= {0, *EXIT_STOPPED} else ()  # else one alone was ended, and the others lost it
    asked = {0, *agreed, *(128 + number for number in received), *(-number for number in received)}
    failed = [worker for worker in workers if worker.code() not in (None, *asked)]
    return min(failed, key=lambda worker: (worker.code() == EXIT_LOST, (worker.code() or 0) > 0), default=None)


def _outcome(workers: Sequence[_Worker], failure: tuple[_Worker, str] | None, received: Sequence[int]) -> int:
    """What `launched` returns or raises."""
    codes = {worker.process.returncode for worker in workers}
    if received and codes != {0}:
        return 128 + received[0]
    if failure is None:
        return max(codes)
    if len(codes) == 1 and min(codes) > 0 and EXIT_LOST not in codes:
        return codes.pop()
    raise WorkerLostError(failure[1], failure[0].seat.rank)


def _none_left(workers: Sequence[_Worker]) -> None:
    """No worker runs when this returns."""
    for worker in workers:
        send(worker.process, signal.SIGKILL)
        worker.process.wait()
        if worker.written is not None:
            worker.written.close()
