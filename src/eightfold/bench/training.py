"""How fast a Keras network trains: one step of gradient descent after the other, timed as inference is.

    comparison = compare([training.subject("resnet50", Runtime(batch_size=32))], Settings(mode="throughput"))
    losses = [figures["loss"] for figures in comparison["resnet50"].turns[-1].figures[0]]

`training_worker` says what a step is. Several instances train a network each, with nothing exchanged between them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from eightfold.bench.named import named, unknown
from eightfold.bench.process import Subject
from eightfold.errors import ModelError, RecipeError
from eightfold.running.settings import Runtime

__all__ = ["TRAINING_WORKER", "subject"]

TRAINING_WORKER = (sys.executable, "-m", "eightfold.bench.training_worker")

SUFFIXES = (".keras", ".h5")


def subject(model: str, runtime: Runtime) -> Subject:
    """A network whose training is measured.

    The feeds of `compare` are then examples with labels: an array for each input by name, or `x` where there is one
    input, and whole class numbers `y`. Without feeds the examples are synthetic.

    Args:
        model: the name of a network of keras.applications, or the path of a `.keras` or `.h5` file.
        runtime: the settings to train with; the defaults leave the threads to TensorFlow.

    Raises:
        ModelError: there is no such network or file, or the file is of another kind.
        RecipeError: NCHW is asked for.
    """
    if runtime.layout == "NCHW":
        raise RecipeError(
            "training cannot be measured in NCHW: TensorFlow changes the layout of graphs that a session runs, not of "
            "the compiled functions that train"
        )
    path = Path(model)
    if path.exists() or path.suffix in SUFFIXES:
        return Subject(model, _keras_file(path), TRAINING_WORKER, runtime=runtime)
    architecture = named(model)
    if architecture is None:
        raise unknown(model)
    return Subject(architecture.name, Path(architecture.name), TRAINING_WORKER, runtime=runtime)


def _keras_file(path: Path) -> Path:
    if not path.exists():
        raise ModelError(f"there is no model at {path}; expected a .keras or .h5 file, or a network's name")
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise ModelError(
            f"{path} cannot be trained: expected a .keras or .h5 file, or the name of a network of keras.applications; "
            "a SavedModel holds no way to train it"
        )
    return path
