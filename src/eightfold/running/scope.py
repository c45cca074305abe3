"""`eightfold.runtime`: a model's settings for a part of a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from eightfold.running.chosen import choose
from eightfold.running.environment import INTER, INTRA, threads
from eightfold.running.launch import INSTANCE, INSTANCES, MODE
from eightfold.running.notices import notify, too_late_note
from eightfold.running.pinning import cpus_of
from eightfold.running.settings import Mode, Runtime
from eightfold.running.variables import Stage, set_variables, stage

__all__ = ["one_of_several", "runtime"]

_BFLOAT16 = "auto_mixed_precision_onednn_bfloat16"


@contextmanager
def runtime(model: str | Path, mode: Mode | None = None, *, strict: bool = False) -> Iterator[Runtime]:
    """Runs a part of a program with the settings that were found for a model.

        with ef.runtime("resnet50-int8/"):
            import tensorflow as tf
            ...

    Environment variables, threads, CPUs and bfloat16 are those of the settings inside the block. Behind it, variables
    and CPUs are what they were; the threads that TensorFlow has made stay. Most settings are read only once, when
    TensorFlow is loaded or first used: the block belongs around that. What the user has set already stays.

    Args:
        model: a SavedModel folder, a frozen .pb file, or a runtime.json.
        mode: which settings; of both those for latency, where `eightfold run` has not said otherwise.
        strict: raise in place of warning.

    Returns:
        A context manager, which gives the settings, as they can work on this machine.

    Raises:
        ModelError: the model was not tuned, or not for that mode, or its file is damaged.
        PlatformError: `strict`, and a setting cannot act here.

    Warns:
        SettingsWarning: a setting cannot act: because it is too late for it in this process, because this machine
            lacks something, or because only `eightfold run` or `eightfold.load` can give it.
    """
    chosen = choose(model, mode)
    settings = chosen.settings
    env = {**threads(settings), **settings.env}
    late = too_late_note(settings, env, stage(), model)
    with ExitStack() as stack:
        kept = stack.enter_context(set_variables(env))
        notify([*chosen.notes, *late, *kept, *_configured(settings), *_missing(settings)], strict=strict, frames=2)
        if INSTANCES not in os.environ:
            stack.enter_context(_pinned(cpus_of(settings, chosen.topology)[0]))
            stack.enter_context(set_variables({MODE: chosen.mode, INSTANCE: "0", INSTANCES: "1"}))
        if settings.precision == "bf16":
            stack.enter_context(_bfloat16())
        yield settings


def one_of_several(settings: Runtime) -> list[str]:
    """A sentence where the settings are for several processes, and nobody has started them."""
    if settings.instances == 1 or INSTANCES in os.environ:
        return []
    return [f"the settings are for {settings.instances} processes, and this is one; eightfold run starts them all"]


def _missing(settings: Runtime) -> list[str]:
    notes = one_of_several(settings)
    if settings.layout is not None:
        notes.append(f"the layout {settings.layout} acts in a session only: open the model with eightfold.load")
    return notes


def _configured(settings: Runtime) -> list[str]:
    """Numbers of threads that the program has given to tf.config, which stay."""
    if stage() is Stage.NOT_LOADED:
        return []
    threading = sys.modules["tensorflow"].config.threading
    given = {
        INTRA: (threading.get_intra_op_parallelism_threads(), settings.intra),
        INTER: (threading.get_inter_op_parallelism_threads(), settings.inter),
    }
    return [
        f"tf.config.threading has {said} threads and stays; the settings have {name}={wanted}"
        for name, (said, wanted) in given.items()
        if said and wanted is not None and said != wanted
    ]


@contextmanager
def _pinned(cpus: Iterable[int] | None) -> Iterator[None]:
    """All threads of this process, those to come too, on these CPUs."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    changed = _set_affinity(set(cpus))
    try:
        yield
    finally:
        _set_affinity(before)
        for thread, own in changed.items():
            if own != before:
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(thread, own)


def _set_affinity(cpus: set[int]) -> dict[int, set[int]]:
    """Gives every thread these CPUs; returns what each had."""
    had = {}
    for thread in map(int, os.listdir("/proc/self/task")):
        with suppress(ProcessLookupError):  # it has ended meanwhile
            had[thread] = os.sched_getaffinity(thread)
            os.sched_setaffinity(thread, cpus)
    return had


@contextmanager
def _bfloat16() -> Iterator[None]:
    """Functions of TensorFlow that are first called inside the block do float convolutions in bfloat16."""
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options().get(_BFLOAT16)
    tf.config.optimizer.set_experimental_options({_BFLOAT16: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_BFLOAT16: before})
