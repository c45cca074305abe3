"""A peer's own virtual environment: made when it is first needed, and anew when its pins change."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eightfold.bench.cache import cache, locked
from eightfold.errors import PlatformError
from eightfold.quantization.placement import written_beside

__all__ = ["Environment", "Tell", "silent"]

Tell = Callable[[str, int, "int | None"], None]
"""Called with what is being done, the work done and, where known, all of it."""

ISOLATED = Path(__file__).with_name("isolated.py")
_STEP = re.compile(r"\s*(Collecting|Downloading|Using cached|Installing)\b")


def silent(what: str, done: int, total: int | None) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment.

    Attributes:
        name: the beginning of its folder's name.
        packages: what is installed, pinned: `name==version`, with a marker where versions of Python differ.
        alone: what is installed without its dependencies, after that.
        pythons: the versions of Python for which all of these exist; this one is preferred.
    """

    name: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()
    pythons: tuple[tuple[int, int], ...] = ((3, 10), (3, 11), (3, 12), (3, 13))

    def python(self, place: Path | None = None, tell: Tell = silent) -> str:
        """The interpreter of the environment, which is made if it is not there.

        Args:
            place: the folder to keep it in; by default this user's cache.
            tell: told what is installed.

        Raises:
            PlatformError: it cannot be made: no Python, no network, no room; with pip's last line.
            OutputError: the folder cannot be written to.
        """
        base, version = self._base()
        folder = (place or cache("peers")).absolute() / f"{self.name}-{self._key(version)}"
        interpreter = folder / "bin" / "python"
        if not interpreter.exists():
            with locked(folder):
                if not interpreter.exists():
                    self._make(base, folder, tell)
        return str(interpreter)

    def command(self, module: str, place: Path | None = None, tell: Tell = silent) -> tuple[str, ...]:
        """What runs a module of eightfold in the environment, which need not have eightfold."""
        return (self.python(place, tell), "-I", str(ISOLATED), module)

    def _key(self, version: tuple[int, int]) -> str:
        text = "\n".join((*self.packages, "alone:", *self.alone, f"{version[0]}.{version[1]}"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _base(self) -> tuple[str, tuple[int, int]]:
        if sys.version_info[:2] in self.pythons:
            return sys.executable, sys.version_info[:2]
        for major, minor in reversed(self.pythons):
            if found := shutil.which(f"python{major}.{minor}"):
                return found, (major, minor)
        known = ", ".join(f"{major}.{minor}" for major, minor in self.pythons)
        raise PlatformError(
            f"{self.name} needs one of Python {known}; this is {sys.version_info[0]}."
            f"{sys.version_info[1]}, and none of them is on the PATH"
        )

    def _make(self, base: str, folder: Path, tell: Tell) -> None:
        """Makes it beside its place. A virtual environment may be renamed where only its `python` is used."""
        told = _Steps(f"making the environment of {self.name} in {folder} (once, takes minutes)", tell)
        with written_beside(folder, overwrite=True) as place:
            interpreter = str(place / "bin" / "python")
            _run([base, "-m", "venv", str(place)], self.name, told)
            # -I: what PYTHONPATH leads to would count as installed.
            pip = [interpreter, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
            _run([*pip, *self.packages], self.name, told)
            if self.alone:
                _run([*pip, "--no-deps", *self.alone], self.name, told)


class _Steps:
    """Counts the lines of pip that begin a step."""

    def __init__(self, what: str, tell: Tell) -> None:
        self._what, self._tell, self._done = what, tell, 0
        tell(what, 0, None)

    def __call__(self, line: str) -> None:
        if _STEP.match(line):
            self._done += 1
            self._tell(self._what, self._done, None)


def _run(command: Sequence[str], name: str, told: Callable[[str], None]) -> None:
    """Runs a program that must not outlive this one.

    Raises:
        PlatformError: it failed; with the last line of its complaint.
    """
    said = [""]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError as error:
        raise PlatformError(f"the environment of {name} cannot be made: {command[0]}: {error.strerror}") from error
    try:
        assert process.stdout is not None
        for line in process.stdout:
            told(line)
            said.append(line.strip())
        code = process.wait()
    finally:
        process.kill()
        process.communicate()
    if code:
        complaints = [line for line in said if line.startswith("ERROR")] or [line for line in said if line]
        last = complaints[-1] if complaints else f"exit code {code}"
        what = "pip" if "pip" in command else "venv"
        raise PlatformError(
            f"the environment of {name} could not be installed: {what} said: {last} (packages come from the index that "
            "pip is set up for, which must be within reach)"
        )
