"""Nets with disasters planted in them, and what to feed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.graph.writer import Writer

__all__ = ["ONLY_INT8", "UNEQUAL", "WITH_OUTLIERS", "Closeness", "images", "plain", "planted", "shared"]

import eightfold as ef

ONLY_INT8 = ef.Recipe(fallback=False, bias_correction=False, observer="minmax")
"""The least work that a search can start from."""

UNEQUAL, WITH_OUTLIERS = "unequal/relu", "outliers/relu"
"""The steps that a search has to find."""


def plain() -> Model:
    """Four convolutions, nothing wrong with any of them."""
    w = Writer()
    x = w.input("image", (None, 8, 8, 8))
    for name in ("one", "two", "three", "four"):
        x = _conv(w, x, name)
    return w.model(y=x)


def planted() -> Model:
    """Six convolutions, two of which read what no single scale can hold.

    An op without an 8-bit form lies before each of the two, so that nobody else reads the same tensor in 8 bits.
    The one reads channels whose ranges differ 1000 to 1 and makes all of them count alike; the other reads a few
    values that are 1000 times as large as the rest, and hardly looks at them.
    """
    w = Writer()
    x = w.input("image", (None, 8, 8, 8))
    x = _conv(w, x, "one")
    spread = np.where(np.arange(8) == 3, 1000.0, 1.0).astype(np.float32)
    x = _conv(w, _hidden(w, x, spread, "wide"), "unequal", 1 / spread)
    x = _conv(w, x, "two")
    rare = np.where(np.arange(8) == 5, 1000.0, 1.0).astype(np.float32)
    deaf = np.where(np.arange(8) == 5, 1e-5, 1.0).astype(np.float32)
    x = _conv(w, _hidden(w, x, rare, "rare"), "outliers", deaf)
    x = _conv(w, _conv(w, x, "three"), "four")
    return w.model(y=x)


def images(count: int, seed: int = 0) -> Array:
    """Uniform numbers from -1 to 1, float32 [count, 8, 8, 8]."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, 8, 8, 8)).astype(np.float32)


_EXAMPLES = images(16, seed=7)


def shared() -> Model:
    """Five convolutions; the channels between the third and the fourth differ 1000 to 1, and all count alike."""
    w = Writer()
    x = _conv(w, _conv(w, w.input("image", (None, 8, 8, 8)), "one"), "two")
    spread = np.where(np.arange(8) == 3, 1000.0, 1.0)
    y = w.conv(x, (w.normal(3, 3, 8, 8, scale=0.17) * spread).astype(np.float32))
    x = w.node("Relu", w.bias(y, w.normal(8, scale=0.1)), name="writer/relu")
    x = _conv(w, x, "reader", 1 / spread)
    return w.model(y=_conv(w, x, "last"))


class Closeness:
    """Judges a model by how close its output `y` is to that of another: 1 is equal.

    Args:
        model: what is expected.
        stop_at: the call at which Ctrl-C is pressed.

    Attributes:
        calls: how often it was asked.
    """

    def __init__(self, model: Model, stop_at: int | None = None) -> None:
        from eightfold.tf.session import Runner

        with Runner.of(model) as run:
            (self._expected,) = run([spec.ref for spec in model.default.outputs.values()], {Ref("image"): _EXAMPLES})
        self._stop_at = stop_at
        self.calls = 0

    def __call__(self, run: Callable[[Mapping[str, Array]], Mapping[str, Array]]) -> float:
        self.calls += 1
        if self.calls == self._stop_at:
            raise KeyboardInterrupt
        y = run({"image": _EXAMPLES})["y"]
        return 1 - float(np.linalg.norm(y - self._expected) / np.linalg.norm(self._expected))


def _conv(w: Writer, x: Ref, name: str, by: Array | float = 1.0) -> Ref:
    """A 3x3 convolution of 8 channels with a Relu; its input channels are weighted."""
    kernel = (w.normal(3, 3, 8, 8, scale=0.17) * np.reshape(by, (1, 1, -1, 1))).astype(np.float32)
    return w.node("Relu", w.bias(w.conv(x, kernel), w.normal(8, scale=0.1)), name=f"{name}/relu")


def _hidden(w: Writer, x: Ref, factors: Array, name: str) -> Ref:
    """Channels times factors, between ops that have no 8-bit form and that nothing is folded through."""
    x = w.node("Softplus", x, name=f"{name}/softplus")
    x = w.node("Mul", x, w.const(factors), name=f"{name}/mul")
    return w.node("Softplus", x, name=f"{name}/again")
