"""Synthetic examples for the inputs of a SavedModel: python -m eightfold.bench.peers.inputs MODEL SIGNATURE OUTPUT.npz

A process of its own, so that the one that measures others does not hold TensorFlow.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.bench.arrays import write_arrays
from eightfold.bench.protocol import Refusal
from eightfold.bench.synthetic import synthetic
from eightfold.errors import ModelError
from eightfold.running.process import this_eightfold

__all__ = ["made_up", "main"]

COUNT = 16


def made_up(model: Path, signature: str) -> dict[str, npt.NDArray[Any]]:
    """Random examples for each input, the same ones every time; see `eightfold.bench.synthetic`.

    Raises:
        ModelError: no such signature, or an input for which none can be made.
    """
    with tempfile.TemporaryDirectory(prefix="eightfold-") as scratch:
        output = Path(scratch, "inputs.npz")
        command = [sys.executable, "-m", __name__, str(model), signature, str(output)]
        env = {**os.environ, **this_eightfold()}
        done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
            raise ModelError(f"no input could be made for {model}: {last}")
        with np.load(output) as arrays:
            return {name: arrays[name] for name in arrays.files}


def main() -> None:
    """Writes the examples."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    model, name, output = sys.argv[1:]
    signatures = tf.compat.v1.saved_model.load(tf.compat.v1.Session(graph=tf.Graph()), ["serve"], model).signature_def
    if name not in signatures:
        known = ", ".join(sorted(one for one in signatures if not one.startswith("__")))
        raise SystemExit(f"it has no signature {name!r}; it has: {known or 'none'}")
    specs = {}
    for argument, info in signatures[name].inputs.items():
        shape = tf.TensorShape(info.tensor_shape)
        if shape.rank is None:
            raise SystemExit(f"input {argument!r} has an unknown rank; give data")
        specs[argument] = (shape.as_list(), tf.as_dtype(info.dtype).name)
    fixed = {shape[0] for shape, _ in specs.values() if shape and shape[0] is not None}
    try:
        examples = synthetic(specs, max(fixed, default=COUNT))
    except Refusal as reason:
        raise SystemExit(str(reason)) from reason
    write_arrays(output, examples)


if __name__ == "__main__":
    main()
