"""Products with one constant matrix are MatMul, whatever wrote them.

x[a,b,k] ─ BatchMatMulV2(w[k,n])      =>      x ─ Reshape[-1,k] ─ MatMul(w) ─ Reshape[a,b,n]
x ─ Einsum("abc,cd->abd", w[c,d])     =>      the same
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model
from eightfold.graph.pattern import Match, any_, const, either, match, op
from eightfold.passes.context import Context

__all__ = ["flatten_matmul"]


def flatten_matmul(model: Model, context: Context) -> Model:
    """Turns BatchMatMulV2/V3 and Einsum with a constant matrix into MatMul on two axes."""
    while True:
        flattened = _flatten_round(model, context)
        if flattened is model:
            return model
        model = flattened


def _flatten_round(model: Model, context: Context) -> Model:
    """Flattens the products whose shape is known but for one axis; their results are then known as well.

    Where there are none, it takes the first of the others, which reads its axes at run time.
    """
    graph, edit = model.graph, Edit(model)
    outputs = frozenset(model.outputs)
    found = [product for node in graph if (product := _product(graph, node, outputs)) is not None]
    shapes = context.infer(graph) if found else {}
    fitting = [
        (product, shape)
        for product in found
        if (shape := shapes[product.x][1]).known_rank and len(shape) >= 2 and product.rank in (None, len(shape))
    ]
    known = [(product, shape) for product, shape in fitting if sum(dim is None for dim in shape[:-1]) <= 1]
    for product, shape in known or fitting[:1]:
        _flatten(edit, product, shape)
    return edit.done()


@dataclass(frozen=True)
class _Product:
    """A product of a tensor's last axis with a constant [k, n] matrix; `rank` where the node fixes it."""

    node: Node
    x: Ref
    weight: Array
    rank: int | None = None


def _product(graph: Graph, node: Node, outputs: Container[Ref]) -> _Product | None:
    weight = _matrix(graph, node)
    if weight is not None:
        return _Product(node, node.inputs[0], weight)
    found = match(graph, _TENSORDOT, node, outputs) if node.op == "Reshape" else None
    return _tensordot(found) if isinstance(found, Match) else None


_X = any_("x")
_SHAPE = op("Shape", _X)
_FREE = op("GatherV2", _SHAPE, const("free"))
_USED = op("GatherV2", _SHAPE, const("used"))
_ROWS = op("Pack", op("Prod", _FREE), op("Prod", _USED))
_MOVED = either(op("Transpose", _X, const("order")), _X)
_TENSORDOT = op(
    "Reshape",
    op("MatMul", op("Reshape", _MOVED, _ROWS), const("weight"), name="matmul"),
    op("ConcatV2", _FREE, const("units")),
)


def _tensordot(found: Match) -> _Product | None:
    """The product of a `tf.tensordot` over the last axis; `None` where it runs over others."""
    free, used, order = found.value("free"), found.value("used"), found.get("order")
    rank = free.size + used.size
    attrs = found.named["matmul"].attrs
    in_order = order is None or order.tolist() == list(range(rank))
    last = free.tolist() == list(range(rank - 1)) and used.tolist() == [rank - 1]
    if not (in_order and last) or attrs.get("transpose_a") or attrs.get("transpose_b"):
        return None
    return _Product(found.node, found.refs["x"], found.value("weight"), rank)


def _matrix(graph: Graph, node: Node) -> Array | None:
    """The constant [k, n] matrix that a node multiplies its first input's last axis by, else `None`."""
    if node.op in ("BatchMatMulV2", "BatchMatMulV3", "BatchMatMul"):
        weight = graph.constant(node.inputs[1])
        if weight is None or weight.ndim != 2 or node.attrs.get("adj_x") or _dtype(node) is None:
            return None
        return weight.T if node.attrs.get("adj_y") else weight
    if node.op == "Einsum" and len(node.inputs) == 2:
        weight = graph.constant(node.inputs[1])
        return None if weight is None else _einsum_matrix(node.attrs["equation"].decode(), weight)
    return None


def _dtype(node: Node) -> DType | None:
    """The one dtype of operands and result; `None` where they differ, as they may in BatchMatMulV3."""
    kinds = {node.attrs[key] for key in ("T", "Ta", "Tb", "Tout") if key in node.attrs}
    return DType(kinds.pop()) if len(kinds) == 1 else None


def _einsum_matrix(equation: str, weight: Array) -> Array | None:
    """The matrix of `...ab,bcd->...acd`: contracted axes last in x and first in w, nothing transposed."""
    parts = re.fullmatch(r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)", equation.replace(" ", ""))
    if parts is None or len(parts[2]) != weight.ndim:
        return None
    left, right, out = parts.groups()
    contracted = "".join(label for label in right if label not in out)
    kept = right.removeprefix(contracted)
    batch = left.removesuffix(contracted)
    plain = left == batch + contracted and right == contracted + kept and out == batch + kept
    if not plain or len(contracted) != 1 or len(kept) != 1:
        return None
    return weight


def _flatten(edit: Edit, product: _Product, shape: Shape) -> None:
    node, weight = product.node, product.weight
    inner, outer = weight.shape
    dtype = _dtype(node)
    ref = product.x
    if len(shape) > 2:
        rows = edit.const(f"{node.name}/rows", np.array([-1, inner], np.int32))
        ref = edit.add("Reshape", f"{node.name}/flat", (ref, rows), {"T": dtype, "Tshape": DType("int32")})
    constant = edit.const(f"{node.name}/weight", np.ascontiguousarray(weight))
    attrs = {"T": dtype, "transpose_a": False, "transpose_b": False}
    result = edit.add("MatMul", f"{node.name}/matmul", (ref, constant), attrs)
    if len(shape) > 2:
        result = _unflatten(edit, product, result, shape, outer)
    edit.redirect(node.ref, result)


def _unflatten(edit: Edit, product: _Product, ref: Ref, shape: Shape, outer: int) -> Ref:
    """Back to the leading axes of the input; taken from it at run time where more than one is unknown."""
    node = product.node
    dtype, int32 = _dtype(node), DType("int32")
    if sum(dim is None for dim in shape[:-1]) <= 1:
        target = edit.const(
            f"{node.name}/shape", np.array([-1 if d is None else d for d in (*shape[:-1], outer)], np.int32)
        )
    else:
        source = edit.add("Shape", f"{node.name}/in_shape", (product.x,), {"T": dtype, "out_type": int32})
        begin, end, step = (
            edit.const(f"{node.name}/{key}", np.array([value], np.int32))
            for key, value in (("begin", 0), ("end", -1), ("step", 1))
        )
        masks = dict.fromkeys(("end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)
        lead = edit.add(
            "StridedSlice",
            f"{node.name}/lead",
            (source, begin, end, step),
            {"T": int32, "Index": int32, "begin_mask": 1, **masks},
        )
        last = edit.const(f"{node.name}/out", np.array([outer], np.int32))
        axis = edit.const(f"{node.name}/axis", np.array(0, np.int32))
        target = edit.add("ConcatV2", f"{node.name}/shape", (lead, last, axis), {"N": 2, "T": int32, "Tidx": int32})
    return edit.add("Reshape", f"{node.name}/reshaped", (ref, target), {"T": dtype, "Tshape": int32})
