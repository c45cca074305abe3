"""Data that comes piece by piece: `tf.data`, iterables, generators, callables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeGuard

from eightfold.data.batch import Batch
from eightfold.data.binding import bound_element
from eightfold.data.spec import InputSpec
from eightfold.errors import DataError

__all__ = ["Once", "Stream", "is_tf_dataset", "tf_dataset"]

Specs = Mapping[str, InputSpec]
INFINITE = -1
"""What `tf.data.Dataset.cardinality` says of a data set that repeats for ever."""


class Stream:
    """Batches or single examples that `open` gives anew for every reading, maybe in another order."""

    repeatable = False
    size: int | None = None

    def __init__(self, open: Callable[[], Iterable[Any]], specs: Specs) -> None:
        self._open = open
        self._specs = specs

    def read(self, start: int, batch_size: int) -> Iterator[Batch]:
        """The examples from `start` on; see `Source.read`."""
        yield from _after(start, (bound_element(value, self._specs) for value in self._open()))


class Once:
    """A generator or another iterator: its elements are there a single time."""

    repeatable = False
    size: int | None = None

    def __init__(self, iterator: Iterator[Any], specs: Specs) -> None:
        self._iterator: Iterator[Any] | None = iterator
        self._specs = specs

    def read(self, start: int, batch_size: int) -> Iterator[Batch]:
        """The examples from `start` on, in the first reading; see `Source.read`.

        Raises:
            DataError: it was read before.
        """
        if self._iterator is None:
            raise DataError(
                "a generator cannot be read again, and this one is too large to be kept in memory; "
                "limit the samples, or give the function that makes the generator"
            )
        iterator, self._iterator = self._iterator, None
        yield from _after(start, (bound_element(value, self._specs) for value in iterator))


def is_tf_dataset(source: object) -> TypeGuard[Any]:
    """Whether it is a `tf.data.Dataset`; TensorFlow is not imported to find out."""
    return hasattr(source, "element_spec") and callable(getattr(source, "as_numpy_iterator", None))


def tf_dataset(dataset: Any, specs: Specs, samples: int | None) -> Stream:
    """A `tf.data.Dataset` of batches or of single examples; `(x, y)` elements give labels.

    Raises:
        DataError: it repeats for ever and the samples are not limited.
    """
    if samples is None and int(dataset.cardinality()) == INFINITE:
        raise DataError("the tf.data.Dataset repeats for ever; say how many samples to take from it")
    return Stream(dataset.as_numpy_iterator, specs)


def _after(start: int, chunks: Iterator[Batch]) -> Iterator[Batch]:
    """Without the first `start` examples."""
    for chunk in chunks:
        if start < chunk.size:
            yield chunk.cut(start) if start else chunk
        start = max(start - chunk.size, 0)
