"""A worker seen from the suite: what it runs, and on which CPUs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eightfold.errors import ModelError
from eightfold.running.environment import environment, without_allocators
from eightfold.running.process import Process, this_eightfold
from eightfold.running.settings import Runtime

__all__ = ["TENSORFLOW_WORKER", "Subject", "Worker"]

TENSORFLOW_WORKER = (sys.executable, "-m", "eightfold.bench.worker")


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to measure: a model and the command of the worker that runs it.

    Attributes:
        name: how tables call it.
        model: the path that the worker is given.
        command: a program that speaks `eightfold.bench.protocol`; by default TensorFlow in this Python.
        env: environment variables of the worker, over those of this process; None takes one away.
        runtime: the settings that it is run with.
    """

    name: str
    model: Path
    command: Sequence[str] = TENSORFLOW_WORKER
    env: Mapping[str, str | None] = field(default_factory=this_eightfold)
    runtime: Runtime = field(default_factory=Runtime)


class Worker(Process):
    """One running worker. Use it as a context manager: the process ends with the block.

    Args:
        subject: what it runs.
        cpus: the CPUs that it may use; None leaves it to the operating system.

    Raises:
        EightfoldError: the worker's program cannot be started.
        PlatformError: the allocator of the settings is not installed.
    """

    def __init__(self, subject: Subject, cpus: Sequence[int] | None = None) -> None:
        # The allocator is that of the settings, whatever the shell preloads.
        env = {**without_allocators(os.environ), **subject.env, **environment(subject.runtime)}
        super().__init__(f"the worker of {subject.name}", subject.command, env, cpus)
        self.subject = subject

    def __enter__(self) -> Worker:
        return self

    def refusal(self, answer: Mapping[str, Any]) -> ModelError:
        """A model that cannot be measured, and why."""
        return ModelError(f"{self.subject.name} cannot be measured: {answer['error']}")
