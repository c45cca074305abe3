"""Products with one constant matrix are MatMul, whatever wrote them.

x[a,b,k] ─ BatchMatMulV2(w[k,n])      =>      x ─ Reshape[-1,k] ─ MatMul(w) ─ Reshape[a,b,n]
x ─ Einsum("abc,cd->abd", w[c,d])     =>      the same
"""

from __future__ import annotations

import re

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["flatten_matmul"]


def flatten_matmul(model: Model, context: Context) -> Model:
    """Turns BatchMatMulV2/V3 and Einsum with a constant matrix into MatMul on two axes."""
    graph, edit = model.graph, Edit(model)
    found = [(node, weight) for node in graph if (weight := _matrix(graph, node)) is not None]
    if not found:
        return model
    shapes = context.infer(graph)
    for node, weight in found:
        shape = shapes[node.inputs[0]][1]
        if shape.known_rank and len(shape) >= 2:
            _flatten(edit, node, weight, shape)
    return edit.done()


def _matrix(graph: Graph, node: Node) -> Array | None:
    """The constant [k, n] matrix that a node multiplies its first input's last axis by, else `None`."""
    if node.op in ("BatchMatMulV2", "BatchMatMulV3", "BatchMatMul"):
        weight = graph.constant(node.inputs[1])
        if weight is None or weight.ndim != 2 or node.attrs.get("adj_x"):
            return None
        return weight.T if node.attrs.get("adj_y") else weight
    if node.op == "Einsum" and len(node.inputs) == 2:
        weight = graph.constant(node.inputs[1])
        return None if weight is None else _einsum_matrix(node.attrs["equation"].decode(), weight)
    return None


def _einsum_matrix(equation: str, weight: Array) -> Array | None:
    """The matrix of `...ab,bcd->...acd`: contracted axes last in x and first in w, nothing transposed."""
    match = re.fullmatch(r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)", equation.replace(" ", ""))
    if match is None or len(match[2]) != weight.ndim:
        return None
    left, right, out = match.groups()
    contracted = "".join(label for label in right if label not in out)
    kept = right.removeprefix(contracted)
    batch = left.removesuffix(contracted)
    plain = left == batch + contracted and right == contracted + kept and out == batch + kept
    if not plain or len(contracted) != 1 or len(kept) != 1:
        return None
    return weight


def _flatten(edit: Edit, node: Node, weight: Array, shape: Shape) -> None:
    inner, outer = weight.shape
    dtype = DType(node.attrs["T"])
    ref = node.inputs[0]
    if len(shape) > 2:
        rows = edit.const(f"{node.name}/rows", np.array([-1, inner], np.int32))
        ref = edit.add("Reshape", f"{node.name}/flat", (ref, rows), {"T": dtype, "Tshape": DType("int32")})
    constant = edit.const(f"{node.name}/weight", np.ascontiguousarray(weight))
    attrs = {"T": dtype, "transpose_a": False, "transpose_b": False}
    result = edit.add("MatMul", f"{node.name}/matmul", (ref, constant), attrs)
    if len(shape) > 2:
        result = _unflatten(edit, node, result, shape, outer)
    edit.redirect(node.ref, result)


def _unflatten(edit: Edit, node: Node, ref: Ref, shape: Shape, outer: int) -> Ref:
    """Back to the leading axes of the input; taken from it at run time where more than one is unknown."""
    dtype = DType(node.attrs["T"])
    int32 = DType("int32")
    if sum(dim is None for dim in shape[:-1]) <= 1:
        target = edit.const(
            f"{node.name}/shape", np.array([-1 if d is None else d for d in (*shape[:-1], outer)], np.int32)
        )
    else:
        source = edit.add("Shape", f"{node.name}/in_shape", node.inputs[:1], {"T": dtype, "out_type": int32})
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
