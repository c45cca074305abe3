"""GraphDef <-> `Graph`, attribute by attribute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, graph_pb2, node_def_pb2, tensor_pb2

from eightfold.graph.ir import Array, Attr, DType, Func, Graph, Node, Ref, Shape
from eightfold.tf.frames import within_frames

__all__ = ["from_graph_def", "node_from_def", "shape_of", "to_graph_def"]

_HELD_AS = {"quint8": "uint8", "qint8": "int8", "qint32": "int32", "quint16": "uint16", "qint16": "int16"}
"""NumPy has no quantized dtypes: their tensors are held as the integers they are."""

_NOT_KEPT = {"_output_shapes", "_class"}
"""What `infer` knows better, and beside which node to place one: that node, a variable, may be gone."""


def from_graph_def(graph_def: graph_pb2.GraphDef) -> Graph:
    """A GraphDef as a `Graph`; library functions are carried along as bytes."""
    return Graph(
        (node_from_def(node) for node in graph_def.node),
        {f.signature.name: f.SerializeToString() for f in graph_def.library.function},
        (graph_def.versions.producer, graph_def.versions.min_consumer),
    )


def to_graph_def(graph: Graph) -> graph_pb2.GraphDef:
    """A `Graph` as a GraphDef that TensorFlow imports."""
    graph_def = graph_pb2.GraphDef()
    producer, min_consumer = graph.versions
    graph_def.versions.producer = producer or tf.version.GRAPH_DEF_VERSION
    graph_def.versions.min_consumer = min_consumer
    graph_def.node.extend(_to_node_def(node) for node in within_frames(graph))
    for serialised in graph.functions.values():
        graph_def.library.function.add().ParseFromString(serialised)
    return graph_def


def node_from_def(node: node_def_pb2.NodeDef) -> Node:
    data = tuple(_to_ref(name) for name in node.input if not name.startswith("^"))
    control = tuple(name[1:] for name in node.input if name.startswith("^"))
    attrs = {key: _from_attr(value) for key, value in node.attr.items() if key not in _NOT_KEPT}
    return Node(node.name, node.op, data, attrs, control)


def _to_ref(name: str) -> Ref:
    node, colon, port = name.rpartition(":")
    return Ref(node, int(port)) if colon else Ref(name)


def _to_node_def(node: Node) -> node_def_pb2.NodeDef:
    result = node_def_pb2.NodeDef(name=node.name, op=node.op)
    result.input.extend(ref.node if ref.port == 0 else str(ref) for ref in node.inputs)
    result.input.extend(f"^{name}" for name in node.control)
    for key, value in node.attrs.items():
        result.attr[key].CopyFrom(_to_attr(value, node))
    return result


# --- attributes -------------------------------------------------------------------------------------------------


def _from_attr(value: attr_value_pb2.AttrValue) -> Attr:
    kind = value.WhichOneof("value")
    if kind == "list":
        return _from_list(value.list)
    if kind is None:
        return ()
    return _FROM[kind](getattr(value, kind))


def _from_list(values: attr_value_pb2.AttrValue.ListValue) -> tuple[Attr, ...]:
    for kind, convert in _FROM.items():
        items = getattr(values, kind, ())
        if len(items):
            return tuple(convert(item) for item in items)
    return ()


def shape_of(proto: Any) -> Shape:
    """A TensorShapeProto as a `Shape`."""
    if proto.unknown_rank:
        return Shape.UNKNOWN
    return Shape(None if dim.size < 0 else int(dim.size) for dim in proto.dim)


def _dtype_of(number: int) -> DType:
    return DType(tf.dtypes.as_dtype(number).name)


def _from_tensor(proto: tensor_pb2.TensorProto) -> Array:
    dtype = tf.dtypes.as_dtype(proto.dtype).name
    if dtype in _HELD_AS:
        plain = tensor_pb2.TensorProto()
        plain.CopyFrom(proto)
        plain.dtype = tf.dtypes.as_dtype(_HELD_AS[dtype]).as_datatype_enum
        proto = plain
    result: Array = tf.make_ndarray(proto)
    return result


_FROM: Mapping[str, Any] = {
    "b": bool,
    "i": int,
    "f": float,
    "s": bytes,
    "type": _dtype_of,
    "shape": shape_of,
    "tensor": _from_tensor,
    "func": lambda func: Func(func.name, {k: _from_attr(v) for k, v in func.attr.items()}),
}


def _to_attr(value: Attr, node: Node) -> attr_value_pb2.AttrValue:
    result = attr_value_pb2.AttrValue()
    if isinstance(value, tuple) and not isinstance(value, Shape):
        result.list.SetInParent()
        for item in value:
            _append(result.list, item)
    elif isinstance(value, np.ndarray):
        result.tensor.CopyFrom(_to_tensor(value, node.attrs.get("dtype")))
    else:
        _set(result, value)
    return result


def _set(result: attr_value_pb2.AttrValue, value: Attr) -> None:
    if isinstance(value, bool | np.bool_):
        result.b = bool(value)
    elif isinstance(value, int | np.integer):
        result.i = int(value)
    elif isinstance(value, float | np.floating):
        result.f = float(value)
    elif isinstance(value, bytes):
        result.s = value
    elif isinstance(value, DType):
        result.type = tf.dtypes.as_dtype(str(value)).as_datatype_enum
    elif isinstance(value, Shape):
        result.shape.CopyFrom(_to_shape(value))
    elif isinstance(value, Func):
        result.func.name = value.name
        for key, item in value.attrs.items():
            _set(result.func.attr[key], item)
    else:
        raise TypeError(f"attribute value {value!r} has no place in a NodeDef (got {type(value).__name__})")


def _append(values: attr_value_pb2.AttrValue.ListValue, item: Attr) -> None:
    single = _to_attr(item, Node("", ""))
    kind = single.WhichOneof("value")
    if kind in ("shape", "tensor", "func"):
        getattr(values, kind).add().CopyFrom(getattr(single, kind))
    else:
        getattr(values, kind).append(getattr(single, kind))


def _to_shape(shape: Shape) -> Any:
    dims: Iterable[int | None] | None = shape if shape.known_rank else None
    return tf.TensorShape(dims).as_proto()


def _to_tensor(value: Array, dtype: DType | None) -> tensor_pb2.TensorProto:
    if dtype is not None and str(dtype) in _HELD_AS:
        proto = tensor_pb2.TensorProto(dtype=tf.dtypes.as_dtype(str(dtype)).as_datatype_enum)
        proto.tensor_shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
        proto.tensor_content = np.ascontiguousarray(value).tobytes()
        return proto
    result: tensor_pb2.TensorProto = tf.make_tensor_proto(value)
    return result
