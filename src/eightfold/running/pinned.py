"""Runs a program on some CPUs only: `python -m eightfold.running.pinned 0,1 program argument ...`.

The CPUs must be chosen before the program starts: TensorFlow counts them when it makes its threads. Memory needs no
binding of its own, since Linux takes it from the node of the CPU that first writes to it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from eightfold.errors import EightfoldError

__all__ = ["become", "command", "main"]


def command(cpus: Sequence[int] | None, program: Sequence[str]) -> list[str]:
    """The program's command line on these CPUs; None leaves it to the operating system."""
    if cpus is None:
        return list(program)
    return [sys.executable, "-m", __name__, ",".join(map(str, cpus)), *program]


def become(program: Sequence[str], cpus: Sequence[int] | None, env: Mapping[str, str]) -> NoReturn:
    """Replaces this process by the program.

    Args:
        program: its name, found along PATH, and its arguments.
        cpus: the CPUs that it may use; None changes nothing.
        env: all of its environment.

    Raises:
        EightfoldError: there is no such program, or it cannot be run.
    """
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what it becomes would inherit that
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvpe(program[0], list(program), dict(env))
    except OSError as error:
        raise EightfoldError(f"the program {program[0]} cannot be started: {error.strerror}") from error


def main() -> None:
    """Becomes the program, on the CPUs that the first argument lists."""
    try:
        become(sys.argv[2:], [int(cpu) for cpu in sys.argv[1].split(",")], os.environ)
    except EightfoldError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
