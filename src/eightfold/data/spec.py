"""What a model asks of its inputs."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from eightfold.errors import DataError
from eightfold.graph.model import TensorSpec

__all__ = ["InputSpec", "described", "fixed_batch"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input of a model.

    Attributes:
        name: by which data is bound to it.
        dtype: TensorFlow's name of the element type, such as `float32` or `string`.
        shape: with the batch axis first; `None` is a size that is free. `None` for the whole shape is an
            unknown rank. An input of rank 0 has no batch axis: its one value goes with every batch.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    @classmethod
    def of(cls, name: str, tensor: TensorSpec) -> InputSpec:
        """The input of a signature that `tensor` stands for."""
        return cls(name, str(tensor.dtype), tuple(tensor.shape) if tensor.shape.known_rank else None)

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def batch(self) -> int | None:
        """How many examples the model takes at a time, where that is fixed."""
        return self.shape[0] if self.shape else None

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype; strings are objects.

        Raises:
            DataError: NumPy has no such element type.
        """
        if self.dtype == "string":
            return np.dtype(object)
        if self.dtype.startswith(("bfloat", "float8", "int4", "uint4")):
            importlib.import_module("ml_dtypes")  # comes with TensorFlow; gives NumPy these types
        try:
            return np.dtype(self.dtype)
        except TypeError:
            raise DataError(f"input '{self.name}' has the dtype {self.dtype}, which NumPy data cannot have") from None

    def __str__(self) -> str:
        return f"'{self.name}' {described(self.dtype, self.shape)}"


def described(dtype: object, shape: Iterable[int | None] | None) -> str:
    """A dtype and a shape for people: `float32[?, 224, 224, 3]`."""
    if shape is None:
        return f"{dtype}[...]"
    return f"{dtype}[{', '.join('?' if d is None else str(d) for d in shape)}]"


def fixed_batch(specs: Iterable[InputSpec]) -> int | None:
    """The batch size that the model is built for, or None when it takes any.

    Raises:
        DataError: two inputs are built for different batch sizes.
    """
    fixed = {spec.name: spec.batch for spec in specs if spec.batch is not None}
    if len(set(fixed.values())) > 1:
        sizes = ", ".join(f"'{name}': {size}" for name, size in fixed.items())
        raise DataError(f"the inputs do not share one batch size, so data cannot be cut into batches: {sizes}")
    return next(iter(fixed.values()), None)
