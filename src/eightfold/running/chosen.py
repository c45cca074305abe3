"""The settings of a model for one purpose, made to fit this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from eightfold.errors import ModelError
from eightfold.running.file import MODES, RuntimeFile, Tuned, read
from eightfold.running.fitting import Here, fitted
from eightfold.running.launch import INSTANCES, MODE
from eightfold.running.settings import Mode, Runtime
from eightfold.system.topology import Topology, topology

__all__ = ["Chosen", "choose"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Settings, ready to be used.

    Attributes:
        source: the model, or the file, that they were read from.
        mode: what they are good for.
        tuned: as they were found.
        settings: as they can work here.
        notes: a sentence on each thing that was changed or is in doubt.
        topology: the cores that they were made to fit.
    """

    source: Path
    mode: Mode
    tuned: Tuned
    settings: Runtime
    notes: tuple[str, ...]
    topology: Topology


def choose(model: str | Path, mode: Mode | None = None) -> Chosen:
    """Reads the settings of a model.

    Args:
        model: a SavedModel folder, a frozen .pb file, or a runtime.json.
        mode: which settings; where none is named, those of the mode that `eightfold run` has started this process in,
            if the model has them, else the only ones, else those for latency.

    Raises:
        ModelError: the model was not tuned, or not for that mode, or its file is damaged.
    """
    file = read(model)
    cores = topology()
    chosen, tuned = file.choose(mode or _started_mode(file))
    if INSTANCES in os.environ:  # one of the copies, on its own cores: what there is to say has been said
        fit = fitted(replace(tuned.settings, instances=1), {}, Here.of(cores))
    else:
        fit = fitted(tuned.settings, tuned.machine, Here.of(cores))
    return Chosen(Path(model), chosen, tuned, fit.settings, fit.notes, cores)


def _started_mode(file: RuntimeFile) -> Mode | None:
    """The mode that `eightfold run` or `eightfold.runtime` has put this process in; None where neither has.

    It was chosen for one model; another one, that was not tuned for it, is left out.

    Raises:
        ModelError: the variable holds something else.
    """
    given = os.environ.get(MODE)
    for mode in MODES:
        if given == mode:
            return mode if mode in file.modes else None
    if given:
        raise ModelError(f"{MODE} is {given!r}, expected {' or '.join(MODES)}")
    return None
