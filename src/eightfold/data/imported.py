"""The user's own functions, named `module:function`."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eightfold.errors import DataError

__all__ = ["imported", "names_function"]

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def names_function(text: str) -> bool:
    """Whether the text has the form `module:function`."""
    return NAME.fullmatch(text) is not None


def imported(text: str) -> Callable[..., Any]:
    """The function that `module:function` names; modules are looked for in the working directory too.

    Raises:
        DataError: there is no such module or function.
    """
    module_name, _, path = text.partition(":")
    with _working_directory_importable():
        try:
            found: Any = importlib.import_module(module_name)
        except ImportError as error:
            raise DataError(f"'{text}' cannot be imported: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise DataError(f"'{text}' cannot be imported: the module '{module_name}' has no '{path}'")
        found = getattr(found, part)
    if not callable(found):
        raise DataError(f"'{text}' must be a function, and it is of type {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)
