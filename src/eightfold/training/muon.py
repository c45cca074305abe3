"""Muon, for kernels of convolutions too: steps whose directions all have the same length.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024, https://kellerjordan.github.io/posts/muon
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras

__all__ = ["Muon", "short_path"]

ops = keras.ops

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic by which Jordan et al. bring all singular values close to 1: steep at 0, within 0.7 .. 1.2 above."""
ITERATIONS = 5
LIKE_ADAM = 0.2
"""The root mean square of an update at a rate of 1, about that of Adam's (Liu et al., "Muon is Scalable for LLM
Training", 2025, arXiv:2502.16982, section 2.2), so that one rate serves both halves."""


@keras.saving.register_keras_serializable("eightfold")
class Muon(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Momentum, orthogonalized, for kernels; Adam for all other variables.

        velocity = momentum * velocity + g
        w        = w - rate * 0.2 * sqrt(max(rows, columns)) * orthogonal(g + momentum * velocity)

    `orthogonal` replaces the singular values of a matrix by ones, about. A kernel of rank 3 to 5 is seen as a matrix
    of (pixels * input channels, output channels), as Jordan et al. do. `keras.optimizers.Muon` leaves all kernels of
    rank other than 2 to Adam, and so all of a convolutional net but for its last layer.

    Adam trains biases, scales and shifts, kernels of one column (depthwise ones) and what `exclude` names: embeddings
    and the last layer should be there.
    """

    def __init__(
        self,
        learning_rate: Any = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        exclude: Iterable[str] = (),
        name: str = "muon",
        **kwargs: Any,
    ) -> None:
        """An optimizer for `compile`.

        Args:
            learning_rate: a number or a schedule of Keras.
            momentum: share of the velocity that stays, in [0, 1).
            nesterov: the step is taken from where the velocity leads.
            beta_1: of Adam, for the mean of the gradients.
            beta_2: of Adam, for the mean of their squares.
            epsilon: of Adam.
            exclude: kernels that Adam trains, each as `layer/variable`, the end of `variable.path`: what comes before
                that is not the same once a model was saved and loaded.
            name: of the optimizer.
            kwargs: as every optimizer of Keras takes them: decoupled `weight_decay`, clipping, moving average of the
                weights, `gradient_accumulation_steps` ...

        Raises:
            ValueError: as Keras's optimizers do: a number out of its range.
        """
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        for key, value in (("momentum", momentum), ("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= value < 1:
                raise ValueError(f"{key} must be at least 0 and below 1, received {value!r}")
        self.momentum = momentum
        self.nesterov = nesterov
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.exclude = sorted(exclude)

    def build(self, variables: list[Any]) -> None:
        """Makes one velocity for each variable, and the mean of squares for those of Adam."""
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")
        self.squares: list[Any] = [
            None if self.orthogonalizes(one) else self.add_variable_from_reference(one, name="squares")
            for one in variables
        ]

    def orthogonalizes(self, variable: Any) -> bool:
        """Whether the steps of a Keras variable are orthogonalized; else Adam trains it."""
        if not 2 <= len(variable.shape) <= 5 or short_path(variable) in self.exclude:
            return False
        *rows, columns = (int(size) for size in variable.shape)
        return min(math.prod(rows), columns) > 1

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        at = self._get_variable_index(variable)
        gradient = ops.cast(ops.convert_to_tensor(gradient), variable.dtype)
        step = self._orthogonal_step if self.squares[at] is None else self._adam_step
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * step(gradient, at))

    def _orthogonal_step(self, gradient: Any, at: int) -> Any:
        velocity = self.velocities[at]
        self.assign(velocity, self.momentum * velocity + gradient)
        towards = gradient + self.momentum * velocity if self.nesterov else ops.convert_to_tensor(velocity)
        matrix = ops.reshape(towards, (-1, towards.shape[-1]))
        scale = LIKE_ADAM * math.sqrt(max(matrix.shape))
        return ops.reshape(scale * _orthogonal(matrix), towards.shape)

    def _adam_step(self, gradient: Any, at: int) -> Any:
        """Kingma and Ba, "Adam", 2015, arXiv:1412.6980, with both means unbiased."""
        mean, squares = self.velocities[at], self.squares[at]
        made = ops.cast(self.iterations + 1, gradient.dtype)
        self.assign(mean, self.beta_1 * mean + (1 - self.beta_1) * gradient)
        self.assign(squares, self.beta_2 * squares + (1 - self.beta_2) * ops.square(gradient))
        unbiased = ops.sqrt(squares / (1 - ops.power(self.beta_2, made)))
        return mean / (1 - ops.power(self.beta_1, made)) / (unbiased + self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same optimizer of."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "exclude": list(self.exclude),
        }


def short_path(variable: Any) -> str:
    """`layer/variable`: the end of the path of a Keras variable."""
    return "/".join(variable.path.split("/")[-2:])


def _orthogonal(matrix: Any) -> Any:
    """The orthogonal matrix closest to one, about: five steps of Newton and Schulz's iteration."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix  # the smaller side first: its square is what is multiplied
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.transpose(x) if tall else x
