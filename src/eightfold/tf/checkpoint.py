"""Checkpoints with the meta graph that was saved beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError

from eightfold.errors import ModelError
from eightfold.graph.model import Model
from eightfold.tf.freeze import freeze, guessed_signature, quiet, signatures_of
from eightfold.tf.reasons import reason

__all__ = ["checkpoint_prefix", "holds_values_only", "read_checkpoint"]


def checkpoint_prefix(path: Path) -> Path | None:
    """The prefix of a checkpoint given by its prefix, its .meta or .index file, or its folder; else `None`."""
    if path.is_dir():
        latest = tf.train.latest_checkpoint(str(path))
        return Path(latest) if latest and Path(f"{latest}.meta").is_file() else None
    prefix = path.with_suffix("") if path.suffix in (".meta", ".index") else path
    return prefix if Path(f"{prefix}.meta").is_file() else None


def holds_values_only(path: Path) -> bool:
    """Whether a path, its prefix or its folder is a checkpoint that came without a graph, as those of Keras do."""
    if path.is_dir():
        return tf.train.latest_checkpoint(str(path)) is not None
    return path.suffix == ".index" or Path(f"{path}.index").is_file()


def read_checkpoint(prefix: Path, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None) -> Model:
    """A checkpoint of TensorFlow 1, or of TensorFlow 2 saved with a meta graph.

    Raises:
        ModelError: the checkpoint does not fit its meta graph, or is damaged.
    """
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session, quiet():
        try:
            saver = tf.compat.v1.train.import_meta_graph(f"{prefix}.meta", clear_devices=True)
            if saver is not None:
                saver.restore(session, str(prefix))
        except (tf.errors.OpError, ValueError, KeyError, OSError, DecodeError) as error:
            raise ModelError(f"the checkpoint {prefix} could not be restored: {reason(error)}") from error
        meta_graph = tf.compat.v1.MetaGraphDef()
        meta_graph.ParseFromString(Path(f"{prefix}.meta").read_bytes())
        signatures = {} if inputs or outputs else signatures_of(meta_graph, graph)
        if not signatures:
            signature = guessed_signature(graph, inputs, outputs)
            signatures = {signature.name: signature}
        tables = [op.name for op in graph.get_operations() if op.type.startswith("InitializeTable")]
        return freeze(session, signatures, str(prefix), tables)
