"""How fast a Keras network trains: one step after the other, timed as inference is.

    ours = accelerated("resnet50", Runtime(batch_size=32))
    comparison = compare([stock("resnet50", Runtime(batch_size=32)), ours], Settings(mode="throughput"))
    losses = [figures["loss"] for figures in comparison["resnet50"].turns[-1].figures[0]]

`speed_worker` says what a step is. Several instances train a network each, with nothing exchanged between them. This
module imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

from eightfold.bench.named import named, side_of, unknown
from eightfold.bench.process import Subject
from eightfold.data.imported import names_function
from eightfold.errors import ModelError, RecipeError
from eightfold.running.settings import Runtime
from eightfold.system.onednn import SWITCH

__all__ = ["STOCK", "WORKER", "How", "accelerated", "stock"]

WORKER = (sys.executable, "-m", "eightfold.training.speed_worker")
STOCK = "stock TensorFlow"
"""How tables call a network that Keras alone trains."""
SUFFIXES = (".keras", ".h5")

How = Literal["auto", "fp32", "bf16", "stock"]
"""The precision of an accelerated network, or `stock`."""


def accelerated(
    model: str, runtime: Runtime, *, precision: Literal["auto", "fp32", "bf16"] = "auto", side: int | None = None
) -> Subject:
    """A network whose training is measured as `eightfold train` does it.

    The feeds of `compare` are then examples with labels: an array for each input by name, or `x` where there is one
    input, and whole class numbers `y`. Without feeds the examples are synthetic.

    Args:
        model: the name of a network of keras.applications; `module:function`, called with `input_shape=` and
            `classes=`; or the path of a `.keras` or `.h5` file.
        runtime: the settings to train with; the defaults leave the threads to TensorFlow.
        precision: see `eightfold.training.accelerate.accelerate`.
        side: height and width of the pictures, where the network is no file; by default those it is made for.

    Raises:
        ModelError: there is no such network or file, or the file is of another kind.
        RecipeError: NCHW is asked for, or another size than that of a file.
    """
    return _subject(model, runtime, precision, side)


def stock(model: str, runtime: Runtime, *, side: int | None = None) -> Subject:
    """The same network as Keras alone trains it; oneDNN is on, also on CPUs where TensorFlow leaves it off,
    unless the environment forbids it.

    Arguments, feeds and errors are those of `accelerated`.
    """
    onednn = replace(runtime, env={SWITCH: os.environ.get(SWITCH, "1"), **runtime.env})
    return replace(_subject(model, onednn, "stock", side), name=STOCK)


def _subject(model: str, runtime: Runtime, how: How, side: int | None) -> Subject:
    if runtime.layout == "NCHW":
        raise RecipeError(
            "training cannot be measured in NCHW: TensorFlow changes the layout of graphs that a session runs, not of "
            "the compiled functions that train"
        )
    path, command = Path(model), (*WORKER, "--how", how)
    if path.exists() or path.suffix in SUFFIXES:
        if side is not None:
            raise RecipeError(f"{path} has inputs of its own size; --image-size is for networks by name or function")
        return Subject(model, _keras_file(path), command, runtime=runtime)
    name = model
    if not names_function(model):
        architecture = named(model)
        if architecture is None:
            raise unknown(model)
        name = architecture.name
    return Subject(name, Path(name), (*command, "--image-size", str(side or side_of(name))), runtime=runtime)


def _keras_file(path: Path) -> Path:
    if not path.exists():
        raise ModelError(f"there is no model at {path}; expected a .keras or .h5 file, or a network's name")
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise ModelError(
            f"{path} cannot be trained: expected a .keras or .h5 file, module:function, or the name of a network of "
            "keras.applications; a SavedModel holds no way to train it"
        )
    return path
