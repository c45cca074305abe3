"""Multiplications and additions of one constant a channel fold into the weights and bias beside them.

    x ─ Conv2D(w) ─ BiasAdd(b) ─ Mul(s) ─ AddV2(t)      =>      x ─ Conv2D(w·s) ─ BiasAdd(b·s + t)
    x ─ Mul(s) ─ Conv2D(w)                              =>      x ─ Conv2D(w·s)
    x ─ AddV2(t) ─ Conv2D(w), nothing padded            =>      x ─ Conv2D(w) ─ BiasAdd(Σ w·t)

The same for DepthwiseConv2dNative, MatMul and Conv2DBackpropInput. What finds no neighbour stays a `Mul` and an
`AddV2`, each pair at most once (they can still become an 8-bit op of their own).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, DType, Graph, Node, Ref, Shape
from eightfold.graph.linear import LinearOp, channel_vector, linear_op
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["fold_affine"]

_ADD = {"Add", "AddV2", "BiasAdd"}
_COMMUTATIVE = {"Mul", "Add", "AddV2"}


def fold_affine(model: Model, context: Context) -> Model:
    """Folds until nothing more folds."""

    def into_consumer(model: Model) -> Model:
        return _into_consumer(model, context)

    for rule in (
        _canonical,
        _into_producer,
        into_consumer,
        _into_producer,
    ):  # the last for the biases that come in
        changed = True
        while changed:
            folded = rule(model)
            changed = folded is not model
            model = folded
    return model


def _operand(graph: Graph, node: Node) -> tuple[Ref, Array] | None:
    """The tensor and the channel vector of a Mul, Add, Sub, RealDiv or BiasAdd with one constant side."""
    if len(node.inputs) != 2 or node.attrs.get("data_format", b"NHWC") == b"NCHW":
        return None
    sides = [(0, 1), (1, 0)] if node.op in _COMMUTATIVE else [(0, 1)]
    for data, constant in sides:
        vector = channel_vector(graph, node.inputs[constant])
        if vector is not None and graph.constant(node.inputs[data]) is None:
            return node.inputs[data], vector
    return None


def _canonical(model: Model) -> Model:
    """x / c becomes x · (1/c), x - c becomes x + (-c), the AddN of two an AddV2; two in a row become one."""
    graph, edit = model.graph, Edit(model)
    touched: set[str] = set()
    for node in graph:
        if node.op == "AddN" and len(node.inputs) == 2:
            edit.change(node.but(op="AddV2").with_attrs(N=None))
        if node.op not in ("RealDiv", "Sub", "Mul", "Add", "AddV2"):
            continue
        operand = _operand(graph, node)
        if operand is None:
            continue
        source, vector = operand
        if node.op in ("RealDiv", "Sub"):
            with np.errstate(divide="ignore"):
                turned = 1 / vector if node.op == "RealDiv" else -vector
            constant = edit.const(f"{node.name}/operand", _broadcastable(graph, node, turned))
            op = "Mul" if node.op == "RealDiv" else "AddV2"
            edit.change(node.but(op=op, inputs=(source, constant)))
            touched.add(node.name)
            continue
        before = graph[source]
        inner = _operand(graph, before) if _same_kind(before, node) and source.node not in touched else None
        if inner is not None and len(graph.users_of(source)) == 1 and source not in model.outputs:
            merged = vector * inner[1] if node.op == "Mul" else vector + inner[1]
            constant = edit.const(f"{node.name}/operand", _broadcastable(graph, node, merged))
            edit.change(node.but(inputs=(inner[0], constant)))
            touched.add(node.name)
    return edit.done()


def _same_kind(a: Node, b: Node) -> bool:
    return (a.op == b.op == "Mul") or (a.op in ("Add", "AddV2") and b.op in ("Add", "AddV2"))


def _broadcastable(graph: Graph, node: Node, vector: Array) -> Array:
    """A vector in the shape that the node's own constant had, so that the result keeps its rank."""
    ranks = [value.ndim for ref in node.inputs if (value := graph.constant(ref)) is not None]
    shape = (1,) * (max([*ranks, 1]) - 1) + (vector.size,)
    dtype = next(v.dtype for ref in node.inputs if (v := graph.constant(ref)) is not None)
    return vector.reshape(shape).astype(dtype)


# --- into the convolution before ---------------------------------------------------------------------------------


def _into_producer(model: Model) -> Model:
    graph, edit = model.graph, Edit(model)
    done: set[str] = set()
    for node in graph:
        if node.op not in ("Mul", *_ADD):
            continue
        operand = _operand(graph, node)
        if operand is None:
            continue
        source, vector = operand
        linear = _alone(model, source)
        bias = None
        if linear is not None and linear.op == "BiasAdd":
            bias, linear = linear, _alone(model, linear.inputs[0])
        if linear is None or linear.name in done or (node.op == "BiasAdd" and bias is None):
            continue
        layout = linear_op(linear)
        if layout is None or not _fits(graph, node, linear, layout, vector):
            continue
        done.update((linear.name, node.name))
        _fold_out(graph, edit, node, linear, layout, bias, vector)
    return edit.done()


