"""What is wanted, made a job: which rows, cut into which shards, for which columns."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eightfold import __version__
from eightfold.data import Dataset, InputSpec, fixed_batch, load
from eightfold.data.batch import window
from eightfold.errors import DataError, ModelError
from eightfold.prediction.columns import ERROR
from eightfold.prediction.job import Call, Job, shard_rows
from eightfold.prediction.journal import Journal
from eightfold.prediction.kept import keep
from eightfold.prediction.local import Described
from eightfold.prediction.model_files import digest
from eightfold.prediction.survey import Survey, survey
from eightfold.prediction.top import check_scores
from eightfold.running.settings import Runtime

__all__ = ["Planned", "Wish", "planned"]

TEXT_BYTES = 64
"""A guess of how long a text is."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for; see `predict`."""

    call: Call
    runtime: Runtime
    data: Any
    preprocess: str | None = None
    outputs: tuple[str, ...] = ()
    top: int | None = None
    samples: int | None = None
    skip_errors: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """A job, and what was decided on the user's behalf."""

    job: Job
    notes: tuple[str, ...]


def planned(wish: Wish, model: Described, journal: Journal) -> Planned:
    """The job of a wish: the one that was begun before, or a new one, which is written down.

    Raises:
        DataError: the data does not fit the model, or another job was begun before.
        ModelError: the model does not have what is asked for.
    """
    _check(wish, model)
    batch_size = fixed_batch(model.inputs.values()) or wish.runtime.batch_size
    dataset = load(
        wish.data, inputs=model.inputs, batch_size=batch_size, samples=wish.samples, preprocess=wish.preprocess
    )
    found = survey(dataset, wish.data)
    about = _about(wish, model, found, batch_size)
    job = journal.resumed(about)
    if job is None:
        job = _begun(wish, model, found, dataset, journal)
        journal.begin(about, job)
    elif job.call != wish.call:  # the same model, at another place now
        job = replace(job, call=wish.call)
        journal.begin(about, job)
    return Planned(job, dataset.notes)


def _about(wish: Wish, model: Described, found: Survey, batch_size: int) -> dict[str, Any]:
    """Everything that decides the answers, by names for people."""
    call = wish.call
    return {
        "model": digest(Path(call.model)),
        "data": found.digest,
        "rows asked for": wish.samples,
        "signature": call.signature,
        "outputs": list(wish.outputs),
        "highest classes": wish.top,
        "preprocessing": wish.preprocess,
        "batch size": batch_size,
        "threads": f"{call.intra} inside an operation, {call.inter} operations at a time",
        "layout": call.layout,
        "precision": call.precision,
        "environment": dict(wish.runtime.env),
        "skipping rows": wish.skip_errors,
        "versions": {"eightfold": __version__, **model.versions},
    }


def _begun(wish: Wish, model: Described, found: Survey, dataset: Dataset, journal: Journal) -> Job:
    kept = _kept(wish, model)
    outputs = [model.outputs[name] for name in kept]
    per_row = 0 if wish.top else sum(map(_row_bytes, outputs))
    listing, rows = found.listing, found.rows
    if listing is None:
        place = journal.folder / "rows"
        place.mkdir()
        size = shard_rows(rows, dataset.batch_size, sum(map(_row_bytes, model.inputs.values())))
        rows = keep(place, window(dataset.source.read(dataset.start, dataset.batch_size), wish.samples), size)
        listing = {"kind": "kept", "folder": str(place)}
    assert rows is not None
    rows = min(rows, wish.samples or rows)
    if not rows:
        raise DataError("the data set is empty: it has no examples")
    taken = () if wish.top else kept
    return Job(
        call=wish.call,
        batch_size=dataset.batch_size,
        rows=rows,
        shard_rows=shard_rows(rows, dataset.batch_size, per_row),
        listing=str(journal.write_listing(listing)),
        preprocess=wish.preprocess,
        outputs=wish.outputs,
        top=wish.top,
        skip_errors=wish.skip_errors,
        label=_not_taken("label", taken),
        file=_not_taken("file", taken),
    )


def _check(wish: Wish, model: Described) -> None:
    if all(spec.rank == 0 for spec in model.inputs.values()):
        raise ModelError(f"no input of {wish.call.model} has a batch axis, so it cannot be given rows of data")
    for name in wish.outputs:
        if name not in model.outputs:
            raise ModelError(f"the model has no output {name!r}; it has: {', '.join(model.outputs)}")
    kept = _kept(wish, model)
    if wish.top is not None:
        for name in kept:
            check_scores(model.outputs[name])
    elif wish.skip_errors and ERROR in kept:
        raise ModelError(
            f"the model has an output {ERROR!r}, and the column of that name says which rows could not be read; choose "
            "other outputs with --outputs, or leave out --skip-errors"
        )


def _kept(wish: Wish, model: Described) -> tuple[str, ...]:
    """The outputs that become columns, or whose highest classes do."""
    return wish.outputs or tuple(model.outputs)


def _not_taken(name: str, taken: tuple[str, ...]) -> str:
    """What a column of the data is called beside those of the model."""
    return f"data_{name}" if name in taken else name


def _row_bytes(spec: InputSpec) -> int:
    """What a row of an input or output takes; extents that are free count as 1."""
    each = TEXT_BYTES if spec.dtype == "string" else spec.numpy.itemsize
    return each * math.prod(extent or 1 for extent in (spec.shape or ())[1:])
