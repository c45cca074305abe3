"""A model in a session of its own with one call prepared: the fastest way in which Python can run it.

Session.run looks up what to run at every call, a concrete function hands its arguments through Python; a callable that
the session's C++ side has prepared does neither, and is handed over to in 3 us where Session.run takes 40 (and
`Session.make_callable` with it, which calls that). A model that is on disk as a graph runs as it is, nothing frozen or
changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from eightfold.errors import DataError, ModelError
from eightfold.graph.ir import Array
from eightfold.graph.model import Signature, TensorSpec
from eightfold.system.onednn import onednn_off, too_late
from eightfold.tf.apart import apart, running
from eightfold.tf.cpu import require_int8_kernels
from eightfold.tf.freeze import guessed_signature, quiet, signatures_of
from eightfold.tf.frozen import read_graph_def
from eightfold.tf.graph_file import all_quantized, is_quantized
from eightfold.tf.read import read_model
from eightfold.tf.reasons import reason
from eightfold.tf.savedmodel import is_saved_model
from eightfold.tf.session import import_graph

__all__ = ["Prepared", "aligned", "session_config"]

ALIGNMENT = 64
"""Bytes: Eigen's largest, which TensorFlow's tensors have."""

_LAYOUTS = {"NHWC": RewriterConfig.NCHW_TO_NHWC, "NCHW": RewriterConfig.NHWC_TO_NCHW}


class Prepared:
    """A model, ready to be called. Use it as a context manager, or close it.

    Args:
        model: a SavedModel folder, a frozen `.pb`, or any other file that `eightfold.tf.read` knows.
        signature: which of its signatures; `serving_default`, or else the first, where none is named.
        intra: threads inside one operation. The first session of a process makes them for all.
        inter: operations at a time; -1 runs them in the thread that calls. Where each has one thread (`intra` 1),
            every one of these threads gets a core of its own, if there are as many.
        layout: "NHWC" or "NCHW": what TensorFlow brings the images of a float graph to; None leaves them.
        bfloat16: whether TensorFlow does float convolutions and products in bfloat16.

    Attributes:
        signature: what it takes and gives.

    Raises:
        ModelError: there is no such model or signature, or TensorFlow cannot load it.
        PlatformError: the model is in 8 bits, and TensorFlow runs without oneDNN here.
    """

    def __init__(
        self,
        model: str | Path,
        signature: str | None = None,
        *,
        intra: int | None = None,
        inter: int | None = None,
        layout: str | None = None,
        bfloat16: bool = False,
    ) -> None:
        if (onednn_off(os.environ) or too_late()) and is_quantized(Path(model)):
            require_int8_kernels()
        # TensorFlow's rewrites find nothing to do in a graph of 8-bit ops, and need seconds to say so.
        rewrites = bfloat16 or layout is not None or not all_quantized(Path(model))
        config = session_config(intra, inter, layout, bfloat16, rewrites=rewrites)
        self._path = model
        before = running()
        self._session, self.signature = _opened(Path(model), signature, config)
        if inter is not None and inter > 1 and intra == 1:
            apart(before)
        self._call = _callable(self._session, self.signature)
        self._takes = [_Taken(spec) for spec in self.signature.inputs.values()]

    def __call__(self, *inputs: Array) -> list[Array]:
        """Runs the model once: the inputs and the outputs are in the order of the signature.

        TensorFlow reads an array in place where it is `aligned`, and copies it first where it is not.

        Raises:
            DataError: the inputs are not those of the model, or TensorFlow refuses them.
            ModelError: it was closed.
        """
        try:
            outputs: list[Array] = self._call(*(take(one) for take, one in zip(self._takes, inputs, strict=True)))
        except (tf.errors.InvalidArgumentError, ValueError) as error:
            raise DataError(f"{self._path} cannot run on this data: {reason(error)}") from error
        except tf.errors.CancelledError as error:
            raise ModelError(
                f"{self._path} was closed; expected a call before that, inside of the with block"
            ) from error
        return outputs

    def close(self) -> None:
        """Frees the model."""
        self._session.close()

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def session_config(
    intra: int | None = None,
    inter: int | None = None,
    layout: str | None = None,
    bfloat16: bool = False,
    *,
    rewrites: bool = True,
) -> config_pb2.ConfigProto:
    """Run-time settings as TensorFlow's ConfigProto; see `Prepared`. `rewrites`: whether it optimizes the graph."""
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=intra or 0,
        inter_op_parallelism_threads=inter or 0,
        # Else the first session of the process decides for all. A caller runs operations only with the shared ones.
        use_per_session_threads=inter is not None and inter > 0,
        device_count={"GPU": 0},
    )
    rewriter = config.graph_options.rewrite_options
    rewriter.disable_meta_optimizer = not rewrites
    if bfloat16:
        rewriter.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
    if layout is not None:
        rewriter.cpu_layout_conversion = _LAYOUTS[layout]
    return config


