"""Signals for programs that this process has started, each as the leader of a group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeAlias

__all__ = ["Process", "passed_on", "send"]

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
