"""What is to be predicted, as one value that every worker is told, on this machine or on another."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from eightfold.errors import DataError, EightfoldError
from eightfold.running.settings import Layout, Precision, Runtime

__all__ = ["MAX_ATTEMPTS", "Call", "Done", "Job", "Shard", "call_of", "gave_up", "shard_rows"]

MAX_ATTEMPTS = 3
"""How often a shard is begun before the job gives up on it: a row that kills one worker kills the next one too."""

SHARDS = 1024
"""Data is cut into about so many shards, so that the last worker to finish does not keep all others waiting."""

SMALLEST_SHARD = 64
"""Rows: a shard costs a message and a file, flushed to the disk."""

LARGEST_SHARD, LARGEST_BYTES = 4096, 64 << 20
"""Rows and bytes: what is lost with a worker, and what a worker holds in memory, stay small however much data there
is."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The rows from `start` to before `stop`."""

    number: int
    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"rows {self.start} to {self.stop - 1}"


@dataclass(frozen=True, slots=True)
class Call:
    """A model and the way it is called: all of this can change the digits of an answer.

    Attributes:
        model: its path, absolute.
        signature: which of the model to call; None calls the default one.
        intra: threads inside one operation: sums over more threads are added up in another order.
        inter: operations at a time.
        layout: what TensorFlow brings the images of a float graph to; None leaves them.
        precision: whether TensorFlow does float convolutions and products in bfloat16.
    """

    model: str
    signature: str | None = None
    intra: int = 1
    inter: int = 1
    layout: Layout | None = None
    precision: Precision = "as is"


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker needs to know. Paths are absolute; on a cluster all machines must see the same files.

    A row's answer depends on the job only, and not on who computes it: batches are cut at fixed rows.

    Attributes:
        call: the model.
        batch_size: rows in a batch.
        rows: of the data.
        shard_rows: rows of every shard but the last; a multiple of the batch size.
        listing: the file that says which rows there are, see `prediction.listing`.
        preprocess: what is done to the pixels of pictures.
        outputs: names of the outputs to keep; empty keeps all.
        top: keep the so many highest classes and their scores instead of whole outputs.
        skip_errors: rows that cannot be read are left empty; else they end the job.
        label, file: what the columns are called that come from the data; no output that is kept has that name.
    """

    call: Call
    batch_size: int
    rows: int
    shard_rows: int
    listing: str
    preprocess: str | None = None
    outputs: tuple[str, ...] = ()
    top: int | None = None
    skip_errors: bool = False
    label: str = "label"
    file: str = "file"

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, in the order of their rows."""
        starts = range(0, self.rows, self.shard_rows)
        return tuple(Shard(n, at, min(at + self.shard_rows, self.rows)) for n, at in enumerate(starts))

    def to_json(self) -> str:
        """The job as a JSON document."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job of `to_json`.

        Raises:
            DataError: the text is none.
        """
        try:
            document: Mapping[str, Any] = json.loads(text)
            known = {one.name: document[one.name] for one in fields(cls)}
            return cls(**{**known, "call": Call(**known["call"]), "outputs": tuple(known["outputs"])})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"this is no job of a prediction: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Done:
    """A shard whose part is written; how many of its rows were skipped, and how many workers have died so far."""

    shard: Shard
    skipped: int
    deaths: int = 0


def call_of(model: str, signature: str | None, runtime: Runtime) -> Call:
    """The call with these settings. What they leave to TensorFlow is fixed here, to one thread for each core of an
    instance, since TensorFlow would look at the machine, and then the digits would depend on it."""
    return Call(
        model=model,
        signature=signature,
        intra=runtime.intra or runtime.cores or 1,
        inter=runtime.inter or 1,
        layout=runtime.layout,
        precision=runtime.precision,
    )


def shard_rows(rows: int | None, batch_size: int, row_bytes: int) -> int:
    """How many rows a shard should have: whole batches, whatever the number of workers.

    Args:
        rows: of the data; None where that is not known yet.
        batch_size: rows in a batch.
        row_bytes: what a worker keeps in memory of each row until its shard is done.
    """
    most = min(LARGEST_SHARD, LARGEST_BYTES // max(row_bytes, 1))
    wanted = most if rows is None else min(max(rows / SHARDS, SMALLEST_SHARD), most)
    return max(1, math.ceil(wanted / batch_size)) * batch_size


def gave_up(shard: Shard, attempts: int, why: object) -> EightfoldError:
    """What is raised for a shard that no worker survives."""
    return EightfoldError(
        f"{attempts} workers died over {shard}, so this part was given up (finished parts are kept for --resume): {why}"
    )
