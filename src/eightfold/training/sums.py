"""Sums of long vectors over all workers, the same bit for bit on each: every number is added in the order of the ranks.

Each worker adds up one part of the vector for all, and gets the other parts from the others: a reduce-scatter and an
all-gather (Rabenseifner, "Optimization of Collective Reduction Operations", 2004), directly between all of them, which
needs two steps where a ring needs 2 (n - 1).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np

from eightfold.errors import PlatformError
from eightfold.graph.ir import Array
from eightfold.training.mesh import Mesh

__all__ = ["MeshSum", "Parcel", "SharedSum", "Summing"]

BLOCK = 1 << 16
"""Numbers that are added at a time: the sum stays in the cache while several workers' numbers come to it."""
PAGE = mmap.PAGESIZE // 4
ALIGNED = 16
"""Numbers (64 bytes) to a multiple of which TensorFlow takes memory over without a copy."""


class Parcel:
    """Arrays, float32, as one long vector, in which each begins at a multiple of `ALIGNED`; nothing is copied.

    Attributes:
        size: of the vector.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._arrays = [one.reshape(-1) for one in arrays]
        self._shapes = [one.shape for one in arrays]
        ends = list(accumulate(-(-one.size // ALIGNED) * ALIGNED for one in arrays))
        self._starts = [0, *ends[:-1]]
        self.size = ends[-1]

    def pieces(self, part: slice) -> Iterator[tuple[slice, Array]]:
        """The numbers of a part of the vector, array by array, and where in the vector they are."""
        for start, array in zip(self._starts, self._arrays, strict=True):
            low, high = max(part.start, start), min(part.stop, start + array.size)
            if low < high:
                yield slice(low, high), array[low - start : high - start]

    def write(self, vector: Array, part: slice) -> None:
        """Writes a part to a vector."""
        for place, numbers in self.pieces(part):
            vector[place] = numbers

    def unpacked(self, vector: Array) -> list[Array]:
        """Arrays of the same shapes that lie in a vector."""
        return [
            vector[start : start + array.size].reshape(shape)
            for start, array, shape in zip(self._starts, self._arrays, self._shapes, strict=True)
        ]


class Summing(Protocol):
    """A way to add up."""

    def total(self, own: Parcel) -> Array:
        """The sum of the parcels of all workers, as a vector; it holds until the next call.

        Raises:
            WorkerLostError: a worker is lost.
            PlatformError: there is not enough memory, or the workers do not add up the same.
        """


class SharedSum:
    """On one machine, in memory that all workers see: each writes there what the others add up.

    It is memory without a name (man 2 memfd_create): nothing is left of it when the workers end, however they do.
    """

    def __init__(self, mesh: Mesh, memory: int) -> None:
        self._mesh, self._memory, self._capacity = mesh, memory, 0
        self._vectors: list[Array] = []

    def total(self, own: Parcel) -> Array:
        """See `Summing`."""
        mesh, size = self._mesh, own.size
        if size > self._capacity:
            self._grow(-(-size // PAGE) * PAGE)
        *vectors, total = self._vectors
        mine = _part(size, mesh.rank, mesh.count)
        own.write(vectors[mesh.rank], slice(0, mine.start))
        own.write(vectors[mesh.rank], slice(mine.stop, size))
        mesh.meet("sum", size)
        for place, numbers in own.pieces(mine):
            given = [numbers if rank == mesh.rank else vector[place] for rank, vector in enumerate(vectors)]
            _add(given, total[place])
        mesh.meet("summed", size)
        return total[:size]

    def _grow(self, capacity: int) -> None:
        """A vector for each worker, and one for the sum."""
        length = (self._mesh.count + 1) * capacity * 4
        if self._mesh.rank == 0:
            try:
                os.ftruncate(self._memory, length)
            except OSError as error:
                raise PlatformError(f"{length >> 20} MiB cannot be shared by the workers: {error.strerror}") from error
        self._mesh.meet("grow", length)
        shared = np.frombuffer(mmap.mmap(self._memory, length), np.float32)
        self._vectors = list(shared.reshape(self._mesh.count + 1, capacity))
        self._capacity = capacity


class MeshSum:
    """Between machines: each part goes to the worker that adds it up, and the sum from there to all."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._own = self._sum = np.zeros(0, np.float32)
        self._came: dict[int, Array] = {}

    def total(self, own: Parcel) -> Array:
        """See `Summing`."""
        mesh, size = self._mesh, own.size
        if size > len(self._own):
            self._grow(size)
        parts = [_part(size, rank, mesh.count) for rank in range(mesh.count)]
        for other in mesh.others:
            own.write(self._own, parts[other])
        mine = parts[mesh.rank]
        came = {other: buffer[: mine.stop - mine.start] for other, buffer in self._came.items()}
        mesh.meet("sum", size)
        mesh.exchange({other: self._own[parts[other]] for other in mesh.others}, came)
        for place, numbers in own.pieces(mine):
            there = slice(place.start - mine.start, place.stop - mine.start)
            _add([numbers if rank == mesh.rank else came[rank][there] for rank in range(mesh.count)], self._sum[place])
        mesh.exchange(dict.fromkeys(mesh.others, self._sum[mine]), {one: self._sum[parts[one]] for one in mesh.others})
        return self._sum[:size]

    def _grow(self, size: int) -> None:
        self._own, self._sum = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._came = {other: np.zeros(-(-size // self._mesh.count), np.float32) for other in self._mesh.others}


def _part(size: int, rank: int, count: int) -> slice:
    """The numbers that one worker adds up."""
    return slice(size * rank // count, size * (rank + 1) // count)


def _add(vectors: list[Array], into: Array) -> None:
    with np.errstate(all="ignore"):  # gradients that have overflowed are the training's to see
        for start in range(0, len(into), BLOCK):
            block = slice(start, start + BLOCK)
            np.add(vectors[0][block], vectors[1][block], out=into[block])
            for vector in vectors[2:]:
                np.add(into[block], vector[block], out=into[block])
