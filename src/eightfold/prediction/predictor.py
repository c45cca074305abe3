"""A model in memory, ready to be called on batches by the names of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np

from eightfold.data.spec import InputSpec
from eightfold.graph.ir import Array
from eightfold.prediction.job import Call

__all__ = ["Predictor"]


class Predictor:
    """One signature of a model. Use it as a context manager.

    Args:
        call: the model and how it is called.

    Attributes:
        inputs, outputs: what it takes and gives, by name.

    Raises:
        ModelError: there is no such model or signature.
    """

    def __init__(self, call: Call) -> None:
        from eightfold.tf.prepared import Prepared

        self._model = Prepared(
            call.model,
            call.signature,
            intra=call.intra,
            inter=call.inter,
            layout=call.layout,
            bfloat16=call.precision == "bf16",
        )
        signature = self._model.signature
        self.inputs = {name: InputSpec.of(name, spec) for name, spec in signature.inputs.items()}
        self.outputs = {name: InputSpec.of(name, spec) for name, spec in signature.outputs.items()}

    @property
    def versions(self) -> dict[str, str]:
        """Of what computes the answers."""
        import tensorflow as tf

        return {"tensorflow": tf.__version__, "numpy": np.__version__}

    def __call__(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model once: inputs by name to outputs by name.

        Raises:
            DataError: TensorFlow refuses these inputs.
        """
        return dict(zip(self.outputs, self._model(*(feeds[name] for name in self.inputs)), strict=True))

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array for inputs that TensorFlow reads in place."""
        from eightfold.tf.prepared import aligned

        return aligned(np.empty(shape, dtype))

    def close(self) -> None:
        """Frees the model."""
        self._model.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
