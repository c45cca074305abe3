"""What a command does when something goes wrong: one sentence, an exit code, and no traceback."""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import typer

from eightfold.errors import DataError, EightfoldError, PlatformError

__all__ = ["BAD_INPUT", "BUG", "DEBUG", "INTERRUPTED", "reported"]

BAD_INPUT, BUG, INTERRUPTED = 2, 1, 130
DEBUG = "EIGHTFOLD_DEBUG"
"""The environment variable that asks for tracebacks and for what TensorFlow has to say."""

_TENSORFLOW_PREFIX = re.compile(r"^\{\{.*?\}\}\s*")
"""Where in its graph TensorFlow was, which tells the user nothing."""

P = ParamSpec("P")
R = TypeVar("R")


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Turns the exceptions of a command into a sentence on standard error and an exit code.

    EightfoldError, or an exception of the user's own `module:function`: 2. Ctrl-C: 130. Anything else is a
    fault of eightfold: 1. A traceback is printed only where `EIGHTFOLD_DEBUG` is set.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with _noting_interrupts() as interrupts:
            try:
                with warnings.catch_warnings():
                    if not sys.warnoptions and not _debugging():  # not even those of the libraries
                        warnings.simplefilter("ignore")
                    return command(*args, **kwargs)
            except (typer.Exit, BrokenPipeError):  # the latter: whoever read our output had enough
                raise
            except KeyboardInterrupt:
                raise _interrupted() from None
            except (Exception, SystemExit) as error:  # the user's function may call sys.exit
                if interrupts:
                    raise _interrupted() from error
                functions = _functions(kwargs)
                if isinstance(error, SystemExit) and _known(error, functions) is None:
                    raise  # whoever read our output has closed the pipe
                raise typer.Exit(_explained(error, functions)) from error

    return run


@contextmanager
def _noting_interrupts() -> Iterator[list[int]]:
    """Gives the interrupts that came while the block ran.

    Python code that TensorFlow calls from C++ cannot raise KeyboardInterrupt through it: TensorFlow turns it into an
    error of its own.
    """
    noted: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted() -> typer.Exit:
    _say("Interrupted; what was there before is untouched.")
    return typer.Exit(INTERRUPTED)


def _explained(error: BaseException, functions: Iterable[str]) -> int:
    """Says what went wrong; returns the exit code."""
    if _debugging():
        traceback.print_exception(error)
    known = _known(error, functions)
    if known is not None:
        _say(f"Error: {known}")
        return BAD_INPUT
    _say(f"Error: this is a fault of eightfold, please report it: {type(error).__name__}: {error}")
    if not _debugging():
        _say(f"Run the command again with {DEBUG}=1 to see where it happened.")
    return BUG


def _known(error: BaseException, functions: Iterable[str]) -> EightfoldError | None:
    """What the user can put right, if that is what went wrong."""
    if isinstance(error, EightfoldError):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name == "tensorflow":
        return PlatformError(
            "TensorFlow is not installed here; expected tensorflow-cpu 2.16 or newer on x86-64 Linux: "
            "pip install tensorflow-cpu"
        )
    for function in functions:
        if _came_through(error, function.partition(":")[0]):
            first = _TENSORFLOW_PREFIX.sub("", str(error).strip().partition("\n")[0])
            return DataError(f"{function} failed: {type(error).__name__}: {first}")
    return None


def _came_through(error: BaseException, module: str) -> bool:
    """Whether a module of the user raised the exception, called what did, or cannot be compiled."""
    if isinstance(error, SyntaxError):
        return (error.filename or "").endswith(f"{module.replace('.', os.sep)}.py")
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [str(frame.f_globals.get("__name__")) for frame in frames]
    inside_stream = "eightfold.data.streams" in names and not names[-1].startswith("eightfold.")
    return module in names or inside_stream  # tf.data calls the user's code where no Python frame shows it


def _functions(arguments: Mapping[str, Any]) -> list[str]:
    """The arguments that name a function of the user's own."""
    from eightfold.data.imported import names_function

    return [value for value in arguments.values() if isinstance(value, str) and names_function(value)]


def _debugging() -> bool:
    return os.environ.get(DEBUG, "0") not in ("", "0")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
