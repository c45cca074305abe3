"""What a pass may ask for besides the graph; handed in, so that passes need no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from eightfold.graph.ir import Array, DType, Graph, Ref, Shape
from eightfold.graph.model import Model

__all__ = ["Context", "Pass"]


@dataclass(frozen=True)
class Context:
    """Services of the framework that runs the graph.

    Attributes:
        evaluate: values of tensors that depend on constants only.
        infer: dtype and static shape of every tensor.
        is_stateful: whether an op has state or side effects.
    """

    evaluate: Callable[[Graph, Sequence[Ref]], list[Array]]
    infer: Callable[[Graph], Mapping[Ref, tuple[DType, Shape]]]
    is_stateful: Callable[[str], bool]


Pass: TypeAlias = Callable[[Model, Context], Model]
"""A float model in, an equal float model out; the same object when there was nothing to do."""
