"""LARS: gradient descent in which each layer has a rate of its own, for large batches.

You, Gitman and Ginsburg, "Large Batch Training of Convolutional Networks", 2017, arXiv:1708.03888.
"""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["LARS"]

ops = keras.ops


@keras.saving.register_keras_serializable("eightfold")
class LARS(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Layer-wise adaptive rate scaling (You et al., 2017, algorithm 1), with momentum.

        ratio    = trust * |w| / (|g| + decay * |w|)        norms over the whole variable
        velocity = momentum * velocity - rate * ratio * (g + decay * w)
        w        = w + velocity                             Nesterov: w + momentum * velocity - rate * ratio * (...)

    So a step changes each layer by the same share of its norm, however large its gradient is. Variables of rank 0 and
    1, which are biases and the scales and shifts of normalizations, are trained by plain momentum without decay: there
    the ratio of the norms says nothing, and the authors leave them out in their code too. The ratio is 1 where a
    variable or its gradient is all zeros, as in LAMB.
    """

    def __init__(
        self,
        learning_rate: Any = 1.0,
        momentum: float = 0.9,
        trust: float = 0.001,
        nesterov: bool = False,
        weight_decay: float | None = None,
        name: str = "lars",
        **kwargs: Any,
    ) -> None:
        """An optimizer for `compile`.

        Args:
            learning_rate: a number or a schedule of Keras.
            momentum: share of the velocity that stays, in [0, 1).
            trust: the paper's eta: how far a layer may go in one step, as a share of its norm, at a rate of 1.
            nesterov: the step is taken from where the velocity leads.
            weight_decay: of kernels, part of the gradient as in the paper, and not decoupled as Keras's own.
            name: of the optimizer.
            kwargs: as every optimizer of Keras takes them: clipping, moving average of the weights,
                `gradient_accumulation_steps` ...

        Raises:
            ValueError: as Keras's optimizers do: a number out of its range.
        """
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, received {momentum!r}")
        if not trust > 0:
            raise ValueError(f"trust must be above 0, received {trust!r}")
        if weight_decay is not None and not weight_decay >= 0:
            raise ValueError(f"weight_decay must be None or at least 0, received {weight_decay!r}")
        self.momentum = momentum
        self.trust = trust
        self.nesterov = nesterov
        # Not `weight_decay`, by which the base class would take its own, decoupled one away as well.
        self.decay = weight_decay or 0.0

    def build(self, variables: list[Any]) -> None:
        """Makes one velocity for each variable."""
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        gradient = ops.cast(ops.convert_to_tensor(gradient), variable.dtype)  # dense: a norm is over all rows
        step = ops.cast(learning_rate, variable.dtype) * self._adapted(gradient, variable)
        velocity = self.velocities[self._get_variable_index(variable)]
        self.assign(velocity, self.momentum * velocity - step)
        self.assign_add(variable, self.momentum * velocity - step if self.nesterov else velocity)

    def _adapted(self, gradient: Any, variable: Any) -> Any:
        """The gradient with decay, times the ratio of its layer."""
        weights = ops.convert_to_tensor(variable)
        if len(weights.shape) < 2:
            return gradient
        decay = self.decay if self._use_weight_decay(variable) else 0.0
        of_weights, of_gradient = _norm(weights), _norm(gradient)
        below = of_gradient + decay * of_weights
        known = ops.logical_and(of_weights > 0, of_gradient > 0)
        ratio = ops.where(known, self.trust * of_weights / ops.where(known, below, 1.0), 1.0)
        return ops.cast(ratio, weights.dtype) * (gradient + decay * weights)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same optimizer of."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "trust": self.trust,
            "nesterov": self.nesterov,
            "weight_decay": self.decay or None,
        }


def _norm(values: Any) -> Any:
    """In float32, whose range the sum of squares of a half-precision variable could leave."""
    return ops.sqrt(ops.sum(ops.square(ops.cast(values, "float32"))))
