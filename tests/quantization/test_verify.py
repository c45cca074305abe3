"""A model that would be wrong or slower is never handed over silently."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from small_functions import convolution, images, weights

import eightfold as ef
from eightfold.quantization.calibrate import open_data
from eightfold.quantization.report import Speed
from eightfold.quantization.verify import Verifier, compare_outputs, time_in_turns

OUTLIER = 1e5


def with_outlier() -> Any:
    """Two convolutions; the first has one channel with huge values, which the second hardly looks at.

    In 8 bits, one scale for all channels leaves nothing of the others.
    """
    first, second = weights(3, 3, 3, 8), weights(3, 3, 8, 8, seed=1)
    first[..., 0] *= OUTLIER
    second[:, :, 0] *= 1e-9

    def function(x: Any) -> dict[str, Any]:
        h = tf.nn.relu(tf.nn.conv2d(x, first, 1, "SAME"))
        return {"y": tf.nn.relu(tf.nn.conv2d(h, second, 1, "SAME"))}

    return tf.function(function, input_signature=[tf.TensorSpec((None, 8, 8, 3), name="x")])


def times(monkeypatch: pytest.MonkeyPatch, speedup: float) -> None:
    """Lets every 8-bit model take the same share of the time of the float model."""

    def speed(self: Verifier, candidate: Any) -> Speed:
        int8 = any(node.op.startswith(("_Fused", "Quantized")) for node in candidate.graph)
        return Speed(self.batch_size, 1.0, 1 / speedup if int8 else 1.0)

    monkeypatch.setattr(Verifier, "speed", speed)


@pytest.mark.int8
def test_what_is_wrong_goes_back_to_float(monkeypatch: pytest.MonkeyPatch) -> None:
    times(monkeypatch, 4.0)
    function, x = with_outlier(), images(2, seed=5)
    wrong = ef.quantize(function, images(40), recipe=ef.Recipe(fallback=False))
    assert wrong.report.fidelity is not None
    assert wrong.report.fidelity.sqnr_db < 10  # int8 really is wrong here, and the user asked for it
    assert wrong.report.fallbacks == ()
    right = ef.quantize(function, images(40))
    assert right.report.fidelity is not None
    assert right.report.fidelity.sqnr_db >= 10
    assert "went back to float: the outputs were" in right.report.fallbacks[0]
    assert len(right.report.steps) < 2
    expected = function(x)["y"].numpy()
    assert np.abs(right(x=x)["y"] - expected).max() < 0.1 * expected.max()
    assert any("dB close with it, expected 10 dB" in reason for _, _, reason in right.report.refusals)


@pytest.mark.int8
def test_the_bar_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    times(monkeypatch, 4.0)
    report = ef.quantize(convolution(), images(40), recipe=ef.Recipe(min_sqnr_db=99.0)).report
    assert report.steps == ()
    assert report.fidelity is not None
    assert report.fidelity.sqnr_db > 99
    assert "expected 99 dB" in report.fallbacks[0]


@pytest.mark.int8
def test_what_is_slower_goes_back_to_float(monkeypatch: pytest.MonkeyPatch) -> None:
    times(monkeypatch, 0.5)
    result = ef.quantize(convolution(), images(40))
    assert result.report.steps == ()
    assert "went back to float: the model ran at 0.50 times the float speed" in result.report.fallbacks[0]
    assert result.report.speed[0].speedup == 1.0
    assert not any(node.op.startswith(("_Fused", "Quantize")) for node in result.model.graph)


@pytest.mark.int8
def test_what_is_faster_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    times(monkeypatch, 4.0)
    report = ef.quantize(convolution(), images(40)).report
    assert report.fallbacks == ()
    assert report.counts == {"_FusedQuantizedConv2D": 1}
    assert report.speed[0].speedup == 4.0


@pytest.mark.int8
def test_speed_is_measured_with_full_batches() -> None:
    model = ef.export(convolution())
    dataset = open_data(model, images(3), batch_size=8)
    speed = Verifier(model, dataset, False, 8).speed(model)
    assert speed.batch_size == 8
    assert speed.float_ms > 0
    assert 0.1 < speed.speedup < 10  # the same model twice


def test_outputs_are_compared_by_signal_to_noise() -> None:
    signal = np.array([[3.0, -4.0], [0.0, 0.0]])
    noise = np.array([[0.0, 0.5], [0.0, 0.0]])
    ratio, agreement, samples = compare_outputs([signal], [signal + noise])
    assert ratio == pytest.approx(10 * np.log10(25 / 0.25))
    assert agreement is None  # two columns are not class scores
    assert samples == 2


def test_the_worst_output_counts_and_classes_are_compared() -> None:
    scores = np.eye(4) * 4 - 1
    turned = scores.copy()
    turned[0, 1] = 9
    ratio, agreement, samples = compare_outputs([scores, scores, np.arange(4)], [scores, turned, np.arange(4)])
    assert ratio == pytest.approx(10 * np.log10((scores**2).sum() / 100))
    assert agreement == 0.75
    assert samples == 4


def test_a_model_without_float_outputs_is_right() -> None:
    assert compare_outputs([np.array([1, 2])], [np.array([1, 2])])[0] > 1e5


def test_times_are_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    clock = itertools.accumulate(itertools.cycle([3, 0, 1, 0]), initial=0)
    monkeypatch.setattr("eightfold.quantization.verify.time.perf_counter", lambda: next(clock))
    medians = time_in_turns([lambda: order.append("a"), lambda: order.append("b")], rounds=3)
    assert "".join(order) == "ab" + "ab" * 3
    assert medians == [3, 1]
