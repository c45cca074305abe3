"""Frozen GraphDefs, binary or text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.framework import graph_pb2

from eightfold.errors import ModelError
from eightfold.graph.model import Model
from eightfold.tf.freeze import freeze, guessed_signature
from eightfold.tf.graphdef import to_graph_def

__all__ = ["read_frozen", "write_frozen"]


def read_frozen(path: Path, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None) -> Model:
    """A `.pb` or `.pbtxt` GraphDef without variables.

    Args:
        path: the file.
        inputs, outputs: tensor names; left out, placeholders go in and what nobody reads comes out.

    Raises:
        ModelError: the file is damaged, its ops are unknown, or it still has variables.
    """
    graph_def = _parse(path)
    unfrozen = next((n for n in graph_def.node if n.op in ("VariableV2", "VarHandleOp", "Variable")), None)
    if unfrozen is not None:
        raise ModelError(f"{path} is not frozen: {unfrozen.name!r} is a variable; give the SavedModel or checkpoint")
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        try:
            tf.import_graph_def(graph_def, name="")
        except (ValueError, tf.errors.OpError) as error:
            first = str(error).strip().partition("\n")[0]
            raise ModelError(f"TensorFlow {tf.__version__} does not accept the graph in {path}: {first}") from error
        signature = guessed_signature(graph, inputs, outputs)
        tables = [op.name for op in graph.get_operations() if op.type.startswith("InitializeTable")]
        return freeze(session, {signature.name: signature}, str(path), tables)


def _parse(path: Path) -> graph_pb2.GraphDef:
    graph_def = graph_pb2.GraphDef()
    try:
        if path.suffix == ".pbtxt":
            text_format.Parse(path.read_text(), graph_def)
        else:
            graph_def.ParseFromString(path.read_bytes())
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is damaged: it is not a GraphDef protocol buffer") from error
    if not graph_def.node:
        raise ModelError(f"{path} holds an empty graph")
    return graph_def


def write_frozen(model: Model, path: Path) -> None:
    """Writes the graph alone; inputs and outputs keep the names of their tensors."""
    path.write_bytes(to_graph_def(model.graph).SerializeToString())
