"""Learned rounding of whole models: which layers, under which limits, and what it is good for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.graph.writer import Writer
from eightfold.metrics import sqnr_db
from eightfold.quantization.learned_rounding import learn_rounding
from eightfold.quantization.lower import lower_plan
from eightfold.quantization.plan import Plan, make_plan
from eightfold.quantization.recipe import Override, Recipe
from eightfold.rewrites.correction import Correction, Corrections
from eightfold.rewrites.weights import quantize_weight
from lowering import NEW, lowered, outputs_of, tensors_of, with_values

LEARNED = Recipe(rounding="learned", min_tensorflow="2.17", weight_bits=8)
X = Ref("x")


def pictures(count: int, seed: int) -> Array:
    """Smooth images of 6 channels that have much in common, as the layers of a net see them."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(count, 4, 4, 6)) + 2 * random.normal(size=(count, 4, 4, 1)) + 1
    return coarse.repeat(3, axis=1).repeat(3, axis=2).astype(np.float32) + random.normal(
        size=(count, 12, 12, 6), scale=0.3
    ).astype(np.float32)


def net() -> Model:
    """A convolution, a depthwise one, and two matrix products, one of them with its weight transposed."""
    w = Writer()
    x = w.input("x", (None, 12, 12, 6))
    y = w.node("Relu", w.bias(w.conv(x, w.normal(3, 3, 6, 8)), w.normal(8)))
    y = w.node("Relu", w.bias(w.conv(y, w.normal(3, 3, 8, 1), depthwise=True, strides=2), w.normal(8)))
    y = w.node("Reshape", y, w.const([-1, 288]))
    y = w.node("Relu", w.bias(w.matmul(y, w.normal(32, 288), transpose_b=True), w.normal(32)))
    return w.model(y=w.bias(w.matmul(y, w.normal(32, 8)), w.normal(8)))


def batches() -> Iterator[Mapping[Ref, Array]]:
    return ({X: pictures(100, seed)} for seed in range(4))


def planned(model: Model, recipe: Recipe) -> Plan:
    return make_plan(model, tensors_of(model, {X: pictures(2, 0)}), recipe)


def learned(
    model: Model,
    recipe: Recipe = LEARNED,
    tell: Callable[..., None] = lambda *_: None,
    before: Corrections | None = None,
) -> Corrections:
    return learn_rounding(model, planned(model, recipe), {}, batches, before or {}, tell)


def layers(model: Model, recipe: Recipe = LEARNED) -> dict[str, str]:
    """The name of the product by the name of its step."""
    ops = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
    return {
        step.name: node.name
        for step in planned(model, recipe).steps
        for node in step.match.named.values()
        if node.op in ops
    }


def weight_of(model: Model, name: str) -> tuple[str, Array, tuple[int, ...]]:
    """The constant's name, the weight as the kernel takes it, and the axes of its output channels."""
    node = model.graph[name]
    value = model.graph[node.inputs[1]].value
    if node.op == "MatMul":
        return node.inputs[1].node, value.T if node.attrs["transpose_b"] else value, (1,)
    return node.inputs[1].node, value, (3,) if node.op == "Conv2D" else (2, 3)


def with_codes(model: Model, name: str, codes: Array | None, bits: int) -> Model:
    """The float model with one weight made of the numbers that codes stand for; rounded to nearest without codes."""
    constant, weight, axes = weight_of(model, name)
    nearest = quantize_weight(weight, axes, bits=bits)
    real = (nearest if codes is None else replace(nearest, codes=codes)).real.astype(np.float32)
    return with_values(model, **{constant: real.T if model.graph[name].attrs.get("transpose_b") else real})


def error(model: Model, name: str, codes: Array | None, bits: int) -> Array:
    """What the rounding of one weight changes in the result of its layer, on data not learned from: [rows, C]."""
    feeds, candidate = {X: pictures(64, 99)}, with_codes(model, name, codes, bits)
    real, rounded = (evaluate(m.graph, [Ref(name)], feeds)[0].astype(np.float64) for m in (model, candidate))
    return (rounded - real).reshape(-1, real.shape[-1])


