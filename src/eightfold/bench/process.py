"""A worker seen from the suite: starts it, asks it, and says in one sentence why it died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from eightfold.errors import EightfoldError, ModelError

__all__ = ["TENSORFLOW_WORKER", "Subject", "Worker"]

TENSORFLOW_WORKER = (sys.executable, "-m", "eightfold.bench.worker")
LAST_LINES = 5


def _this_eightfold() -> dict[str, str]:
    """Lets a worker find the eightfold that starts it, also where that is a source tree and not installed."""
    here = str(Path(__file__).parents[2])
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{here}{os.pathsep}{others}" if others else here}


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to measure: a model and the command of the worker that runs it.

    Attributes:
        name: how tables call it.
        model: the path that the worker is given.
        command: a program that speaks `eightfold.bench.protocol`; by default TensorFlow in this Python.
        env: environment variables of the worker, over those of this process.
    """

    name: str
    model: Path
    command: Sequence[str] = TENSORFLOW_WORKER
    env: Mapping[str, str] = field(default_factory=_this_eightfold)


class Worker:
    """One running worker. Use it as a context manager: the process ends with the block.

    Raises:
        EightfoldError: the worker's program cannot be started.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (a file, since an unread pipe would block)
        try:
            self._process = subprocess.Popen(
                list(subject.command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**os.environ, **subject.env},
                text=True,
            )
        except OSError as failure:
            self._stderr.close()
            raise EightfoldError(
                f"the worker of {subject.name} cannot be started: {subject.command[0]}: {failure.strerror}"
            ) from failure

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Sends one request and waits for its answer.

        Raises:
            ModelError: the worker refused, with its reason.
            EightfoldError: the worker died, with the last lines that it wrote.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._death(do) from None
        line = self._process.stdout.readline()
        if not line:
            raise self._death(do)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ModelError(f"{self.subject.name} cannot be measured: {answer['error']}")
        return answer

    def _death(self, do: str) -> EightfoldError:
        code = self._process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
        self._stderr.seek(0)
        written = self._stderr.read().decode(errors="replace").strip().splitlines()
        said = "\n".join(written[-LAST_LINES:]) or "it wrote nothing to standard error"
        return EightfoldError(f"the worker of {self.subject.name} {how} when asked to {do}: {said}")
