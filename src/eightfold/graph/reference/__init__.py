"""What each op computes, in NumPy: the oracle that TensorFlow's kernels and the rewrites are tested against.

    codes, = evaluate(graph, [Ref("conv")], {Ref("x"): images})

Float ops are computed as their definition reads, in float64 where sums are long. The 8-bit ops are exact
integer arithmetic followed by the kernel's own scaling, rounding and saturation: a TensorFlow kernel run on
the same codes is never more than one step away, and differs only where float32 rounding meets a tie.

To add an op, write a function of its node and its input arrays and mark it with `@computes("OpName")`.
"""

from __future__ import annotations

from eightfold.graph.reference import (  # each import fills the registry
    convolution,
    elementwise,
    layout,
    pooling,
    products,
    quantization,
    quantized,
    reduction,
    slicing,
)
from eightfold.graph.reference.evaluation import evaluate
from eightfold.graph.reference.registry import KERNELS, Kernel, computes

__all__ = [
    "KERNELS",
    "Kernel",
    "computes",
    "convolution",
    "elementwise",
    "evaluate",
    "layout",
    "pooling",
    "products",
    "quantization",
    "quantized",
    "reduction",
    "slicing",
]
