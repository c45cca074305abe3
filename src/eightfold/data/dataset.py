"""Checked batches that can be read again and again.

source  --read-->  chunks of any size  --window, rebatch-->  batches of one size  --check-->  the model
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from eightfold.data.batch import Batch, Source, rebatched, window
from eightfold.data.checks import checked
from eightfold.data.recorded import REPLAY_BYTES, Recorded
from eightfold.data.spec import InputSpec
from eightfold.errors import DataError

__all__ = ["Dataset"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Batches that fit a model's inputs; every iteration starts anew.

    Iteration raises `DataError` for data that does not fit: shape, dtype, NaN or Inf, no examples at all.

    Attributes:
        source: where the examples come from.
        specs: the model's inputs by name.
        batch_size: of all batches but the last, which may be smaller.
        exact: the model takes only full batches: a smaller last one is left out.
        start, stop: the examples of the source that belong to this data set.
        notes: what was decided on the user's behalf, for people to read.
    """

    source: Source
    specs: Mapping[str, InputSpec]
    batch_size: int
    exact: bool = False
    start: int = 0
    stop: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int | None:
        """How many examples an iteration gives; None where only reading can tell."""
        if self.source.size is None:
            return None
        end = self.source.size if self.stop is None else min(self.stop, self.source.size)
        count = max(end - self.start, 0)
        return count - count % self.batch_size if self.exact else count

    def limited(self, count: int) -> Dataset:
        """The first `count` examples, or all where there are fewer."""
        if count < 1:
            raise DataError(f"a data set is limited to 1 example or more, not to {count}")
        end = self.start + count
        return replace(self, stop=end if self.stop is None else min(self.stop, end))

    def split(self, holdout: int) -> tuple[Dataset, Dataset]:
        """`(rest, held)`: two data sets without a common example; `held` has the first `holdout` examples.

        A source that may change its order between readings is remembered as it is read, so that the two stay
        disjoint; `limited` before bounds the memory.

        Raises:
            DataError: there are too few examples to leave some on both sides.
        """
        least = self.batch_size if self.exact else 1
        if holdout < least or (self.size is not None and self.size - holdout < least):
            count = "an unknown number of" if self.size is None else self.size
            full = f", and the model takes batches of {least}" if self.exact else ""
            raise DataError(f"{holdout} of {count} examples cannot be held back: both parts need some{full}")
        middle = self.start + holdout
        limit = REPLAY_BYTES if self.stop is None else None
        source = self.source if self.source.repeatable else Recorded(self.source, limit)
        return replace(self, source=source, start=middle), replace(self, source=source, stop=middle)

    def __iter__(self) -> Iterator[Batch]:
        chunks = window(self.source.read(self.start, self.batch_size), self._span)
        index = -1
        for index, batch in enumerate(rebatched(chunks, self.batch_size, exact=self.exact)):
            yield checked_batch(batch, self.specs, index)
        if index < 0:
            raise DataError(self._why_empty())

    @property
    def _span(self) -> int | None:
        return None if self.stop is None else self.stop - self.start

    def _why_empty(self) -> str:
        if self.exact and self.batch_size > 1:
            return f"the model takes batches of exactly {self.batch_size} examples, and the data has fewer"
        return "the data set is empty: it has no examples"


def checked_batch(batch: Batch, specs: Mapping[str, InputSpec], index: int) -> Batch:
    """The batch in the dtypes of the model; see `checked` for what is refused."""
    return replace(batch, inputs={name: checked(batch.inputs[name], spec, index) for name, spec in specs.items()})
