"""The table of ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from eightfold.graph.ir import Array

__all__ = ["KERNELS", "Kernel", "computes"]

Kernel: TypeAlias = Callable[..., "Array | tuple[Array, ...]"]
"""`kernel(node, *inputs)`: the outputs of a node, one array or a tuple of them. Quantized tensors are uint8,
int8 or int32 arrays; shapes, axes and ranges are inputs like any other."""

KERNELS: dict[str, Kernel] = {}
"""By op type."""


_Some = TypeVar("_Some", bound=Kernel)


def computes(*ops: str) -> Callable[[_Some], _Some]:
    """Marks the function that computes some ops."""

    def register(kernel: _Some) -> _Some:
        for op in ops:
            if op in KERNELS:
                raise ValueError(f"op {op!r} has a reference already: {KERNELS[op].__name__}")
            KERNELS[op] = kernel
        return kernel

    return register
