"""Workers in processes of their own, on one machine or on several, as one of them sees them."""

from __future__ import annotations

import json
import mmap
import platform
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from itertools import accumulate
from types import TracebackType
from typing import Any

import numpy as np

from eightfold.errors import EightfoldError, PlatformError
from eightfold.graph.ir import Array
from eightfold.training.collective import Alone, Collective
from eightfold.training.mesh import Mesh
from eightfold.training.pace import LEAST
from eightfold.training.pulse import SILENCE
from eightfold.training.rendezvous import PATIENCE, meet
from eightfold.training.seat import Seat
from eightfold.training.sums import MeshSum, Parcel, SharedSum, Summing

__all__ = ["Connected", "connected", "versions"]

UNUSED = 2
"""References to an array that nobody has but the one who asks: an attribute, and the argument of `getrefcount`."""


def connected(
    seat: Seat,
    facts: Mapping[str, str],
    *,
    patience: float = PATIENCE,
    silence: float = SILENCE,
    least: float = LEAST,
    say: Callable[[str], None] = lambda _: None,
) -> Collective:
    """Waits for all workers, and connects them.

    Args:
        seat: of this worker; `seat.given` on one machine, `seat.cluster` on several.
        facts: what must be the same on all of them, by name: digests of the recipe and the data. Versions are
            compared without being asked for.
        patience: seconds to wait for the others.
        silence: seconds after which a worker that gives no sign of life counts as lost.
        least: seconds for which one that does, but comes to no exchange, is waited for at least; see `Pace`.
        say: is told of connections from strangers, which are refused.

    Raises:
        PlatformError: a worker has not come in time, or belongs to another job.
    """
    if seat.count == 1:
        return Alone()
    mesh = Mesh(seat.rank, meet(seat, {**versions(), **facts}, patience, say), silence, least)
    return Connected(mesh, MeshSum(mesh) if seat.memory is None else SharedSum(mesh, seat.memory))


def versions() -> dict[str, str]:
    """What must be the same on all workers, whatever they train."""
    packages = {name: version(name) for name in ("keras", "numpy")}
    import tensorflow as tf

    return {**packages, "tensorflow": tf.__version__, "Python": ".".join(platform.python_version_tuple()[:2])}


class Connected:
    """A `Collective` of processes.

    Args:
        mesh: the connections; they are closed with this.
        summing: how long vectors are added up.
    """

    def __init__(self, mesh: Mesh, summing: Summing) -> None:
        self._mesh, self._summing, self.stop = mesh, summing, mesh.stop
        self._failure: EightfoldError | None = None
        self._last: Array | None = None
        self._one = threading.Lock()

    def __enter__(self) -> Connected:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def rank(self) -> int:
        """The number of this worker."""
        return self._mesh.rank

    @property
    def count(self) -> int:
        """How many there are."""
        return self._mesh.count

    @property
    def stopping(self) -> int:
        """See `Collective`."""
        return self._mesh.stopping

    def sum(self, vector: Any) -> Any:
        """See `Collective`."""
        return self.sums([vector])[0]

    def sums(self, tensors: Sequence[Any]) -> list[Any]:
        """See `Collective`."""
        import tensorflow as tf

        tensors = [tf.convert_to_tensor(one) for one in tensors]
        wrong = [one.dtype.name for one in tensors if one.dtype != tf.float32]
        if wrong:
            raise PlatformError(f"workers add up tensors of float32; received {wrong[0]}")
        made = tf.numpy_function(self._summed, tensors, [tf.float32] * len(tensors), stateful=True)
        totals: list[Any] = tf.nest.flatten(made)  # outside of a graph it gives one tensor as such
        for total, one in zip(totals, tensors, strict=True):
            total.set_shape(one.shape)
        return totals

    def sum_arrays(self, arrays: Sequence[Array]) -> list[Array]:
        """See `Collective`."""
        flat = b"".join(np.ascontiguousarray(one).tobytes() for one in arrays)
        came = self._gathered("arrays", flat, fixed=True)
        return [
            np.asarray(np.sum([values[at] for values in map(_parted(arrays), came)], axis=0, dtype=one.dtype))
            for at, one in enumerate(arrays)
        ]

    def gather(self, value: Any) -> list[Any]:
        """See `Collective`."""
        return [json.loads(one) for one in self._gathered("gather", json.dumps(value).encode(), fixed=False)]

    def broadcast(self, arrays: Sequence[Array]) -> list[Array]:
        """See `Collective`."""
        flat = bytearray(b"".join(np.ascontiguousarray(one).tobytes() for one in arrays))
        with self._one:
            self._mesh.meet("copy", len(flat))
            if self.rank == 0:
                self._mesh.exchange(dict.fromkeys(self._mesh.others, flat), {})
            else:
                self._mesh.exchange({}, {0: flat})
        return _parted(arrays)(flat)

    def barrier(self) -> None:
        """See `Collective`."""
        with self._one:
            self._mesh.meet("barrier")

    def busy(self) -> AbstractContextManager[None]:
        """See `Collective`."""
        return self._mesh.busy()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """See `Collective`. TensorFlow makes an error of its own out of one that is raised inside of a graph."""
        import tensorflow as tf

        self._failure = None
        try:
            yield
        except tf.errors.OpError as error:
            if self._failure is None:
                raise
            raise self._failure from error

    def close(self) -> None:
        """See `Collective`."""
        self._mesh.close()

    def _summed(self, *arrays: Array) -> list[Array]:
        try:
            with self._one:
                own = Parcel(arrays)
                total = self._buffer(own.size)
                total[:] = self._summing.total(own)
                return own.unpacked(total)
        except EightfoldError as error:
            self._failure = error
            raise

    def _buffer(self, size: int) -> Array:
        """Memory that TensorFlow takes over as it is: that of the last time, where it is done with it.

        Memory from the system is filled with zeros first, which takes as long as adding up.
        """
        if self._last is None or len(self._last) != size or sys.getrefcount(self._last) > UNUSED:
            fresh = mmap.mmap(-1, max(1, size * 4), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            fresh.madvise(mmap.MADV_HUGEPAGE)
            self._last = np.frombuffer(fresh, np.float32, size)  # all views of it hold it, since it is no view of one
        return self._last

    def _gathered(self, what: str, own: bytes, *, fixed: bool) -> list[bytes]:
        """What each worker passes, by rank.

        Args:
            what: is gathered, for messages.
            own: of this worker.
            fixed: whether it is equally long on all.
        """
        others = self._mesh.others
        with self._one:
            self._mesh.meet(what, len(own) if fixed else 0)
            sizes = {other: bytearray(8) for other in others}
            self._mesh.exchange(dict.fromkeys(others, len(own).to_bytes(8, "little")), sizes)
            came = {other: bytearray(int.from_bytes(size, "little")) for other, size in sizes.items()}
            self._mesh.exchange(dict.fromkeys(others, own), came)
        return [bytes(one) for _, one in sorted({**came, self.rank: bytearray(own)}.items())]


def _parted(like: Sequence[Array]) -> Callable[[bytes | bytearray], list[Array]]:
    """Cuts bytes into arrays of the shapes and dtypes of others."""

    def parted(flat: bytes | bytearray) -> list[Array]:
        ends = accumulate(one.nbytes for one in like)
        return [
            np.frombuffer(flat, one.dtype, one.size, end - one.nbytes).reshape(one.shape)
            for one, end in zip(like, ends, strict=True)
        ]

    return parted
