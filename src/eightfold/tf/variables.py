"""Makes ready for TensorFlow's own freezing what it does not freeze by itself.

    ResourceGather(v, i)                    =>      GatherV2(ReadVariableOp(v), i)
    ReadVariableOp of a string variable     =>      Const
    AssignVariableOp(v, x)                  =>      NoOp

The first it refuses inside functions, and embeddings are made of it; the second, which is how SavedModels of
TensorFlow 2 hold the paths of their assets, makes it fail; and it lets assignments be, which a constant cannot take
(layers that draw random numbers count their seeds, even where they do nothing but pass their input on).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2, node_def_pb2, types_pb2
from tensorflow.python.eager import context

from eightfold.graph.ir import Ref
from eightfold.graph.model import Signature

__all__ = ["VARIABLES", "fill_variables", "freezable"]

VARIABLES = ("VarHandleOp", "VariableV2", "Variable")

_ASSIGNMENTS = {"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"}
_GATHERS = {"ResourceGather": "GatherV2", "ResourceGatherNd": "GatherNd"}


def freezable(session: Any) -> graph_pb2.GraphDef:
    """The session's graph with variables that `convert_variables_to_constants` can handle."""
    graph_def = session.graph.as_graph_def()
    _split_gathers(graph_def.node, port=":0")
    _drop_assignments(graph_def.node)
    for function in graph_def.library.function:
        _split_gathers(function.node_def, port=":value:0")
        _drop_assignments(function.node_def)
    _freeze_strings(session, graph_def)
    return graph_def


def _freeze_strings(session: Any, graph_def: graph_pb2.GraphDef) -> None:
    strings = {n.name for n in graph_def.node if n.op == "VarHandleOp" and n.attr["dtype"].type == types_pb2.DT_STRING}
    for node in graph_def.node:
        if node.op == "ReadVariableOp" and node.input[0] in strings:
            with session.graph.as_default():
                handle = session.graph.get_tensor_by_name(f"{node.input[0]}:0")
                value = session.run(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.string))
            node.CopyFrom(node_def_pb2.NodeDef(name=node.name, op="Const"))
            node.attr["dtype"].type = types_pb2.DT_STRING
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.string))


def _drop_assignments(nodes: Any) -> None:
    for node in nodes:
        if node.op in _ASSIGNMENTS:
            control = [name for name in node.input if name.startswith("^")]
            node.CopyFrom(node_def_pb2.NodeDef(name=node.name, op="NoOp", input=control))


def _split_gathers(nodes: Any, port: str) -> None:
    """Lets gathers read the whole variable; `port` is how a first output is written where the nodes are."""
    for node in [node for node in nodes if node.op in _GATHERS]:
        value, values = f"{node.name}/value", node.attr["dtype"]
        read = nodes.add(name=value, op="ReadVariableOp", input=[node.input[0]])
        read.attr["dtype"].CopyFrom(values)
        node.attr["Tparams"].CopyFrom(values)
        node.input[0] = value + port
        if node.op == "ResourceGather":
            batch_dims = node.attr["batch_dims"].i if "batch_dims" in node.attr else 0
            axis = nodes.add(name=f"{node.name}/axis", op="Const")
            axis.attr["dtype"].type = types_pb2.DT_INT32
            axis.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(batch_dims, tf.int32))
            node.input.insert(2, axis.name + (":output:0" if port != ":0" else ":0"))
            node.attr["Taxis"].type = types_pb2.DT_INT32
        node.op = _GATHERS[node.op]
        for key in ("dtype", "validate_indices"):
            node.attr.pop(key, None)


def fill_variables(session: Any, signatures: Mapping[str, Signature], folder: Path) -> None:
    """Sets the variables of a SavedModel that only the loader of TensorFlow 2 restores.

    A `tf.Module` that holds a Keras 3 model has each of its variables twice: the signatures read one, the restore
    operation sets the other.
    """
    graph = session.graph
    calls = {name: graph.get_tensor_by_name(str(_any_output(s))).op for name, s in signatures.items()}
    empty = {name for name, call in calls.items() if _unset(session, call)}
    if not empty:
        return
    with context.eager_mode():
        loaded = tf.saved_model.load(str(folder))
    for name in empty:
        captured = loaded.signatures[name].captured_inputs
        for tensor, value in zip(calls[name].inputs[-len(captured) :], captured, strict=True):
            if tensor.op.type == "VarHandleOp":
                dtype = tf.dtypes.as_dtype(tensor.op.get_attr("dtype"))
                with context.eager_mode():
                    array = tf.raw_ops.ReadVariableOp(resource=value, dtype=dtype).numpy()
                with graph.as_default():
                    fed = tf.compat.v1.placeholder(dtype)
                    session.run(tf.raw_ops.AssignVariableOp(resource=tensor, value=fed), {fed: array})


def _any_output(signature: Signature) -> Ref:
    return next(iter(signature.outputs.values())).ref


def _unset(session: Any, call: Any) -> bool:
    """Whether a call reads a variable that has no value."""
    handles = [tensor for tensor in call.inputs if tensor.op.type == "VarHandleOp"]
    if not call.type.endswith("PartitionedCall") or not handles:
        return False
    with session.graph.as_default():
        return not all(session.run([tf.raw_ops.VarIsInitializedOp(resource=handle) for handle in handles]))
