"""What a model is compared with to say what all of it brings: the float model in TensorFlow as it comes, untuned.

oneDNN is switched off, threads are left to TensorFlow, one process runs on all CPUs, and no variable that tunes any
of this is passed on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from eightfold.bench.process import Subject
from eightfold.errors import ModelError
from eightfold.running.environment import without_allocators
from eightfold.running.process import this_eightfold
from eightfold.running.settings import Runtime
from eightfold.tf.graph_file import is_quantized

__all__ = ["NAME", "default_environment", "float_model"]

NAME = "default environment"

_TUNING = re.compile(r"TF_(?!CPP_)|ONEDNN_|DNNL_|MKL_|OMP_|KMP_|GOMP_")
"""How the names of variables begin that change how TensorFlow computes."""


def default_environment(subject: Subject, batch_size: int) -> Subject:
    """A float model as it runs where nobody has set anything.

    Raises:
        ModelError: the model is in 8 bits, which needs oneDNN.
    """
    if is_quantized(subject.model):
        raise ModelError(
            f"{subject.model} is in 8 bits, which TensorFlow without oneDNN cannot run; the default environment is "
            "measured with the float model that it was made from"
        )
    runtime = Runtime(batch_size=batch_size, env={"TF_ENABLE_ONEDNN_OPTS": "0"})
    return replace(subject, name=NAME, env={**_untuned(os.environ), **this_eightfold()}, runtime=runtime)


def float_model(subjects: Sequence[Subject]) -> Subject:
    """The first of the models that is not in 8 bits.

    Raises:
        ModelError: all of them are.
    """
    for subject in subjects:
        if not is_quantized(subject.model):
            return subject
    raise ModelError(
        "there is no float model to measure the default environment with: an 8-bit model needs oneDNN, which is "
        "switched off there; give the float model first, or with --baseline MODEL"
    )


def _untuned(environment: Mapping[str, str]) -> dict[str, str | None]:
    """The changes to an environment that take away what tunes TensorFlow."""
    taken: dict[str, str | None] = {name: None for name in environment if _TUNING.match(name)}
    return {**taken, **without_allocators(environment)}
