"""Tiny models through the public API: export, plan, calibrate, lower; and what came out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

import eightfold as ef
from eightfold.graph.ir import Array
from eightfold.graph.model import Model
from eightfold.metrics import sqnr_db
from eightfold.quantization.calibrate import feeds_of
from eightfold.quantization.result import Quantized
from eightfold.tf.read import read_model
from eightfold.tf.session import Runner

NEW = ef.Recipe(min_tensorflow="2.17")
CONV, DEPTHWISE, MATMUL = "_FusedQuantizedConv2D", "_FusedQuantizedDepthwiseConv2D", "_QuantizedMatMul"
DENSE = "QuantizedMatMulWithBiasAndDequantize"


def normal(*shape: int, scale: float = 1.0, seed: int = 5) -> Any:
    """A constant drawn from a normal distribution."""
    return tf.constant(np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32))


def images(*shape: int, seed: int = 3, lo: float = -1.0) -> Array:
    return np.random.default_rng(seed).uniform(lo, 1, shape).astype(np.float32)


def function(*shape: int | None) -> Callable[[Callable[..., Any]], Any]:
    """A `tf.function` of one float input `x`."""
    return tf.function(input_signature=[tf.TensorSpec(shape, name="x")], autograph=False)


def conv(x: Any, weight: Any, strides: int = 1, padding: str = "SAME", **options: Any) -> Any:
    return tf.nn.conv2d(x, weight, strides, padding, **options)


def depthwise(x: Any, weight: Any, strides: int = 1, padding: str = "SAME", **options: Any) -> Any:
    return tf.nn.depthwise_conv2d(x, weight, [1, strides, strides, 1], padding, **options)


@dataclass(frozen=True)
class BatchNorm:
    """Constants of a batch norm over some channels, applied in any of the forms that exports have."""

    gamma: Any
    beta: Any
    mean: Any
    variance: Any

    @classmethod
    def of(cls, channels: int) -> BatchNorm:
        gamma, beta, mean, variance = (normal(channels, scale=0.5, seed=seed) for seed in range(4))
        return cls(tf.abs(gamma) + 0.5, beta, mean, tf.abs(variance) + 0.5)

    def __call__(self, x: Any, **options: Any) -> Any:
        """FusedBatchNormV3."""
        statistics = (self.gamma, self.beta, self.mean, self.variance)
        return tf.compat.v1.nn.fused_batch_norm(x, *statistics, is_training=False, **options)[0]

    def decomposed(self, x: Any) -> Any:
        """Mul and AddV2, as `tf.nn.batch_normalization` and Keras 3 write it."""
        return tf.nn.batch_normalization(x, self.mean, self.variance, self.beta, self.gamma, 1e-3)


@dataclass
class Case:
    """A model and what became of it."""

    original: Model
    exported: Model
    plan: ef.Plan
    fast: Quantized
    inputs: Mapping[str, Array] = field(repr=False)

    def outputs(self, model: Model) -> dict[str, Array]:
        specs = model.default.outputs
        with Runner.of(model) as run:
            values = run([spec.ref for spec in specs.values()], feeds_of(model, self.inputs))
        return dict(zip(specs, values, strict=True))

    @cached_property
    def expected(self) -> dict[str, Array]:
        return self.outputs(self.original)

    @cached_property
    def actual(self) -> dict[str, Array]:
        return self.outputs(self.fast.model)

    @property
    def sqnr(self) -> float:
        """dB, of the worst float output; outputs of other dtypes must be equal."""
        assert list(self.expected) == list(self.actual)
        ratios = [1e3]
        for key, value in self.expected.items():
            assert value.dtype == self.actual[key].dtype
            if value.dtype.kind == "f":
                ratios.append(sqnr_db(value, self.actual[key]))
            else:
                np.testing.assert_array_equal(value, self.actual[key])
        return min(ratios)

    @property
    def unchanged(self) -> bool:
        """Whether the outputs are those of the float model, up to the order of float32 sums."""
        return list(self.expected) == list(self.actual) and all(
            np.allclose(value, self.actual[key], rtol=1e-4, atol=1e-4)
            if value.dtype.kind == "f"
            else np.array_equal(value, self.actual[key])
            for key, value in self.expected.items()
        )

    @property
    def ops(self) -> Counter[str]:
        """How many nodes of each op the 8-bit graph has."""
        return Counter(node.op for node in self.fast.model.graph)

    @property
    def rewrites(self) -> list[str]:
        """The rewrites of the steps, in topological order."""
        return [step.rewrite.name for step in self.plan.steps]

    @property
    def refused(self) -> dict[str, str]:
        """The reason of a refusal by op."""
        return {refusal.op: refusal.reason for refusal in self.plan.refusals}

    @property
    def conversions(self) -> tuple[int, int]:
        """How many QuantizeV2 and Dequantize there are."""
        return self.ops["QuantizeV2"], self.ops["Dequantize"]


def through(model: Any, data: Any, recipe: ef.Recipe | None = None, **options: Any) -> Case:
    """A model through the four steps; run on the same data that it is calibrated with."""
    original = read_model(model, **options)
    exported = ef.export(model, **options)
    plan = ef.plan(exported, recipe)
    ranges = ef.calibrate(exported, plan, data)
    inputs = data if isinstance(data, Mapping) else {next(iter(exported.default.inputs)): data}
    return Case(original, exported, plan, ef.lower(exported, plan, ranges), inputs)