def test_every_weight_is_rounded_within_its_limits() -> None:
    model = net()
    told: list[tuple[str, int, int | None]] = []
    corrections = learned(model, tell=lambda *args: told.append(args))
    assert corrections.keys() == layers(model).keys()
    assert len(corrections) == 4
    for step, name in layers(model).items():
        _, weight, axes = weight_of(model, name)
        codes = corrections[step].codes
        nearest = quantize_weight(weight, axes).codes
        assert codes is not None
        assert (codes.dtype, codes.shape) == (np.int8, weight.shape)
        assert codes.min() >= -127
        assert 0.03 < (codes != nearest).mean() < 0.5
        assert np.abs(codes.astype(int) - nearest).max() <= 4
    assert told == [("round", count, 4) for count in range(5)]


@pytest.mark.parametrize("bits", [8, 7])
def test_the_results_of_layers_are_closer_on_data_not_seen(bits: int) -> None:
    """What is won, in dB of the squared error, or of its variance where bias correction takes the mean away."""
    model = net()
    for corrected, size in ((False, lambda e: np.mean(e**2)), (True, lambda e: e.var(axis=0).mean())):
        recipe = replace(LEARNED, weight_bits=bits, bias_correction=corrected)
        corrections = learned(model, recipe)
        won = {}
        for step, name in layers(model).items():
            codes = corrections[step].codes
            assert codes is not None
            assert np.abs(codes.astype(int)).max() == 2 ** (bits - 1) - 1
            before, after = (size(error(model, name, c, bits)) for c in (None, codes))
            won[name] = 10 * np.log10(before / after)
        assert min(won.values()) > 1
        assert min(won["conv"], won["matmul"]) > 4


def test_the_8_bit_model_is_closer() -> None:
    """The NumPy reference of the 8-bit model on data not learned from."""
    case = lowered(net(), LEARNED, {X: pictures(32, 99)})
    better = lower_plan(case.model, case.plan, case.ranges, corrections=learned(case.model))
    actual = evaluate(better.graph, outputs_of(better), case.feeds)
    assert sqnr_db(case.expected[0], actual[0]) > case.sqnr_db + 1


def test_only_what_the_recipe_names_is_learned() -> None:
    model = net()
    assert learned(model, NEW) == {}
    by_op = Recipe(min_tensorflow="2.17", overrides=(Override(op="MatMul", rounding="learned"),))
    found = learned(model, by_op)
    assert [name for step, name in layers(model).items() if step in found] == ["matmul", "matmul_1"]


def test_it_adds_to_what_was_learned_before() -> None:
    model = net()
    first = next(iter(layers(model)))
    before = {first: Correction(bias=np.ones(8)), "elsewhere": Correction(bias=np.ones(1))}
    after = learned(model, before=before)
    assert np.array_equal(after[first].bias, np.ones(8))
    assert after[first].codes is not None
    assert after["elsewhere"] is before["elsewhere"]


def test_it_is_deterministic() -> None:
    first, second = (learned(net()) for _ in range(2))
    assert all(np.array_equal(first[step].codes, second[step].codes) for step in first)


def test_memory_is_bounded_by_more_runs_over_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    together = learned(net())
    monkeypatch.setattr("eightfold.quantization.learned_rounding._MEMORY", 1)
    alone = learned(net())
    assert all(np.array_equal(together[step].codes, alone[step].codes) for step in together)


def test_layers_too_large_for_the_memory_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first matrix product has 288 inputs."""
    monkeypatch.setattr("eightfold.quantization.learned_rounding._LARGEST", 12 * 288**2)
    model = net()
    found = learned(model)
    assert [name for step, name in layers(model).items() if step in found] == ["conv", "conv_1", "matmul_1"]
