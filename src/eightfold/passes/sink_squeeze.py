"""A convolution over one axis is one over two, and the axis of length one is dropped as late as can be.

    x ─ ExpandDims ─ Conv2D ─ Squeeze ─ BiasAdd ─ Relu ─ ExpandDims ─ Conv2D ─ Squeeze ─ Mean
 => x ─ ExpandDims ─ Conv2D ─ BiasAdd ─ Relu ─ Conv2D ─ Mean
    x ─ Pad ─ ExpandDims ─ Conv2D      =>      x ─ ExpandDims ─ Pad ─ Conv2D

Bias, batch norm, activation, padding and dilation then stand beside the convolution, where they fold and fuse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, DType, Graph, Node, Ref
from eightfold.graph.model import Model
from eightfold.passes.context import Context
from eightfold.passes.sink_reshape import ELEMENTWISE

__all__ = ["sink_squeezes"]

_IMAGE_OPS = {"Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"}
"""What gives a tensor of rank 4, height and width on its axes 1 and 2."""

_BATCH_MOVES = {"SpaceToBatchND", "BatchToSpaceND"}
_PADDINGS = {"Pad", "PadV2", "MirrorPad", *_BATCH_MOVES}

_INT32 = DType("int32")


@dataclass(frozen=True)
class _Wide:
    """A tensor of rank 3 as it was before its axis of length one was dropped."""

    ref: Ref
    axis: int


def sink_squeezes(model: Model, context: Context) -> Model:
    """Moves every Squeeze of height or width below what works on the other axes, down to where it is undone."""
    del context
    graph, edit = model.graph, Edit(model)
    wide: dict[Ref, _Wide] = {}
    for node in graph:
        axis = _squeezed_axis(graph, node)
        if axis is not None:
            wide[node.ref] = _Wide(node.inputs[0], axis)
        elif node.op == "ExpandDims":
            _expanded(edit, node, wide)
        elif node.op == "Mean":
            _averaged(edit, node, wide)
        elif (found := _widened(edit, node, wide)) is not None:
            wide[node.ref] = found
            attrs = {"T": node.attrs["T"], "squeeze_dims": (found.axis,)}
            edit.redirect(node.ref, edit.add("Squeeze", f"{node.name}/squeezed", (found.ref,), attrs))
    return edit.done()


def _squeezed_axis(graph: Graph, node: Node) -> int | None:
    """The axis that a node drops from an image, where it drops its height or its width."""
    if node.op != "Squeeze" or graph[node.inputs[0]].op not in _IMAGE_OPS:
        return None
    axes = [axis % 4 for axis in node.attrs.get("squeeze_dims", ())]
    channels_last = graph[node.inputs[0]].attrs.get("data_format", b"NHWC") == b"NHWC"
    return axes[0] if channels_last and axes in ([1], [2]) else None


def _expanded(edit: Edit, node: Node, wide: dict[Ref, _Wide]) -> None:
    """An axis that is added where it was dropped, or could be added before a padding."""
    graph = edit.graph
    source, at = graph[node.inputs[0]], graph.constant(node.inputs[1])
    if at is None:
        return
    axis = int(at.reshape(-1)[0]) % 4
    dropped = wide.get(node.inputs[0])
    if dropped is not None:
        if dropped.axis == axis:
            edit.redirect(node.ref, dropped.ref)
        return
    if axis in (1, 2) and _is_padded(graph, source) and all(u.op in _IMAGE_OPS for u in graph.users_of(node.ref)):
        edit.redirect(node.ref, _lifted(edit, node, node.inputs[0], axis))


def _lifted(edit: Edit, expand: Node, ref: Ref, axis: int) -> Ref:
    """A tensor with one more axis, which is added before all that pads it."""
    source = edit.graph[ref]
    constants = _constants(edit, source, axis) if _is_padded(edit.graph, source) else None
    if constants is None:
        return edit.add("ExpandDims", f"{expand.name}/lifted", (ref, expand.inputs[1]), expand.attrs)
    before = _lifted(edit, expand, source.inputs[0], axis)
    return edit.add(source.op, f"{source.name}/wide", (before, *constants), source.attrs)


def _is_padded(graph: Graph, node: Node) -> bool:
    """Whether a node pads a tensor of rank 3, or deals it out into the batch, for one reader only."""
    return node.op in _PADDINGS and len(graph.users_of(node.ref)) == 1


def _averaged(edit: Edit, node: Node, wide: dict[Ref, _Wide]) -> None:
    """A mean drops the axis along with those that it is over."""
    source, axes = wide.get(node.inputs[0]), edit.graph.constant(node.inputs[1])
    if source is None or axes is None or node.attrs.get("keep_dims"):
        return
    kept = {_outer(int(axis) % 3, source.axis) for axis in axes.reshape(-1)}
    both = edit.const(f"{node.name}/axes", np.array(sorted({*kept, source.axis}), np.int32))
    attrs = {**node.attrs, "Tidx": _INT32}
    edit.redirect(node.ref, edit.add("Mean", f"{node.name}/wide", (source.ref, both), attrs))


def _widened(edit: Edit, node: Node, wide: dict[Ref, _Wide]) -> _Wide | None:
    """The node on rank 4, added to the graph; `None` where it has no input of that kind, or one more of another."""
    axes = {wide[ref].axis for ref in node.inputs if ref in wide}
    if len(axes) != 1:
        return None
    axis = axes.pop()
    others = [ref for ref in node.inputs if ref not in wide]
    inputs: list[Ref] | None = None
    if node.op in ELEMENTWISE:
        if node.attrs.get("data_format", b"NHWC") == b"NHWC" and all(_spreads(edit.graph, ref) for ref in others):
            inputs = [wide[ref].ref if ref in wide else _spread(edit, ref, axis) for ref in node.inputs]
    elif node.op == "ConcatV2":
        along = edit.graph.constant(node.inputs[-1])
        if along is not None and others == [node.inputs[-1]]:
            at = edit.const(f"{node.name}/axis", np.array(_outer(int(along) % 3, axis), along.dtype))
            inputs = [*(wide[ref].ref for ref in node.inputs[:-1]), at]
    elif node.inputs[0] in wide and (constants := _constants(edit, node, axis)) is not None:
        inputs = [wide[node.inputs[0]].ref, *constants]
    return None if inputs is None else _Wide(edit.add(node.op, f"{node.name}/wide", inputs, node.attrs), axis)


def _spreads(graph: Graph, ref: Ref) -> bool:
    """Whether a tensor is a constant that broadcasts to a tensor of rank 3."""
    value = graph.constant(ref)
    return value is not None and value.ndim <= 3


def _spread(edit: Edit, ref: Ref, axis: int) -> Ref:
    """The constant that broadcasts to the tensor of rank 4."""
    value = edit.graph.constant(ref)
    if value is None or value.ndim <= 1:
        return ref
    return edit.const(f"{ref.node}/wide", np.expand_dims(value.reshape((1,) * (3 - value.ndim) + value.shape), axis))


def _constants(edit: Edit, node: Node, axis: int) -> list[Ref] | None:
    """What a padding or a move between space and batch takes besides its data, on rank 4; `None` for other nodes."""
    values = [value for ref in node.inputs[1:] if (value := edit.graph.constant(ref)) is not None]
    if node.op not in _PADDINGS or len(values) < len(node.inputs) - 1:
        return None
    if node.op in _BATCH_MOVES:
        first, second = values
        if first.shape != (1,):
            return None
        return [_inserted(edit, node, first, axis - 1, 1), _inserted(edit, node, second, axis - 1, 0)]
    if values[0].shape != (3, 2):
        return None
    return [_inserted(edit, node, values[0], axis, 0), *node.inputs[2:]]


def _inserted(edit: Edit, node: Node, value: Array, at: int, fill: int) -> Ref:
    """A constant with one more row."""
    return edit.const(f"{node.name}/rows", np.insert(value, at, fill, axis=0))


def _outer(axis: int, dropped: int) -> int:
    """Where an axis of the tensor of rank 3 is in the one of rank 4."""
    return axis if axis < dropped else axis + 1
