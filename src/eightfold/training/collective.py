"""What workers that train one model together say to each other.

Each worker holds the whole state, computes the gradients of its share of a batch, and takes the sum over all workers in
their place. The sum is the same bit for bit on all of them, and so are the weights after it: synchronous data
parallelism (Chen et al., "Revisiting Distributed Synchronous SGD", 2016, arXiv:1604.00981).

    with connected(seat, facts) as workers:
        synchronized(workers, variables)               # all begin with the weights of worker 0
        with workers.guarded():
            step(...)                                  # a tf.function that calls workers.sums(gradients)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from eightfold.errors import EightfoldError
from eightfold.graph.ir import Array
from eightfold.training.stopping import StopRequest

__all__ = ["EXIT_LOST", "Alone", "Collective", "WorkerLostError", "digest", "synchronized"]

EXIT_LOST = 75
"""With which a worker exits that could not go on without another: EX_TEMPFAIL of sysexits.h, "try again"."""


class WorkerLostError(EightfoldError):
    """A worker has ended, or can no longer be reached, before the work was done.

    Attributes:
        lost: its rank.
        heir: the lowest rank of those that are left; it writes the checkpoint.
    """

    def __init__(self, message: str, lost: int) -> None:
        super().__init__(message)
        self.lost = lost
        self.heir = 1 if lost == 0 else 0


class Collective(Protocol):
    """The workers as one of them sees them. All of them make the same calls in the same order.

    Use it as a context manager: the connections are closed with the block.

    Every method may raise WorkerLostError; inside of a tf.function it comes out of `guarded`.

    Attributes:
        stop: what this worker is asked for. It goes to the others with whatever is exchanged next.
    """

    stop: StopRequest

    def __enter__(self) -> Collective:
        """Itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""

    @property
    def rank(self) -> int:
        """The number of this worker, from 0."""

    @property
    def count(self) -> int:
        """How many workers there are."""

    @property
    def stopping(self) -> int:
        """The signal for which all are to stop; 0: none was asked to before the last exchange.

        It is the same on all workers after the same exchange, so that all can stop after the same step.
        """

    def sum(self, vector: Any) -> Any:
        """The sum of a tensor, float32, over all workers; inside of a tf.function or outside."""

    def sums(self, tensors: Sequence[Any]) -> list[Any]:
        """The sums of several tensors, float32 and of any shape, in one exchange: all or none.

        It is faster than `sum` of one vector made of them, which is written once more and cut up again.
        """

    def sum_arrays(self, arrays: Sequence[Array]) -> list[Array]:
        """The sums of small arrays, each in its own dtype, added in the order of the ranks."""

    def gather(self, value: Any) -> list[Any]:
        """What each worker passes, by rank; anything that JSON can hold."""

    def broadcast(self, arrays: Sequence[Array]) -> list[Array]:
        """The arrays of worker 0. All pass arrays of the same shapes and dtypes."""

    def barrier(self) -> None:
        """Returns when all workers have come here."""

    def busy(self) -> AbstractContextManager[None]:
        """Around work of this worker alone, after the first step: the others wait for it however long it takes.

        Whoever else keeps the others waiting for much longer than a step counts as lost.
        """

    def guarded(self) -> AbstractContextManager[None]:
        """Around calls of tf.functions that use `sum` or `sums`: their errors come out as they were raised."""

    def close(self) -> None:
        """Parts from the others; those that still want something of this worker raise WorkerLostError."""


class Alone:
    """One worker, with nobody to talk to."""

    rank, count = 0, 1

    def __init__(self) -> None:
        self.stop = StopRequest()

    @property
    def stopping(self) -> int:
        """The signal for which it is to stop."""
        return self.stop.signal

    def __enter__(self) -> Alone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def sum(self, vector: Any) -> Any:
        """The tensor itself."""
        return vector

    def sums(self, tensors: Sequence[Any]) -> list[Any]:
        """The tensors themselves."""
        return list(tensors)

    def sum_arrays(self, arrays: Sequence[Array]) -> list[Array]:
        """The arrays themselves."""
        return list(arrays)

    def gather(self, value: Any) -> list[Any]:
        """The value alone."""
        return [value]

    def broadcast(self, arrays: Sequence[Array]) -> list[Array]:
        """The arrays themselves."""
        return list(arrays)

    def barrier(self) -> None:
        """Returns at once."""

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Changes nothing."""
        yield

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Changes nothing."""
        yield

    def close(self) -> None:
        """Does nothing."""


def synchronized(workers: Collective, variables: Sequence[Any]) -> bool:
    """Gives all workers the values that worker 0 has, where they differ.

    At the start this is what makes them equal. Later they stay so by themselves where all CPUs are of one kind;
    kernels for other instruction sets round otherwise.

    Args:
        workers: all of them.
        variables: of Keras or TensorFlow, the same on all workers, in the same order; of optimizers too.

    Returns:
        Whether any value differed.
    """
    values = [np.asarray(one.numpy()) for one in variables]
    if len(set(workers.gather(digest(values)))) == 1:
        return False
    for variable, value in zip(variables, workers.broadcast(values), strict=True):
        variable.assign(value)
    return True


def digest(values: Sequence[Array]) -> str:
    """What tells arrays from others, in shape, dtype or content."""
    made = hashlib.sha256()
    for value in values:
        made.update(f"{value.dtype} {value.shape}".encode())
        made.update(np.ascontiguousarray(value).view(np.uint8).data)
    return made.hexdigest()