class _Taken:
    """What becomes of an array that is handed to one input."""

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._dtype = tf.as_dtype(str(spec.dtype)).as_numpy_dtype
        self._shape = tuple(spec.shape) if spec.shape.known_rank else None

    def __call__(self, value: Array) -> Array:
        """The array in the type of the input; TensorFlow does not look at shapes where it is handed over to directly.

        Raises:
            ValueError: its shape is another one.
        """
        array = np.asarray(value, self._dtype)
        wanted = array.shape if self._shape is None else self._shape
        if len(array.shape) != len(wanted) or any(
            want not in (None, have) for have, want in zip(array.shape, wanted, strict=True)
        ):
            raise ValueError(f"expected {self._spec}, received the shape {array.shape}")
        return array


def _callable(session: Any, signature: Signature) -> Callable[..., Any]:
    """What runs a signature: arrays in, a list of arrays out."""
    feeds = [str(spec.ref) for spec in signature.inputs.values()]
    fetches = [str(spec.ref) for spec in signature.outputs.values()]
    if not set(feeds).isdisjoint(fetches):  # an input handed through as it is, which only Session.run can do
        through: Callable[..., Any] = session.make_callable(fetches, feeds)
        return through
    prepared: Callable[..., Any] = session._make_callable_from_options(
        config_pb2.CallableOptions(feed=feeds, fetch=fetches)
    )
    return prepared


def aligned(value: Array) -> Array:
    """A copy where TensorFlow can read it: it copies, at every call, an array that does not begin at a multiple of 64
    bytes, as NumPy's seldom do and the tensors of an input pipeline always."""
    if value.dtype.hasobject:
        return value
    room = np.empty(value.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    copy = room[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
    copy[...] = value
    return copy


def _opened(path: Path, signature: str | None, config: Any) -> tuple[Any, Signature]:
    """A session that holds the model, its variables and tables filled, and the signature wanted."""
    if is_saved_model(path):
        return _saved_model(path, signature, config)
    if path.suffix in (".pb", ".pbtxt") and path.is_file():
        return _frozen(path, signature, config)
    # The first session of a process makes the threads for all; without this one, that would be one of the reader's.
    tf.compat.v1.Session(graph=tf.Graph(), config=config).close()
    model = read_model(path)
    session = tf.compat.v1.Session(graph=import_graph(model.graph), config=config)
    if model.init:
        session.run(list(model.init))
    return session, model.signatures[_chosen(path, signature, model.signatures)]


def _saved_model(path: Path, signature: str | None, config: Any) -> tuple[Any, Signature]:
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        try:
            with quiet():
                meta = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(path))
        except (OSError, ValueError, KeyError, RuntimeError, tf.errors.OpError) as error:
            raise ModelError(f"{path} could not be loaded: {reason(error)}") from error
    name = _chosen(path, signature, [name for name in meta.signature_def if not name.startswith("__")])
    return session, signatures_of(meta, session.graph, [name])[name]


def _frozen(path: Path, signature: str | None, config: Any) -> tuple[Any, Signature]:
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        try:
            tf.import_graph_def(read_graph_def(path), name="")
        except (ValueError, tf.errors.OpError) as error:
            raise ModelError(f"{path} could not be loaded: {reason(error)}") from error
    session.run([op for op in session.graph.get_operations() if op.type.startswith("InitializeTable")])
    guessed = guessed_signature(session.graph)
    _chosen(path, signature, [guessed.name])
    return session, guessed


def _chosen(path: Path, wanted: str | None, known: Iterable[str]) -> str:
    names = sorted(known)
    if wanted is None and names:
        return "serving_default" if "serving_default" in names else names[0]
    if wanted not in names:
        asked = "no signature" if wanted is None else f"no signature {wanted!r}"
        raise ModelError(f"{path} has {asked}; it has: {', '.join(names) or 'none'}")
    return wanted
