"""A process that answers requests, seen from the one that asks: JSON lines over its standard input and output."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from eightfold.errors import EightfoldError, ModelError
from eightfold.running.pinned import command
from eightfold.system.onednn import inherited

__all__ = ["Process", "WorkerDeath", "this_eightfold"]

LAST_LINES = 5


class WorkerDeath(EightfoldError):
    """A worker ended before it answered."""


def this_eightfold() -> dict[str, str]:
    """Lets a worker find the eightfold that starts it, also where that is a source tree and not installed."""
    here = str(Path(__file__).parents[2])
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{here}{os.pathsep}{others}" if others else here}


class Process:
    """One running worker. Use it as a context manager: the process ends with the block.

    Args:
        name: what messages call it.
        program: its command line.
        env: environment variables, over those of this process; None takes one away. TensorFlow uses oneDNN in it on any
            CPU, unless the variables say otherwise.
        cpus: the CPUs that it may use; None leaves it to the operating system.

    Raises:
        EightfoldError: the program cannot be started.
    """

    def __init__(
        self,
        name: str,
        program: Sequence[str],
        env: Mapping[str, str | None],
        cpus: Sequence[int] | None = None,
    ) -> None:
        self.name = name
        self._asked = "start"
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (a file, since an unread pipe would block)
        try:
            self._process = subprocess.Popen(
                command(cpus, program),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={name: text for name, text in {**inherited(), **env}.items() if text is not None},
                text=True,
            )
        except OSError as failure:
            self._stderr.close()
            raise EightfoldError(f"{name} cannot be started: {program[0]}: {failure.strerror}") from failure

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def kill(self) -> None:
        """Kills the process; whoever waits for its answer is told of its death. `end` must still be called."""
        self._process.kill()

    def end(self) -> None:
        """Ends the process at once; what it had not answered is lost."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Sends one request and waits for its answer.

        Raises:
            ModelError: the worker refused, with its reason.
            WorkerDeath: the worker died, with the last lines that it wrote.
        """
        self.send(do, **request)
        return self.answer()

    def send(self, do: str, **request: Any) -> None:
        """Sends one request; `answer` waits for what comes back."""
        assert self._process.stdin is not None
        self._asked = do
        with suppress(BrokenPipeError):  # `answer` finds out why
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        """The answer to the request that was sent last, or first of those not yet answered; see `ask`."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith("\n"):  # nothing, or what was written of an answer before the end
            raise self._death(self._asked)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self.refusal(answer)
        return answer

    def refusal(self, answer: Mapping[str, Any]) -> EightfoldError:
        """What is raised for an answer that says why a request was refused."""
        return ModelError(f"{self.name}: {answer['error']}")

    def _death(self, do: str) -> WorkerDeath:
        code = self._process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
        self._stderr.seek(0)
        written = self._stderr.read().decode(errors="replace").strip().splitlines()
        said = "\n".join(written[-LAST_LINES:]) or "it wrote nothing to standard error"
        return WorkerDeath(f"{self.name} {how} when asked to {do}: {said}")
