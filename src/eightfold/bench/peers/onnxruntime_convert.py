"""Converts a SavedModel with tf2onnx and quantizes it with ONNX Runtime: static, QDQ, u8 activations, s8 weights.

Weights have a scale for each channel; they keep to 7 bits only where the CPU's 16-bit sums would saturate. Runs in
ONNX Runtime's own environment; see `converter` for its command line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import onnxruntime
import tf2onnx.convert
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from eightfold.bench.machine import this_machine
from eightfold.bench.peers.converter import Conversion, answer
from eightfold.bench.peers.feeds import Feed, samples
from eightfold.bench.peers.onnxruntime_worker import specs_of

__all__ = ["convert"]

OPSET = 17
"""Has everything that static quantization needs, and tf2onnx supports it in full."""


def convert(asked: Conversion) -> Mapping[str, str]:
    """Writes `model.onnx`."""
    model = asked.output / "model.onnx"
    if asked.samples is None:
        _export(asked, model)
    else:
        exported, prepared = asked.output / "float.onnx", asked.output / "prepared.onnx"
        _export(asked, exported)
        _quantize(exported, prepared, model, asked.samples)
        exported.unlink()
        prepared.unlink()
    return {name: version(name) for name in ("onnxruntime", "tf2onnx", "onnx", "tensorflow-cpu")}


def _export(asked: Conversion, path: Path) -> None:
    """As `python -m tf2onnx.convert` does it: for SavedModels tf2onnx has a command line only."""
    sys.argv = ["tf2onnx", "--saved-model", asked.model, "--output", str(path), "--opset", str(OPSET)]
    sys.argv += ["--tag", "serve", "--signature_def", asked.signature]
    tf2onnx.convert.main()


def _quantize(exported: Path, prepared: Path, quantized: Path, data: str) -> None:
    # Symbolic shapes serve models with dynamic shapes inside and need sympy; ONNX infers the others by itself.
    quant_pre_process(str(exported), str(prepared), skip_symbolic_shape=True)
    session = onnxruntime.InferenceSession(str(prepared), providers=["CPUExecutionProvider"])
    quantize_static(
        str(prepared),
        str(quantized),
        _Reader(samples(data, specs_of(session))),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=not this_machine().vnni,
    )


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """The examples, in the form that ONNX Runtime asks for."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._left = iter(feeds)

    def get_next(self) -> Feed | None:
        """The next example, or None at the end."""
        return next(self._left, None)


if __name__ == "__main__":
    answer(convert)
