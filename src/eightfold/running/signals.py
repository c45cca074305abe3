"""Signals for programs that this process has started, each as the leader of a group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeAlias

__all__ = ["Process", "Repeats", "passed_on", "send"]

AT_ONCE = 0.5
"""Seconds."""

Process: TypeAlias = "subprocess.Popen[bytes]"


def send(process: Process, number: int) -> None:
    """To the program and all that it has started: its group may outlive it.

    Args:
        process: started with `start_new_session=True`.
        number: of the signal.
    """
    with suppress(ProcessLookupError, PermissionError):  # all of it has ended
        os.killpg(process.pid, number)


@contextmanager
def passed_on(numbers: Sequence[int], to: Callable[[int], None]) -> Iterator[list[int]]:
    """Passes signals on while the block runs; gives those that have come, in their order.

    What is ignored stays so, here and in the programs, which inherit it: nohup, and `&` in a script. In another thread
    than the main one, which may not have handlers, nothing is heard.

    Args:
        numbers: of the signals.
        to: is called with each that comes.
    """
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        to(number)

    main = threading.current_thread() is threading.main_thread()
    heard = [number for number in numbers if main and signal.getsignal(number) is not signal.SIG_IGN]
    before: dict[int, Any] = {number: signal.signal(number, pass_on) for number in heard}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Repeats:
    """How often a process was asked to end.

    `timeout`, systemd and Slurm send a signal to a process and to its group, too: what comes at once counts once.
    """

    def __init__(self) -> None:
        self._times, self._last = 0, 0.0

    def count(self) -> int:
        """Another signal has come; how often the process was asked by now."""
        now = time.monotonic()
        if not self._times or now - self._last > AT_ONCE:
            self._times, self._last = self._times + 1, now
        return self._times
