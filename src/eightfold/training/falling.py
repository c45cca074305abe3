"""A schedule of rates that can be taken down while a model trains."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

__all__ = ["Falling"]


class Falling(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Another schedule times a factor, a variable that compiled functions read at each step.

    Args:
        schedule: what the rate is while the factor is 1.
    """

    def __init__(self, schedule: Any) -> None:
        super().__init__()
        self.schedule = schedule
        self.factor = tf.Variable(1.0, trainable=False, name="rate_factor")

    def __call__(self, step: Any) -> Any:
        return self.schedule(step) * self.factor

    def fall(self, factor: float) -> None:
        """From now on the rate is so many times what it was."""
        self.factor.assign(self.factor * factor)

    def get_config(self) -> dict[str, Any]:
        """What Keras saves with an optimizer; the factor is not part of it."""
        return {"schedule": keras.optimizers.schedules.serialize(self.schedule)}
