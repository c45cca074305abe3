"""Frozen GraphDefs, binary or text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.framework import graph_pb2

from eightfold.errors import ModelError, OutputError
from eightfold.graph.ir import Graph, Node, Ref
from eightfold.graph.model import Model
from eightfold.tf.assets import asset_paths
from eightfold.tf.freeze import freeze, guessed_signature
from eightfold.tf.graphdef import to_graph_def
from eightfold.tf.reasons import reason

__all__ = ["read_frozen", "read_graph_def", "write_frozen"]


def read_frozen(path: Path, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None) -> Model:
    """A `.pb` or `.pbtxt` GraphDef without variables.

    Args:
        path: the file.
        inputs, outputs: tensor names; left out, placeholders go in and what nobody reads comes out.

    Raises:
        ModelError: the file is damaged, its ops are unknown, or it still has variables.
    """
    graph_def = read_graph_def(path)
    unfrozen = next((n for n in graph_def.node if n.op in ("VariableV2", "VarHandleOp", "Variable")), None)
    if unfrozen is not None:
        raise ModelError(f"{path} is not frozen: {unfrozen.name!r} is a variable; give the SavedModel or checkpoint")
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        try:
            tf.import_graph_def(graph_def, name="")
        except (ValueError, tf.errors.OpError) as error:
            raise ModelError(f"the graph in {path} cannot be used: {reason(error)}") from error
        signature = guessed_signature(graph, inputs, outputs)
        tables = [op.name for op in graph.get_operations() if op.type.startswith("InitializeTable")]
        return freeze(session, {signature.name: signature}, str(path), tables)


def read_graph_def(path: Path) -> graph_pb2.GraphDef:
    """The nodes of a `.pb` or `.pbtxt` file.

    Raises:
        ModelError: it is no GraphDef, or an empty one.
    """
    graph_def = graph_pb2.GraphDef()
    try:
        if path.suffix == ".pbtxt":
            text_format.Parse(path.read_text(), graph_def)
        else:
            graph_def.ParseFromString(path.read_bytes())
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is damaged: it is not a GraphDef protocol buffer") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if not graph_def.node:
        raise ModelError(f"{path} holds an empty graph")
    return graph_def


def write_frozen(model: Model, path: Path) -> None:
    """Writes the graph alone, with the inputs and outputs of the default signature as tensors of their names.

    Raises:
        OutputError: the model reads files, for which a graph has no place.
    """
    if asset_paths(model):
        raise OutputError(
            f"the model reads {model.assets[asset_paths(model)[0]][0]!r}, and a frozen graph cannot bring files along; "
            "choose the format saved_model"
        )
    path.write_bytes(to_graph_def(_by_signature(model)).SerializeToString(deterministic=True))


def _by_signature(model: Model) -> Graph:
    """The graph with its tensors named as in the default signature; what has such a name already gives it up."""
    inputs = {spec.ref.node: name for name, spec in model.default.inputs.items()}
    outputs = {name: spec for name, spec in model.default.outputs.items() if name not in inputs.values()}
    wanted = {*inputs.values(), *outputs}
    new = {node.name: inputs.get(node.name, node.name) for node in model.graph}
    for name in new:
        if name in wanted and name not in inputs:
            new[name] = next(free for n in itertools.count() if (free := f"{name}/inner_{n}") not in new)
    renamed = [
        node.but(
            name=new[node.name],
            inputs=tuple(Ref(new[ref.node], ref.port) for ref in node.inputs),
            control=tuple(new[name] for name in node.control),
        )
        for node in model.graph
    ]
    ends = [
        Node(name, "Identity", (Ref(new[spec.ref.node], spec.ref.port),), {"T": spec.dtype})
        for name, spec in outputs.items()
    ]
    return model.graph.with_nodes([*renamed, *ends])
