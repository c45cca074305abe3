"""The process that holds one TensorFlow model while a suite measures it: `python -m eightfold.bench.worker`.

It runs the model as plain TensorFlow would in production, with nothing of eightfold but the protocol: a
Session over the loaded graph and one prepared callable, bound to the signature's tensors by name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.bench.protocol import Job, Refusal, Run, serve

__all__ = ["load", "main", "synthetic"]

ALIGNMENT = 64
"""Bytes: Eigen's largest, which TensorFlow's tensors have."""

SIDE = 224
"""Height and width of a synthetic image whose signature leaves them open."""


def main() -> None:
    """Serves the suite until its end of the pipe is closed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    serve(load)


def load(job: Job) -> tuple[Run, Mapping[str, str]]:
    """Loads a SavedModel folder, or a frozen graph in a `.pb` file, into a Session of its own.

    Raises:
        Refusal: no such signature, or data that does not fit it.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=job.intra or 0,
        inter_op_parallelism_threads=job.inter or 0,
        device_count={"GPU": 0},
    )
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        try:
            inputs, outputs = _saved_model(session, job) if Path(job.model).is_dir() else _frozen(session, job)
        except (OSError, ValueError, DecodeError, tf.errors.OpError) as error:
            raise Refusal(f"{job.model} could not be loaded: {str(error).strip().splitlines()[0]}") from error
    if job.feeds is None:
        feeds = synthetic(_specs(inputs), job.batch_size)
    else:
        feeds = _given(inputs, job.feeds, job.batch_size)
    call = session.make_callable(list(outputs.values()), feed_list=list(inputs.values()))
    arguments = [_aligned(feeds[name]) for name in inputs]
    return lambda: call(*arguments), {"tensorflow": tf.__version__, "numpy": np.__version__}


def _saved_model(session: Any, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and outputs of the job's signature, as tensors by argument name."""
    import tensorflow as tf

    meta = tf.compat.v1.saved_model.load(session, ["serve"], job.model)
    signatures = meta.signature_def
    if job.signature not in signatures:
        known = ", ".join(sorted(name for name in signatures if not name.startswith("__")))
        raise Refusal(f"{job.model} has no signature {job.signature!r}; it has: {known or 'none'}")
    signature = signatures[job.signature]
    tensor = session.graph.get_tensor_by_name
    return (
        {name: tensor(info.name) for name, info in signature.inputs.items()},
        {name: tensor(info.name) for name, info in signature.outputs.items()},
    )


def _frozen(session: Any, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """The placeholders of a frozen graph, and the tensors that nothing in it reads."""
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(Path(job.model).read_bytes())
    tf.import_graph_def(graph_def, name="")
    operations = session.graph.get_operations()
    inputs = {op.name: op.outputs[0] for op in operations if op.type == "Placeholder"}
    ends = [t for op in operations for t in op.outputs if not t.consumers() and op.type != "Placeholder"]
    if not inputs or not ends:
        raise Refusal(f"{job.model} has {len(inputs)} inputs and {len(ends)} outputs; expected some of both")
    return inputs, {tensor.name: tensor for tensor in ends}


def _aligned(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy where TensorFlow can read it: it copies, at every call, an array that does not begin at a multiple of 64
    bytes, as NumPy's seldom do and the tensors of an input pipeline always."""
    if value.dtype.hasobject:
        return value
    room = np.empty(value.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    copy = room[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
    copy[...] = value
    return copy


def _specs(inputs: Mapping[str, Any]) -> dict[str, tuple[list[int | None], str]]:
    for name, tensor in inputs.items():
        if tensor.shape.rank is None:
            raise Refusal(f"input {name!r} has an unknown rank, so no input can be made for it; give data")
    return {name: (tensor.shape.as_list(), tensor.dtype.name) for name, tensor in inputs.items()}


def _given(inputs: Mapping[str, Any], path: str, batch_size: int) -> dict[str, npt.NDArray[Any]]:
    """The first batch of the given arrays, repeated where they hold less than a batch."""
    with np.load(path) as arrays:
        if missing := sorted(set(inputs) - set(arrays.files)):
            raise Refusal(f"the data lacks the input {missing[0]!r}; it has {', '.join(sorted(arrays.files))}")
        return {name: _batch(arrays[name], name, tensor, batch_size) for name, tensor in inputs.items()}


def _batch(array: npt.NDArray[Any], name: str, tensor: Any, batch_size: int) -> npt.NDArray[Any]:
    batch: npt.NDArray[Any] = np.resize(array, (batch_size, *array.shape[1:]))
    dtype, given = tensor.dtype.name, batch.dtype.name
    if given != dtype or not tensor.shape.is_compatible_with(batch.shape):
        raise Refusal(f"input {name!r} takes {dtype} of shape {tensor.shape}; the data is {given} of {batch.shape}")
    return batch


def synthetic(
    specs: Mapping[str, tuple[list[int | None], str]], batch_size: int, seed: int = 0
) -> dict[str, npt.NDArray[Any]]:
    """Input that fits a signature: real numbers in [0, 1), whole numbers 0 or 1, empty strings.

    Args:
        specs: for each input its shape, with None where it is open, and its dtype by TensorFlow's name.
        batch_size: the first dimension where that is open. Heights and widths that are open become 224, what
            else is open becomes 1.
        seed: of the random numbers.

    Raises:
        Refusal: the first dimension is fixed to something other than `batch_size`, or the dtype is unknown.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, npt.NDArray[Any]] = {}
    for name, (shape, dtype) in specs.items():
        if len(shape) > 1 and shape[0] not in (None, batch_size):
            raise Refusal(f"input {name!r} takes batches of {shape[0]}, not of {batch_size}")
        made[name] = _random(rng, _filled(shape, batch_size), dtype, name)
    return made


def _filled(shape: list[int | None], batch_size: int) -> tuple[int, ...]:
    """The shape with the open dimensions filled in: the batch, then the sides of images, then 1."""
    side = SIDE if len(shape) == 4 else 1
    return tuple((batch_size if axis == 0 else side) if extent is None else extent for axis, extent in enumerate(shape))


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, name: str) -> npt.NDArray[Any]:
    if dtype == "string":
        return np.full(shape, b"", dtype=object)
    if dtype == "bfloat16":
        import ml_dtypes

        return rng.random(shape, dtype=np.float32).astype(ml_dtypes.bfloat16)
    try:
        kind = np.dtype(dtype).kind
    except TypeError:
        raise Refusal(f"input {name!r} is of {dtype}, for which no input can be made; give data") from None
    if kind in "fc":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)


if __name__ == "__main__":
    main()
