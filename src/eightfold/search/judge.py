"""What decides about a candidate: the user's function, or a metric on the user's data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from eightfold.errors import DataError
from eightfold.graph.ir import Array
from eightfold.graph.model import Model
from eightfold.tf.session import Runner

__all__ = ["Evaluate", "Judge", "Runnable"]


class Runnable:
    """A model as a function of arrays by input name, which gives arrays by output name.

    Attributes:
        signature: what it takes and gives.
    """

    def __init__(self, model: Model, runner: Runner) -> None:
        self.signature = model.default
        self._runner = runner

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        specs, outputs = self.signature.inputs, self.signature.outputs
        if any(name not in inputs for name in specs):
            raise DataError(
                f"the model has other inputs: expected {', '.join(specs)}, received {', '.join(inputs) or 'none'}"
            )
        fetches = [spec.ref for spec in outputs.values()]
        values = self._runner(fetches, {spec.ref: inputs[name] for name, spec in specs.items()})
        return dict(zip(outputs, values, strict=True))


Evaluate: TypeAlias = Callable[[Runnable], float]
"""Says how good a model is: a number, higher is better."""


@dataclass(frozen=True)
class Judge:
    """A function that judges models, with what a log must know of it.

    Attributes:
        evaluate: see `Evaluate`.
        name: what it measures, for people.
        data: identifies what it measures that on, so that a log of other data is not taken for this.
        of_reference: whether it compares with the first model that it sees, which must then be the float one.
    """

    evaluate: Evaluate
    name: str
    data: str = ""
    of_reference: bool = False

    @classmethod
    def of(cls, evaluate: Evaluate) -> Judge:
        """The judge that a function is."""
        if isinstance(evaluate, Judge):
            return evaluate
        name = getattr(evaluate, "__qualname__", type(evaluate).__qualname__)
        module = getattr(evaluate, "__module__", "")
        return cls(evaluate, name.rpartition(".")[2], f"{module}.{name}")

    def __call__(self, run: Runnable) -> float:
        return self.evaluate(run)

    def value(self, model: Model) -> float:
        """How good a model is; minus infinity for what is not finite.

        Raises:
            DataError: the function gave no number.
        """
        with Runner.of(model) as runner:
            value = self.evaluate(Runnable(model, runner))
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            kind = type(value).__name__
            raise DataError(f"{self.name} must give a number, higher is better, and gave {kind}") from error
        return number if math.isfinite(number) else -math.inf
