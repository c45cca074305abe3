"""`eightfold.load`: a model in this process, run with its settings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eightfold.data.binding import bound_names
from eightfold.data.checks import castable, fits_shape
from eightfold.data.spec import InputSpec, described
from eightfold.errors import DataError, ModelError
from eightfold.graph.ir import Array
from eightfold.graph.model import TensorSpec
from eightfold.running.chosen import choose
from eightfold.running.environment import INTER, INTRA, threads
from eightfold.running.file import place, tuned_model
from eightfold.running.launch import without_given
from eightfold.running.notices import notify, too_late_note
from eightfold.running.scope import one_of_several
from eightfold.running.settings import Mode, Runtime
from eightfold.running.variables import Stage, is_preloaded, late_variables, stage
from eightfold.system.onednn import switch_on, too_late

if TYPE_CHECKING:
    from eightfold.tf.prepared import Prepared

__all__ = ["Loaded", "load"]

OWN_POOLS = "TF_OVERRIDE_GLOBAL_THREADPOOL"
"""Where it is set when TensorFlow makes its first threads, each session has threads of its own inside operations."""


class Loaded:
    """A model in memory: call it with its inputs by name. Several threads may do so at the same time.

    Attributes:
        path: the model that runs: the one that was asked for, or the one of another precision that was found to be
            the best.
        mode: what the settings are good for; None where the model was not tuned.
        settings: as they act; TensorFlow's own where the model was not tuned.
        notes: a sentence on each thing that does not act, or could be better.
        inputs, outputs: what the model takes and gives, by name.
    """

    def __init__(self, path: Path, model: Prepared, mode: Mode | None, settings: Runtime, notes: Iterable[str]) -> None:
        self.path = path
        self.mode = mode
        self.settings = settings
        self.notes = tuple(notes)
        self.inputs: Mapping[str, TensorSpec] = model.signature.inputs
        self.outputs: Mapping[str, TensorSpec] = model.signature.outputs
        self._specs = {name: InputSpec.of(name, spec) for name, spec in self.inputs.items()}
        self._model = model

    def __call__(self, /, **inputs: Any) -> dict[str, Array]:
        """Runs the model once.

        Args:
            inputs: one array for each input, the batch axis first. TensorFlow reads in place what begins at a multiple
                of 64 bytes, and copies what does not.

        Returns:
            The outputs by name.

        Raises:
            DataError: names, shapes or element types are not those of the model.
            ModelError: it was closed.
        """
        arrays = bound_names(inputs, self._specs)
        feeds = [_fitting(arrays[name], spec) for name, spec in self._specs.items()]
        return dict(zip(self.outputs, self._model(*feeds), strict=True))

    def close(self) -> None:
        """Frees the model."""
        self._model.close()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(model: str | Path, mode: Mode | None = None, *, signature: str | None = None) -> Loaded:
    """Opens a model to be run in this process, the fastest way that Python has, with the settings that suit it.

        model = ef.load("resnet50-int8/")
        scores = model(images=batch)["scores"]

    Threads, layout and bfloat16 act for this model alone. Environment variables of oneDNN act for the whole process,
    and only where TensorFlow has not computed before; CPUs are left alone: both are what `eightfold run` and
    `eightfold.runtime` are for.

    Args:
        model: a SavedModel folder, a frozen .pb file, or any other model file that eightfold reads. Where it was never
            tuned, TensorFlow's own settings are used, and `settings` and `notes` say so.
        mode: which settings; of both those for latency, where `eightfold run` has not said otherwise.
        signature: which to call: `serving_default`, or else the first.

    Returns:
        The model, to be called with its inputs by name, and closed; it is a context manager.

    Raises:
        ModelError: there is no such model, signature or mode, or its runtime.json is damaged.
        PlatformError: the model is in 8 bits, and TensorFlow runs without oneDNN here.

    Warns:
        SettingsWarning: something in the settings does not act here.
    """
    if mode is None and not place(model).exists():
        note = f"{model} was never tuned: TensorFlow's own settings; find better ones with eightfold tune {model}"
        switch_on()
        late = too_late()
        notify(late)
        return _opened(Path(model), signature, None, Runtime(), [note, *late])
    chosen = choose(model, mode)
    path = tuned_model(model, chosen.tuned)
    if path is None:
        raise ModelError(
            f"{model} holds settings and names no model; give the model, or run with: eightfold run {model}"
        )
    settings, notes = chosen.settings, [*chosen.notes, *one_of_several(chosen.settings)]
    settings, said = _applied(settings, stage(), model)
    notes += said
    notify(notes)
    return _opened(path, signature, chosen.mode, settings, notes)


def _applied(settings: Runtime, now: Stage, model: str | Path) -> tuple[Runtime, list[str]]:
    """Sets the variables; gives the settings that act, and a sentence on each that does not."""
    _, given = without_given({**threads(settings), **settings.env})
    settings = replace(settings, intra=_given(INTRA, settings.intra), inter=_given(INTER, settings.inter))
    settings, made = _with_threads_of_process(settings, now)
    late = too_late_note(settings, settings.env, now, model)
    settings = _without_late(settings, now)
    os.environ.update(without_given(settings.env)[0])  # to stay: TensorFlow reads each when it first needs it, and once
    if now < Stage.STARTED:
        os.environ.setdefault(OWN_POOLS, "1")
    return settings, [*given, *made, *late]


def _given(variable: str, tuned: int | None) -> int | None:
    """The number of threads that the user has put into the environment, which wins over the tuned one."""
    text = os.environ.get(variable, "")
    return int(text) if re.fullmatch(r"-?[1-9]\d*", text) else tuned


def _opened(path: Path, signature: str | None, mode: Mode | None, settings: Runtime, notes: list[str]) -> Loaded:
    from eightfold.tf.prepared import Prepared

    prepared = Prepared(
        path,
        signature,
        intra=settings.intra,
        inter=settings.inter,
        layout=settings.layout,
        bfloat16=settings.precision == "bf16",
    )
    return Loaded(path, prepared, mode, settings, notes)


def _with_threads_of_process(settings: Runtime, now: Stage) -> tuple[Runtime, list[str]]:
    """The settings with the number of threads inside operations that acts, and a sentence where that is another."""
    wanted = settings.intra
    if wanted is None or now < Stage.STARTED or OWN_POOLS in os.environ:
        return settings, []
    import tensorflow as tf

    said = tf.config.threading.get_intra_op_parallelism_threads()
    made = said or _given(INTRA, None) or len(os.sched_getaffinity(0))
    if made == wanted:
        return settings, []
    return replace(settings, intra=made), [
        f"{made} threads inside an operation, where the settings have {wanted}: TensorFlow had made its threads before "
        "the model was loaded; load it first, or start the program with eightfold run"
    ]


def _without_late(settings: Runtime, now: Stage) -> Runtime:
    """The settings without what can no longer act in this process."""
    late = late_variables(settings.env, now)
    env = {name: value for name, value in settings.env.items() if name not in late}
    return replace(settings, env=env, allocator=settings.allocator if is_preloaded(settings.allocator) else "system")


def _fitting(array: Array, spec: InputSpec) -> Array:
    if not fits_shape(array.shape, spec.shape) or (spec.batch is not None and array.shape[:1] != (spec.batch,)):
        raise DataError(f"the input {spec} cannot take {described(array.dtype, array.shape)}")
    if not castable(array.dtype, spec):
        raise DataError(f"input '{spec.name}' takes {spec.dtype}, and {array.dtype} cannot become that without loss")
    return array.astype(spec.numpy, copy=False)
