"""Gram matrices collected by TensorFlow against those of patches that NumPy cuts out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eightfold.calibration.gram import Gram, collect_grams, gram_bytes, gram_groups
from eightfold.errors import DataError
from eightfold.graph.ir import Array, Node, Ref, Shape
from eightfold.graph.model import Model
from eightfold.graph.reference.window import window_of
from eightfold.graph.writer import Writer
from eightfold.tf.session import Runner

X = Ref("x")
RUNNER = partial(Runner, optimize=False)


def patches(node: Node, x: Array, size: tuple[int, int]) -> Array:
    """float64 [rows, h * w, C]: what the filter meets at each position."""
    taps = [tap.reshape(-1, x.shape[3]) for _, _, tap in window_of(node, size).taps(x.astype(np.float64), 0.0)]
    return np.stack(taps, axis=1)


def collected(model: Model, *data: Array, shape: Shape | None = None, positions: int = 10**6) -> Gram:
    """The Gram matrix of a model's only product."""
    (node,) = (node for node in model.graph if node.op in ("Conv2D", "DepthwiseConv2dNative", "MatMul"))

    def batches() -> Iterator[Mapping[Ref, Array]]:
        return ({X: x} for x in data)

    known = Shape((None, *data[0].shape[1:])) if shape is None else shape
    return collect_grams(model.graph, [node], lambda _: known, batches, RUNNER, positions=positions)[node.name]


