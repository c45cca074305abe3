"""With which settings a model is run over data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from eightfold.running.chosen import choose
from eightfold.running.file import place, read
from eightfold.running.launch import with_given
from eightfold.running.settings import Mode, Runtime
from eightfold.system.topology import topology

__all__ = ["Settled", "settled"]

BATCH_SIZE = 8
"""Where nobody has tuned the model: enough to use the weights several times, and the images stay in the cache."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Settings, and what the user should know about them."""

    runtime: Runtime
    notes: tuple[str, ...] = ()


def settled(
    model: str | Path | None,
    *,
    runtime: Runtime | None = None,
    mode: Mode | None = None,
    instances: int | None = None,
    batch_size: int | None = None,
) -> Settled:
    """The settings that are asked for, else those that were found for the model, else one thread on each core.

    Args:
        model: whose `runtime.json` is read, or that file itself; None for a model that is in no file.
        runtime: settings that are taken as they are.
        mode: for which purpose the model was tuned; throughput where left out.
        instances: processes; None starts as many as the cores have room for.
        batch_size: rows in a batch, over that of the settings.

    Raises:
        ModelError: a mode is named, and the model was not tuned for it.
    """
    found = Settled(runtime) if runtime is not None else _found(model, mode)
    own = found.runtime
    if instances is None and own.cores is not None:
        instances = max(1, topology().usable // own.cores)
    changed = replace(own, instances=instances or own.instances, batch_size=batch_size or own.batch_size)
    return replace(found, runtime=changed)


def _found(model: str | Path | None, mode: Mode | None) -> Settled:
    untuned = Runtime(batch_size=BATCH_SIZE, cores=1, intra=1, inter=1)
    if model is None or not (mode or place(model).exists()):
        return Settled(untuned, ("the model was never tuned: one thread on each core; see eightfold tune",))
    if mode is None and "throughput" not in read(model).modes:
        return Settled(untuned, ("the model was tuned for latency only: one thread on each core",))
    chosen = choose(model, mode or "throughput")
    notes = chosen.notes
    if chosen.tuned.model is not None:
        notes = (*notes, f"tuning found {chosen.tuned.model} to be faster; this run computes the model that was named")
    settings, given = with_given(chosen.settings)
    return Settled(settings, (*notes, *given))
