"""Ctrl-C and SIGTERM while a command trains: the first lets it stop with a checkpoint, the second ends it at once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from eightfold.running.signals import Repeats
from eightfold.training.stopping import Stopped, StopRequest

__all__ = ["RESUME", "stopping"]

RESUME = "What was trained up to the last step is kept; go on with --resume."
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = "\x1b[?25h"
SHELL = 128
"""To which a shell adds the number of the signal that has ended a program: its exit code."""


@contextmanager
def stopping(request: StopRequest) -> Iterator[None]:
    """Lets the first signal make a request where a loop heeds it, and any other end the process.

    Raises:
        typer.Exit: the run has stopped; what was kept, and how to go on, has been said.
    """
    try:
        with _heard(request):
            yield
    except Stopped as stopped:
        _say(f"{stopped}. {RESUME}")
        raise typer.Exit(SHELL + stopped.signal) from stopped


@contextmanager
def _heard(request: StopRequest) -> Iterator[None]:
    """Hears signals in a thread: handlers in Python wait until the main thread is back from TensorFlow.

    That is after a step, or never where another worker hangs. What runs at once is Python's own handler in C, which
    writes the number of each signal to a file (`signal.set_wakeup_fd`).
    """
    if threading.current_thread() is not threading.main_thread():  # which alone may have handlers
        yield
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    def late(number: int, frame: FrameType | None) -> None:
        if request.heeded:
            request.make(number)
        elif callable(before[number]):
            before[number](number, frame)

    inner, outer = socket.socketpair()
    with inner, outer:
        outer.setblocking(False)
        thread = threading.Thread(target=_listen, args=(inner, request, heard), name="signals", daemon=True)
        thread.start()
        wakes = signal.set_wakeup_fd(outer.fileno(), warn_on_full_buffer=False)
        before: dict[int, Any] = {number: signal.signal(number, late) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakes)
            outer.shutdown(socket.SHUT_WR)
            thread.join()


def _listen(inner: socket.socket, request: StopRequest, heard: list[signal.Signals]) -> None:
    repeats, times = Repeats(), 0
    while came := inner.recv(1):
        number, before = came[0], times
        if number not in heard:
            continue
        times = repeats.count()
        if times > 1:
            where = "; go on from the last checkpoint with --resume" if request.heeded else ""
            _end_at_once(number, f"Ended at once{where}.")
        if request.heeded and times > before:
            _say("Stopping after this step; asked once more, at once.")
            request.make(number)
        elif number == signal.SIGTERM and not request.heeded:
            _end_at_once(number, "Terminated.")  # Ctrl-C raises KeyboardInterrupt, as it always does


def _end_at_once(number: int, words: str) -> None:
    _say(words)
    if sys.__stderr__ is not None and sys.__stderr__.isatty():
        print(SHOW_CURSOR, end="", file=sys.__stderr__, flush=True)  # a bar of progress has hidden it
    os._exit(SHELL + number)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