def _alone(model: Model, ref: Ref) -> Node | None:
    """The producer of a tensor that only one node reads."""
    if len(model.graph.users_of(ref)) != 1 or ref in model.outputs:
        return None
    return model.graph[ref]


def _fits(graph: Graph, node: Node, linear: Node, layout: LinearOp, vector: Array) -> bool:
    weight = graph.constant(linear.inputs[layout.weight])
    if weight is None or vector.size not in (1, layout.channels(weight)):
        return False
    return _keeps_rank(graph, node, weight)


def _keeps_rank(graph: Graph, node: Node, weight: Array) -> bool:
    """Whether the constant has no more axes than the tensor; if it had, the sum would gain them."""
    constants = (graph.constant(ref) for ref in node.inputs)
    return all(value.ndim <= weight.ndim for value in constants if value is not None)


def _fold_out(
    graph: Graph, edit: Edit, node: Node, linear: Node, layout: LinearOp, bias: Node | None, vector: Array
) -> None:
    weight = graph[linear.inputs[layout.weight]].value
    channels = layout.channels(weight)
    shift = np.zeros(channels, weight.dtype)
    if bias is not None:
        old = channel_vector(graph, bias.inputs[1], channels)
        if old is None:
            return
        shift = np.broadcast_to(old, (channels,))
    result = linear.ref
    if node.op == "Mul":
        result = _with_weight(edit, linear, layout, layout.scaled_out(weight, vector), node.name)
        shift = shift * vector
    else:
        shift = shift + vector
    if node.op != "Mul" or bias is not None:
        constant = edit.const(f"{node.name}/bias", shift.astype(weight.dtype))
        result = edit.add("BiasAdd", f"{node.name}/biased", (result, constant), _bias_attrs(linear))
    edit.redirect(node.ref, result)


def _with_weight(edit: Edit, linear: Node, layout: LinearOp, weight: Array, name: str) -> Ref:
    """A copy of a linear op with another weight; the old weight may be shared with other ops."""
    inputs = list(linear.inputs)
    inputs[layout.weight] = edit.const(f"{name}/weight", weight)
    edit.change(linear.but(inputs=tuple(inputs)))
    return linear.ref


def _bias_attrs(linear: Node) -> dict[str, object]:
    return {"T": linear.attrs["T"], "data_format": b"NHWC"}


# --- into the convolution after ----------------------------------------------------------------------------------


def _into_consumer(model: Model, context: Context) -> Model:
    graph, edit = model.graph, Edit(model)
    shapes: Mapping[Ref, tuple[DType, Shape]] = {}
    done: set[str] = set()
    for linear in graph:
        layout = linear_op(linear)
        if layout is None or linear.op == "Conv2DBackpropInput" or linear.name in done:
            continue
        affine = _alone(model, linear.inputs[layout.data])
        operand = _operand(graph, affine) if affine is not None and affine.op in ("Mul", "Add", "AddV2") else None
        weight = graph.constant(linear.inputs[layout.weight])
        if affine is None or operand is None or weight is None or affine.name in done:
            continue
        source, vector = operand
        inputs = int(np.prod([weight.shape[axis] for axis in layout.in_axes]))
        if vector.size not in (1, inputs) or not _keeps_rank(graph, affine, weight):
            continue
        if affine.op != "Mul" and _pads(linear, weight):
            continue
        shapes = shapes or context.infer(graph)
        if shapes[source][1][-1:] != (inputs,):  # else the constant broadcasts one channel to many
            continue
        done.update((linear.name, affine.name))
        _fold_in(edit, affine, linear, layout, weight, source, vector)
    return edit.done()


def _pads(linear: Node, weight: Array) -> bool:
    """Whether the op reads zeros beyond its input, to which nothing must be added."""
    padding = linear.attrs.get("padding", b"VALID")
    if padding == b"EXPLICIT":
        return any(linear.attrs.get("explicit_paddings", ()))
    return padding == b"SAME" and not (weight.shape[0] == weight.shape[1] == 1)


def _fold_in(
    edit: Edit, affine: Node, linear: Node, layout: LinearOp, weight: Array, source: Ref, vector: Array
) -> None:
    inputs = list(linear.inputs)
    inputs[layout.data] = source
    if affine.op == "Mul":
        inputs[layout.weight] = edit.const(f"{affine.name}/weight", layout.scaled_in(weight, vector))
        edit.change(linear.but(inputs=tuple(inputs)))
        return
    reduced = tuple(axis for axis in range(weight.ndim) if axis not in layout.out_axes)
    bias = layout.scaled_in(weight.astype(np.float64), vector).sum(axis=reduced).reshape(-1)
    moved = edit.add(linear.op, linear.name, inputs, linear.attrs)
    constant = edit.const(f"{affine.name}/bias", bias.astype(weight.dtype))
    edit.redirect(linear.ref, edit.add("BiasAdd", f"{affine.name}/biased", (moved, constant), _bias_attrs(linear)))
