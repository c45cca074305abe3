"""A source that is remembered while it is read, so that it can be read again in the same order."""

from __future__ import annotations

from collections.abc import Iterator

from eightfold.data.batch import Batch, Source

__all__ = ["REPLAY_BYTES", "Recorded"]

REPLAY_BYTES = 512 * 1024**2
"""How much of a stream of unknown length is kept in memory to be read again."""


class Recorded:
    """Remembers the chunks of `source`, at most `limit` bytes of them where a limit is given.

    Only what is asked for is read. Beyond the limit a second reading goes back to the source itself, which
    may refuse (a generator) or give another order (a shuffled stream).
    """

    repeatable = True

    def __init__(self, source: Source, limit: int | None) -> None:
        self._source = source
        self._limit = limit
        self._kept: list[Batch] = []
        self._bytes = 0
        self._live: Iterator[Batch] | None = None
        self._read = 0
        """How many chunks were taken from the source."""

    @property
    def size(self) -> int | None:
        return self._source.size

    def read(self, start: int, batch_size: int) -> Iterator[Batch]:
        """The examples from `start` on; see `Source.read`."""
        skipped = 0
        for chunk in self._chunks(batch_size):
            left = start - skipped
            skipped += min(chunk.size, max(left, 0))
            if left < chunk.size:
                yield chunk.cut(left) if left > 0 else chunk

    def _chunks(self, batch_size: int) -> Iterator[Batch]:
        at, examples = 0, 0
        while True:
            if at < len(self._kept):
                chunk: Batch | None = self._kept[at]
            elif at == self._read:
                chunk = self._next(batch_size)
            else:  # another reading took it, and it was too much to keep
                yield from self._source.read(examples, batch_size)
                return
            if chunk is None:
                return
            at, examples = at + 1, examples + chunk.size
            yield chunk

    def _next(self, batch_size: int) -> Batch | None:
        if self._live is None:
            self._live = self._source.read(0, batch_size)
        chunk = next(self._live, None)
        if chunk is None:
            return None
        self._bytes += sum(array.nbytes for array in chunk.inputs.values())
        full = self._limit is not None and self._bytes > self._limit
        if len(self._kept) == self._read and not full:
            self._kept.append(chunk)
        self._read += 1
        return chunk
