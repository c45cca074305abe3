"""What is computed for one batch: a step of training, and a step of evaluation. Both are compiled once.

The loss is the cross-entropy of the scores, taken before a final softmax, plus what layers add by themselves (weight
decay of the user's own, for example). A step is compiled for each size that pictures come in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from eightfold.errors import ModelError
from eightfold.tf.reasons import reason
from eightfold.training.collective import Alone, Collective
from eightfold.training.resizing import any_size

__all__ = ["Figures", "Steps"]


class Figures(NamedTuple):
    """Of one batch, as tensors: over all workers.

    Attributes:
        loss: the mean over the examples, float32.
        correct: how many examples have their class first, float32.
        examples: how many there were, float32.
    """

    loss: Any
    correct: Any
    examples: Any


Step: TypeAlias = Callable[[Any, Any], Figures]


class Steps:
    """The compiled steps of one model.

    Args:
        model: scores or probabilities, (batch, classes).
        optimizer: of Keras; it is built here.
        label_smoothing: the share of each label that is spread over all classes (Szegedy et al., "Rethinking the
            Inception Architecture for Computer Vision", 2016).
        class_weights: what an example of each class counts; one by default.
        collective: who trains together.
        inputs: what the model is called with, as specs with the batch left open; by default one float32 tensor of
            pictures.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        *,
        label_smoothing: float = 0.0,
        class_weights: Mapping[int, float] | None = None,
        collective: Collective | None = None,
        inputs: Any = None,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self._collective = collective or Alone()
        self._smoothing = label_smoothing
        self._classes = int(model.outputs[0].shape[-1])
        self._weights = None
        if class_weights is not None:
            # Classes without pictures have no weight, and need none.
            by_class = [class_weights.get(label, 1.0) for label in range(self._classes)]
            self._weights = tf.constant(by_class, tf.float32)
        optimizer.build(model.trainable_variables)
        self._inputs = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32) if inputs is None else inputs
        self._trained, self._evaluated = (_Sized(model, one, self._inputs) for one in (self._train, self._evaluate))

    def train(self, pixels: Any, labels: Any) -> Figures:
        """Changes the weights once, and gives what the model made of the batch before.

        Args:
            pixels: float32 [batch, height, width, channels], where the size may be another one than that of the
                model; or what `inputs` says.
            labels: int32 [batch].

        Raises:
            ModelError: the model cannot take pictures of that size.
        """
        return self._trained(pixels, labels)

    def evaluate(self, pixels: Any, labels: Any) -> Figures:
        """What the model makes of a batch; it stays as it is. See `train`."""
        return self._evaluated(pixels, labels)

    def _train(self, pixels: Any, labels: Any) -> Figures:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = _logits(self.model(pixels, training=True))
            weights = tf.ones_like(labels, tf.float32) if self._weights is None else tf.gather(self._weights, labels)
            total = tf.reduce_sum(weights)
            loss = tf.reduce_sum(weights * self._cross_entropy(logits, labels)) / total
            whole = tf.add_n([loss, *self.model.losses])
        gradients = tape.gradient(whole, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients, figures = self._over_workers(gradients, _figures(loss, logits, labels), total)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return figures

    def _over_workers(self, gradients: list[Any], figures: Figures, share: Any) -> tuple[list[Any], Figures]:
        """The mean gradients and the figures of all workers, in one exchange: a step is made whole or not at all.

        A worker counts by its `share`, what its examples weigh.
        """
        if self._collective.count == 1:
            return gradients, figures
        of_all = (*gradients, figures.loss)
        *parts, loss = (tf.convert_to_tensor(one) * share for one in of_all)
        mine = tf.stack([loss, share, figures.correct, figures.examples])
        *summed, theirs = self._collective.sums([*parts, mine])
        loss, whole, correct, examples = tf.unstack(theirs, num=4)
        return [one / whole for one in summed], Figures(loss / whole, correct, examples)

    def _evaluate(self, pixels: Any, labels: Any) -> Figures:
        logits = _logits(self.model(pixels, training=False))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return _figures(tf.reduce_mean(losses), logits, labels)

    def _cross_entropy(self, logits: Any, labels: Any) -> Any:
        if not self._smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        wanted = tf.one_hot(labels, self._classes) * (1 - self._smoothing) + self._smoothing / self._classes
        return tf.nn.softmax_cross_entropy_with_logits(wanted, logits)


class _Sized:
    """A step, compiled once for each size that pictures come in."""

    def __init__(self, model: Any, step: Step, inputs: Any) -> None:
        self._model, self._step, self._inputs = model, step, inputs
        self._usual: Step = self._compiled(inputs)
        self._at_size: dict[tuple[int, ...], Step] = {}

    def __call__(self, pixels: Any, labels: Any) -> Figures:
        if not isinstance(self._inputs, tf.TensorSpec) or self._inputs.shape.is_compatible_with(pixels.shape):
            return self._usual(pixels, labels)
        shape = tuple(pixels.shape[1:])
        if shape not in self._at_size:
            self._at_size[shape] = self._resized(shape)
        return self._at_size[shape](pixels, labels)

    def _resized(self, shape: tuple[int, ...]) -> Any:
        compiled = self._compiled(tf.TensorSpec((None, *shape), tf.float32))
        try:
            with any_size(self._model):
                compiled.get_concrete_function()
        except ValueError as error:
            raise ModelError(
                f"{self._model.name!r} cannot be trained on pictures of {shape[0]} x {shape[1]}: {reason(error)}; "
                "expected a network that takes any size: train without progressive resizing"
            ) from error
        return compiled

    def _compiled(self, inputs: Any) -> Any:
        batch = (inputs, tf.TensorSpec((None,), tf.int32))
        # Autograph would leave a file behind in the folder for temporary files where the process is killed.
        return tf.function(self._step, input_signature=batch, autograph=False)


def _figures(loss: Any, logits: Any, labels: Any) -> Figures:
    right = tf.equal(tf.argmax(logits, -1, tf.int32), labels)
    return Figures(loss, tf.reduce_sum(tf.cast(right, tf.float32)), tf.cast(tf.size(labels), tf.float32))


def _logits(scores: Any) -> Any:
    """The scores before a final softmax, whose logarithm would lose digits."""
    return tf.cast(scores.op.inputs[0] if scores.op.type == "Softmax" else scores, tf.float32)