def noise(*shape: int, seed: int = 0) -> Array:
    return (np.random.default_rng(seed).normal(size=shape) + 0.5).astype(np.float32)


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, object]:
    geometry: dict[str, object] = {
        "size": (draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        "strides": draw(st.integers(1, 3)),
        "dilation": draw(st.integers(1, 2)),
        "padding": draw(st.sampled_from(["SAME", "VALID", "EXPLICIT"])),
        "image": (draw(st.integers(7, 10)), draw(st.integers(7, 10))),
        "known": draw(st.booleans()),
    }
    if geometry["padding"] == "EXPLICIT":
        geometry["explicit_paddings"] = (0, 0, *(draw(st.integers(0, 2)) for _ in range(4)), 0, 0)
    return geometry


def written(geometry: dict, *, depthwise: bool) -> tuple[Model, Node]:
    w = Writer()
    x = w.input("x", (None, None, None, 3))
    keys = ("strides", "dilation", "padding", "explicit_paddings")
    options = {key: geometry[key] for key in keys if key in geometry}
    y = w.conv(x, w.normal(*geometry["size"], 3, 2), depthwise=depthwise, **options)
    model = w.model(y=y)
    return model, model.graph[y]


@settings(max_examples=15)
@given(geometries())
def test_convolutions_of_any_geometry(geometry: dict) -> None:
    model, node = written(geometry, depthwise=False)
    data = noise(2, *geometry["image"], 3), noise(1, *geometry["image"], 3, seed=1)
    gram = collected(model, *data, shape=None if geometry["known"] else Shape((None, None, None, 3)))
    rows = np.concatenate([patches(node, x, geometry["size"]) for x in data]).reshape(-1, gram.moment.shape[0])
    assert gram.rows == len(rows)
    assert np.allclose(gram.moment, rows.T @ rows / len(rows), atol=1e-5)
    assert np.allclose(gram.covariance, np.cov(rows.T, bias=True), atol=1e-5)


@settings(max_examples=6)
@given(geometries())
def test_depthwise_convolutions_have_a_matrix_for_each_channel(geometry: dict) -> None:
    model, node = written(geometry, depthwise=True)
    x = noise(2, *geometry["image"], 3)
    gram = collected(model, x)
    rows = patches(node, x, geometry["size"])
    assert gram.rows == len(rows)
    for channel in range(3):
        own = rows[:, :, channel]
        assert np.allclose(gram.moment[channel], own.T @ own / len(own), atol=1e-5)
        assert np.allclose(gram.covariance[channel], np.cov(own.T, bias=True), atol=1e-5)


@pytest.mark.parametrize("transpose_b", [False, True])
def test_matrix_products(transpose_b: bool) -> None:
    w = Writer()
    weight = w.normal(3, 5) if transpose_b else w.normal(5, 3)
    model = w.model(y=w.matmul(w.input("x", (None, 5)), weight, transpose_b=transpose_b))
    first, second = noise(8, 5), noise(3, 5, seed=1)
    gram, rows = collected(model, first, second), np.concatenate([first, second]).astype(np.float64)
    assert gram.rows == 11
    assert np.allclose(gram.moment, rows.T @ rows / 11, atol=1e-5)
    assert np.allclose(gram.covariance, np.cov(rows.T, bias=True), atol=1e-5)


def pointwise(channels: int = 1, stride: int = 1) -> Model:
    w = Writer()
    x = w.input("x", (None, None, None, channels))
    return w.model(y=w.conv(x, w.normal(1, 1, channels, 1), strides=stride))


def test_a_large_image_is_sampled_on_a_grid() -> None:
    """48 x 40 positions, about 30 of them wanted: every 8th row and column, 6 x 5."""
    assert collected(pointwise(), noise(3, 48, 40, 1), positions=30).rows == 3 * 30


def test_images_of_sizes_known_only_at_the_run_are_sampled_as_the_first_batch_suggests() -> None:
    """Every 8th row and column of all images: 6 x 5 positions, and 3 x 3 in a smaller one."""
    unknown = Shape((None, None, None, 1))
    gram = collected(pointwise(), noise(3, 48, 40, 1), noise(1, 24, 20, 1), shape=unknown, positions=30)
    assert gram.rows == 3 * 30 + 9


@pytest.mark.parametrize("stride", [1, 2])
def test_the_grid_moves_so_that_every_position_of_the_result_has_its_turn(stride: int) -> None:
    """Each of 16 positions has a channel of its own, whose sum counts how often it is seen. What the convolution
    passes over holds NaN."""
    image = np.full((1, 4 * stride, 4 * stride, 16), np.nan, np.float32)
    image[0, ::stride, ::stride] = np.eye(16).reshape(4, 4, 16)
    gram = collected(pointwise(16, stride), *[image] * 40, positions=4)
    seen = gram.sums[:-1, -1]
    assert gram.rows == seen.sum() == 40 * 4
    assert seen.min() >= 4
    assert seen.max() <= 20


def test_the_same_data_gives_the_same_matrix() -> None:
    x = noise(2, 30, 30, 1)
    first, second = (collected(pointwise(), x, x, positions=9).sums for _ in range(2))
    assert np.array_equal(first, second)


def test_the_mean_of_inputs_far_from_zero_leaves_a_covariance_that_is_positive() -> None:
    """float32 holds 1000 ± 0.001 to 6e-5 only, and its square to 0.06."""
    w = Writer()
    model = w.model(y=w.matmul(w.input("x", (None, 5)), w.normal(5, 3)))
    gram = collected(model, (1000 + 1e-3 * noise(64, 5)).astype(np.float32))
    assert np.linalg.eigvalsh(gram.covariance).min() > 0


def test_data_that_makes_no_sense_is_refused() -> None:
    w = Writer()
    model = w.model(y=w.matmul(w.input("x", (None, 5)), w.normal(5, 3)))
    with pytest.raises(DataError, match="the calibration data is empty"):
        collect_grams(model.graph, [model.graph["matmul"]], lambda _: Shape((None, 5)), list, RUNNER)
    with pytest.raises(DataError, match="the input of 'matmul' becomes NaN or infinite"):
        collected(model, np.full((2, 5), np.inf, np.float32))


def test_groups_fit_into_the_memory_given() -> None:
    w = Writer()
    x = w.input("x", (None, 8, 8, 4))
    y = w.conv(w.conv(x, w.normal(3, 3, 4, 6)), w.normal(3, 3, 6, 1), depthwise=True)
    model = w.model(y=w.matmul(w.node("Reshape", y, w.const([-1, 6])), w.normal(2, 6), transpose_b=True))
    conv, depthwise, matmul = (model.graph[name] for name in ("conv", "conv_1", "matmul"))
    assert [gram_bytes(model.graph, node) for node in (conv, depthwise, matmul)] == [12 * 37**2, 12 * 600, 12 * 49]
    nodes = [conv, depthwise, matmul]
    assert list(gram_groups(model.graph, nodes, 12 * 650)) == [[conv], [depthwise, matmul]]
    assert list(gram_groups(model.graph, nodes, 10**6)) == [nodes]
    assert list(gram_groups(model.graph, [], 1)) == []
