"""The order of the passes that make a float graph ready to be quantized, with the reason beside each."""

from __future__ import annotations

from eightfold.graph.model import Model
from eightfold.passes.batch_norm import split_batch_norm
from eightfold.passes.context import Context, Pass
from eightfold.passes.dilation import contract_dilation
from eightfold.passes.fold_affine import fold_affine
from eightfold.passes.fold_constants import fold_constants
from eightfold.passes.layout import to_nhwc
from eightfold.passes.matmul import flatten_matmul
from eightfold.passes.neutral import drop_neutral
from eightfold.passes.padding import fold_padding
from eightfold.passes.share import share_inputs, share_nodes
from eightfold.passes.sink_reshape import sink_reshapes
from eightfold.passes.sink_squeeze import sink_squeezes
from eightfold.passes.static_shape import freeze_shapes
from eightfold.passes.strip import strip

__all__ = ["EXPORT", "run_passes"]

EXPORT: tuple[Pass, ...] = (
    strip,  # first: an Identity between two nodes hides every pattern from the passes below
    share_inputs,  # before share_nodes, which then finds that two signatures compute the same
    freeze_shapes,  # before folding: a Shape that becomes constant lets its arithmetic fold
    fold_constants,  # before all that look for constants: Keras 3 computes batch-norm factors in the graph
    drop_neutral,  # after folding, which finds the ones and zeros; before the passes that look for neighbours
    to_nhwc,  # before folding into weights: one layout, one set of axes
    split_batch_norm,  # leaves Mul and AddV2, which fold_affine takes up
    sink_squeezes,  # before contract_dilation and fold_padding, which look for images
    contract_dilation,  # before padding and folding: three nodes become one convolution
    fold_padding,  # before fold_affine, which must know whether a convolution reads padding
    flatten_matmul,  # before fold_affine: it folds into MatMul only
    sink_reshapes,  # after flatten_matmul, whose reshapes it moves; before fold_affine, which wants the bias beside
    fold_affine,
    fold_constants,  # what folding left behind
    share_nodes,  # last: merges equal constants and what the signatures have in common
)


def run_passes(model: Model, context: Context, passes: tuple[Pass, ...] = EXPORT) -> Model:
    """Applies passes in order."""
    for apply in passes:
        model = apply(model, context)
    return model
