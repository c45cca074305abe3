"""A Reshape whose result has one unknown dimension needs no shape computed at run time.

    x ─ Shape ─ StridedSlice ─ Pack([·, 2048]) ─┐
    x ──────────────────────────────────────── Reshape      =>      x ─ Reshape([-1, 2048])

What is left of the shape arithmetic would otherwise read float tensors in the middle of an 8-bit flow.
"""

from __future__ import annotations

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["freeze_shapes"]


def freeze_shapes(model: Model, context: Context) -> Model:
    """Makes constant what shape inference knows: Reshape targets and the Shape of static tensors."""
    graph, edit = model.graph, Edit(model)
    waiting = [n for n in graph if n.op == "Shape" or (n.op == "Reshape" and graph.constant(n.inputs[1]) is None)]
    if not waiting:
        return model
    info = context.infer(graph)
    for node in waiting:
        shape = info[node.inputs[0] if node.op == "Shape" else node.ref][1]
        unknown = sum(dim is None for dim in shape) if shape.known_rank else 99
        if node.op == "Shape" and unknown == 0:
            dtype = str(node.attrs.get("out_type", "int32"))
            edit.redirect(node.ref, edit.const(f"{node.name}/static", np.array(shape, dtype)))
        elif node.op == "Reshape" and unknown <= 1 and 0 not in shape:
            dtype = str(node.attrs.get("Tshape", "int32"))
            target = np.array([-1 if dim is None else dim for dim in shape], dtype)
            edit.change(node.but(inputs=(node.inputs[0], edit.const(f"{node.name}/static", target))))
    return edit.done()
