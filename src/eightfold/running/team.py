"""Several copies of a program that run and end together."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, BinaryIO

from eightfold.errors import EightfoldError
from eightfold.running.launch import Copy, Launch
from eightfold.running.pinned import command
from eightfold.running.signals import Process, passed_on, send

__all__ = ["run_together"]

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
GRACE = 10.0
"""Seconds that a copy has to end after SIGTERM, before it is killed."""


def run_together(launch: Launch, say: Callable[[str], None]) -> int:
    """Runs all copies until the last has ended.

    What they write is passed through line by line, with the number of the copy in front. Signals are passed on to all.
    When one fails, the others are ended.

    Args:
        launch: the program and its copies.
        say: is told why copies are ended.

    Returns:
        0, or the exit code of the copy that failed first: 128 and the signal's number where a signal ended it.

    Raises:
        EightfoldError: the program cannot be started.
    """
    copies: list[Process] = []

    def to_all(number: int) -> None:
        for copy in copies:
            send(copy, number)

    with passed_on(PASSED_ON, to_all) as received, _none_left(copies):
        for one in launch.copies:
            copies.append(_started(launch.program, one))
            for number in received:  # while it was being started
                send(copies[-1], number)
        ended: queue.Queue[int] = queue.Queue()
        readers = [reader for number, copy in enumerate(copies) for reader in _readers(number, copy)]
        for number, copy in enumerate(copies):
            threading.Thread(target=_watch, args=(number, copy, ended), daemon=True).start()
        code = 0
        for _ in copies:
            number = ended.get()
            failed = _exit_code(copies[number])
            if failed and not code:
                code = failed
                if not set(received) & ENDING:  # else all have been told already, and end in their own time
                    _end_others(copies, number, say)
        deadline = time.monotonic() + GRACE
        for reader in readers:
            reader.join(max(0.0, deadline - time.monotonic()))  # a grandchild may hold the pipe open
        return code


def _started(program: Sequence[str], copy: Copy) -> Process:
    try:
        return subprocess.Popen(
            command(copy.cpus, program),
            stdin=subprocess.DEVNULL,  # several cannot share it
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **copy.env},
            start_new_session=True,  # a Ctrl-C at the terminal comes once: from here
        )
    except OSError as error:
        raise EightfoldError(f"the program {program[0]} cannot be started: {error.strerror}") from error


@contextmanager
def _none_left(copies: Sequence[Process]) -> Iterator[None]:
    """No copy runs when the block has ended, however it ends."""
    try:
        yield
    finally:
        for copy in copies:
            send(copy, signal.SIGKILL)
            copy.wait()


def _end_others(copies: Sequence[Process], failed: int, say: Callable[[str], None]) -> None:
    others = [copy for copy in copies if copy.poll() is None]
    code = copies[failed].returncode
    how = f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"failed with exit code {code}"
    ending = f"; the other {len(others)} are ended" if len(others) > 1 else "; the other is ended" if others else ""
    say(f"instance {failed} {how}{ending}")
    for copy in others:
        send(copy, signal.SIGTERM)
        timer = threading.Timer(GRACE, send, (copy, signal.SIGKILL))
        timer.daemon = True
        timer.start()


def _exit_code(copy: Process) -> int:
    return copy.returncode if copy.returncode >= 0 else 128 - copy.returncode


def _watch(number: int, copy: Process, ended: queue.Queue[int]) -> None:
    copy.wait()
    ended.put(number)


_writing = threading.Lock()


def _readers(number: int, copy: Process) -> Iterator[threading.Thread]:
    for pipe, to in ((copy.stdout, sys.stdout.buffer), (copy.stderr, sys.stderr.buffer)):
        assert pipe is not None
        thread = threading.Thread(target=_pass_through, args=(number, pipe, to), daemon=True)
        thread.start()
        yield thread


def _pass_through(number: int, pipe: IO[bytes], to: BinaryIO) -> None:
    """Lines as they come. Where nobody reads ours any more, the copy's pipe is closed, and it learns that too."""
    front = b"[%d] " % number
    with pipe, suppress(BrokenPipeError):
        for line in pipe:
            with _writing:
                to.write(front + line if line.endswith(b"\n") else front + line + b"\n")
                to.flush()
