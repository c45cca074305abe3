"""Batch normalisation at inference becomes one multiplication and one addition a channel.

    x ─ FusedBatchNormV3(gamma, beta, mean, var)      =>      x ─ Mul(gamma / sqrt(var + eps)) ─ AddV2(...)

`fold_affine` then folds the pair into a neighbouring convolution. Keras 3 writes the pair itself; the numbers are
those of Ioffe and Szegedy, "Batch Normalization", 2015, Algorithm 2. A batch norm that is run in training mode
computes statistics of its batch and is left alone.
"""

from __future__ import annotations

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.ir import DType, Node, Ref
from eightfold.graph.model import Model
from eightfold.passes.context import Context

__all__ = ["split_batch_norm"]

_OPS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "BatchNormWithGlobalNormalization"}


def split_batch_norm(model: Model, context: Context) -> Model:
    """Replaces every inference batch norm with constant statistics."""
    del context
    edit = Edit(model)
    for node in model.graph:
        if node.op in _OPS and _is_inference(node) and not _reads_statistics(node, model):
            _split(node, model, edit)
    return edit.done()


def _is_inference(node: Node) -> bool:
    return node.op == "BatchNormWithGlobalNormalization" or node.attrs.get("is_training", True) is False


def _reads_statistics(node: Node, model: Model) -> bool:
    ports = {ref.port for ref in (*model.graph.users, *model.outputs) if ref.node == node.name}
    return bool(ports - {0})


def _split(node: Node, model: Model, edit: Edit) -> None:
    values = [value for ref in node.inputs[1:] if (value := model.graph.constant(ref)) is not None]
    if len(values) < len(node.inputs) - 1:
        return
    if node.op == "BatchNormWithGlobalNormalization":
        mean, variance, beta, gamma = values
        epsilon = node.attrs["variance_epsilon"]
        if not node.attrs["scale_after_normalization"]:
            gamma = np.ones_like(mean)
    else:
        gamma, beta, mean, variance = values
        epsilon = node.attrs.get("epsilon", 1e-4)
    scale = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
    shift = beta - mean * scale
    shape = (-1, 1, 1) if node.attrs.get("data_format", b"NHWC") == b"NCHW" else (-1,)
    dtype = DType(node.attrs.get("T", DType("float32")))
    ref: Ref = node.inputs[0]
    for op, value in (("Mul", scale), ("AddV2", shift)):
        operand = edit.const(f"{node.name}/{op.lower()}", value.reshape(shape).astype(str(dtype)))
        ref = edit.add(op, f"{node.name}/{'scaled' if op == 'Mul' else 'shifted'}", (ref, operand), {"T": dtype})
    edit.redirect(node.ref, ref)
