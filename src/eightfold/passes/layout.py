"""Channels-first graphs become channels-last: the int8 kernels and the CPU want NHWC.

    x ─ Conv2D(NCHW) ─ Relu ─ MaxPool(NCHW) ─ y
    =>
    x ─ Transpose ─ Conv2D(NHWC) ─ Relu ─ MaxPool(NHWC) ─ Transpose ─ y

Each NCHW op is wrapped in a pair of transposes; these then sink through everything that does not care about the
order of axes, and cancel where they meet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, Attr, DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["to_nhwc"]

_TO_LAST = (0, 2, 3, 1)
_TO_FIRST = (0, 3, 1, 2)
_PER_AXIS = ("strides", "dilations", "ksize")
_UNARY = {
    "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Neg", "Square", "Sqrt", "Rsqrt", "Exp", "Erf",
    "Softplus", "Abs", "Cast", "Identity",
}  # fmt: skip
_BINARY = {"Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "SquaredDifference"}
_REDUCE = {"Mean", "Max", "Min", "Sum"}


def to_nhwc(model: Model, context: Context) -> Model:
    """Converts every op with `data_format="NCHW"`, if there is one."""
    if not any(node.attrs.get("data_format") == b"NCHW" for node in model.graph):
        return model
    model = _wrap_all(model)
    changed = True
    while changed:
        settled = _cancel(_sink(model, context.infer(model.graph)))
        changed = settled is not model
        model = settled
    return model


def _wrap_all(model: Model) -> Model:
    edit = Edit(model)
    for node in model.graph:
        if node.attrs.get("data_format") == b"NCHW":
            _wrap(edit, node)
    return edit.done()


def _wrap(edit: Edit, node: Node) -> None:
    dtype = DType(node.attrs["T"])
    data = 2 if node.op.endswith("BackpropInput") else 0
    inputs = list(node.inputs)
    inputs[data] = _transpose(edit, f"{node.name}/nhwc", inputs[data], _TO_LAST, dtype)
    attrs = {**node.attrs, **_permuted(node.attrs), "data_format": b"NHWC"}
    if data == 2:
        sizes = edit.graph.constant(inputs[0])
        if sizes is None:
            order = edit.const(f"{node.name}/order", np.array(_TO_LAST, np.int32))
            axis = edit.const(f"{node.name}/axis", np.array(0, np.int32))
            types = {
                "Tparams": DType("int32"),
                "Tindices": DType("int32"),
                "Taxis": DType("int32"),
                "batch_dims": 0,
            }
            inputs[0] = edit.add("GatherV2", f"{node.name}/sizes", (inputs[0], order, axis), types)
        else:
            inputs[0] = edit.const(f"{node.name}/sizes", sizes[list(_TO_LAST)])
    last = edit.add(node.op, f"{node.name}/last", inputs, attrs)
    edit.redirect(node.ref, _transpose(edit, f"{node.name}/nchw", last, _TO_FIRST, dtype))
    for port in {ref.port for ref in edit.graph.users if ref.node == node.name} - {0}:
        edit.redirect(Ref(node.name, port), Ref(last.node, port))


def _permuted(attrs: Mapping[str, Attr]) -> dict[str, Attr]:
    """Attributes with a value an axis, in the order N, H, W, C."""
    result = {key: tuple(attrs[key][i] for i in _TO_LAST) for key in _PER_AXIS if len(attrs.get(key, ())) == 4}
    if len(attrs.get("explicit_paddings", ())) == 8:
        pairs = np.reshape(attrs["explicit_paddings"], (4, 2))[list(_TO_LAST)]
        result["explicit_paddings"] = tuple(int(p) for p in pairs.reshape(-1))
    return result


def _transpose(edit: Edit, name: str, ref: Ref, order: tuple[int, ...], dtype: DType) -> Ref:
    perm = edit.const(f"{name}/perm", np.array(order, np.int32))
    return edit.add("Transpose", name, (ref, perm), {"T": dtype, "Tperm": DType("int32")})


def _first(graph: Graph, ref: Ref) -> Ref | None:
    """The NHWC tensor that a tensor is the NCHW transpose of, else `None`."""
    node = graph.get(ref)
    if node is None or node.op != "Transpose":
        return None
    perm = graph.constant(node.inputs[1])
    return node.inputs[0] if perm is not None and tuple(perm) == _TO_FIRST else None


def _cancel(model: Model) -> Model:
    """Drops a transpose to NHWC of a transpose to NCHW."""
    edit = Edit(model)
    for node in model.graph:
        if node.op == "Transpose" and (perm := model.graph.constant(node.inputs[1])) is not None:
            source = _first(model.graph, node.inputs[0]) if tuple(perm) == _TO_LAST else None
            if source is not None:
                edit.redirect(node.ref, source)
    return edit.done()


def _sink(model: Model, info: Mapping[Ref, tuple[DType, Shape]]) -> Model:
    """Moves transposes to NCHW one node further down."""
    graph, edit = model.graph, Edit(model)
    for node in graph:
        if not any(_first(graph, ref) for ref in node.inputs):
            continue
        moved = _moved(graph, edit, node, info)
        if moved is None:
            continue
        ref, transposed = moved
        if transposed:
            ref = _transpose(edit, f"{node.name}/nchw", ref, _TO_FIRST, info[node.ref][0])
        edit.redirect(node.ref, ref)
    return edit.done()


def _moved(graph: Graph, edit: Edit, node: Node, info: Mapping[Ref, tuple[DType, Shape]]) -> tuple[Ref, bool] | None:
    """The node on NHWC inputs, and whether its result must be transposed back; `None` where it cannot move."""
    inputs: list[Ref] | None = None
    attrs, transposed = dict(node.attrs), True
    source = _first(graph, node.inputs[0])
    if node.op in _UNARY and source is not None:
        inputs = [source]
    elif node.op in _BINARY:
        inputs = _binary_inputs(graph, edit, node, info)
    elif node.op == "ConcatV2":
        inputs = _concat_inputs(graph, edit, node)
    elif node.op in ("Pad", "PadV2") and source is not None:
        amounts = graph.constant(node.inputs[1])
        if amounts is not None:
            inputs = [source, edit.const(f"{node.name}/paddings", amounts[list(_TO_LAST)]), *node.inputs[2:]]
    elif node.op in _REDUCE and source is not None:
        inputs, transposed = _reduce_inputs(graph, edit, node, source), bool(node.attrs.get("keep_dims"))
    if inputs is None:
        return None
    return edit.add(node.op, f"{node.name}/last", inputs, attrs), transposed


def _binary_inputs(graph: Graph, edit: Edit, node: Node, info: Mapping[Ref, tuple[DType, Shape]]) -> list[Ref] | None:
    inputs = []
    for ref in node.inputs:
        source, constant = _first(graph, ref), graph.constant(ref)
        if source is not None:
            inputs.append(source)
        elif constant is not None and constant.ndim <= 4:
            inputs.append(edit.const(f"{node.name}/operand", _last_axes(constant)))
        elif info[ref][1].known_rank and len(info[ref][1]) == 4:
            inputs.append(_transpose(edit, f"{node.name}/nhwc", ref, _TO_LAST, info[ref][0]))
        else:
            return None
    return inputs


def _last_axes(constant: Array) -> Array:
    """A constant that broadcasts against NCHW, for NHWC."""
    if constant.size == 1:
        return constant.reshape(())
    return constant.reshape((1,) * (4 - constant.ndim) + constant.shape).transpose(_TO_LAST)


def _concat_inputs(graph: Graph, edit: Edit, node: Node) -> list[Ref] | None:
    axis = graph.constant(node.inputs[-1])
    sources = [_first(graph, ref) for ref in node.inputs[:-1]]
    if axis is None or any(source is None for source in sources):
        return None
    moved = edit.const(f"{node.name}/axis", np.array(_TO_LAST.index(int(axis) % 4), axis.dtype))
    return [*(source for source in sources if source is not None), moved]


def _reduce_inputs(graph: Graph, edit: Edit, node: Node, source: Ref) -> list[Ref] | None:
    axes = graph.constant(node.inputs[1])
    if axes is None:
        return None
    moved = sorted(_TO_LAST.index(int(axis) % 4) for axis in np.atleast_1d(axes))
    if not node.attrs.get("keep_dims") and moved != [1, 2]:
        return None
    return [source, edit.const(f"{node.name}/axes", np.array(moved, axes.dtype))]
