"""A model that would be wrong or slower is never handed over silently.

The 8-bit outputs are compared with the float ones on samples held back from calibration, and both graphs are timed in
turns. What is wrong or slow goes back to float, piece by piece, and the report says so.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from eightfold.data import Dataset
from eightfold.graph.encoding import Encoding
from eightfold.graph.ir import Array, DType, Ref, Shape
from eightfold.graph.model import Model, Signature, TensorSpec
from eightfold.metrics import sqnr_db
from eightfold.passes.summands import protect_summands
from eightfold.quantization.calibrate import feeds_of
from eightfold.quantization.plan import Plan, Step
from eightfold.quantization.report import Fidelity, Speed
from eightfold.tf.session import Runner

__all__ = ["Verifier", "compare_outputs", "joined", "time_in_turns"]

_ROUNDS = 7
_CLASSES = 2


def compare_outputs(expected: Sequence[Array], actual: Sequence[Array]) -> tuple[float, float | None, int]:
    """SQNR in dB of the worst float output, share of equal top classes, and number of samples."""
    ratios = [10**6.0]
    agreements: list[float] = []
    for float_value, int8_value in zip(expected, actual, strict=True):
        if float_value.dtype.kind != "f" or not float_value.size:
            continue
        ratios.append(sqnr_db(_scores(float_value), _scores(int8_value)))
        if float_value.ndim == 2 and float_value.shape[1] > _CLASSES:
            agreements.append(float((float_value.argmax(-1) == int8_value.argmax(-1)).mean()))
    count = len(expected[0]) if expected and expected[0].ndim else 1
    return min(ratios), min(agreements) if agreements else None, count


def _scores(value: Array) -> Array:
    """Probabilities as the logits they came from, less their mean: small differences of the likely classes would
    otherwise count for everything and the order of all others for nothing."""
    if value.ndim != 2 or value.shape[1] <= _CLASSES or value.min() < 0:
        return value
    if not np.allclose(value.sum(axis=1), 1, atol=1e-2):
        return value
    logits: Array = np.log(np.maximum(value, 1e-7))
    centred: Array = logits - logits.mean(axis=1, keepdims=True)
    return centred


def time_in_turns(runs: Sequence[Callable[[], object]], rounds: int = _ROUNDS) -> list[float]:
    """Median seconds of each, run A B A B ... after one warm-up each."""
    for run in runs:
        run()
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


@dataclass
class Verifier:
    """Compares 8-bit candidates with the float model on held-back data.

    Attributes:
        source: the exported float model.
        data: held-back examples.
        held_back: whether they really were kept from calibration.
        batch_size: for the timing.
    """

    source: Model
    data: Dataset
    held_back: bool
    batch_size: int

    def __post_init__(self) -> None:
        self._batches = [batch.inputs for batch in self.data]
        fetches = [spec.ref for spec in self.source.default.outputs.values()]
        with Runner.of(self.source) as run:
            self._expected = [run(fetches, feeds_of(self.source, inputs)) for inputs in self._batches]

    def fidelity(self, candidate: Model) -> Fidelity:
        """How close a candidate's outputs are."""
        fetches = [spec.ref for spec in candidate.default.outputs.values()]
        with Runner.of(candidate) as run:
            actual = [run(fetches, feeds_of(candidate, inputs)) for inputs in self._batches]
        sqnr, agreement, count = compare_outputs(joined(self._expected), joined(actual))
        return Fidelity(sqnr, agreement, count, self.held_back)

    def speed(self, candidate: Model, rounds: int = _ROUNDS) -> Speed:
        """Both models on one batch, in turns."""
        inputs = _resized(self._batches[0], self.batch_size)
        with ExitStack() as stack:
            runs = []
            for model in (self.source, candidate):
                run = stack.enter_context(Runner.of(model))
                fetches = [spec.ref for spec in model.default.outputs.values()]
                runs.append(_bound(run, fetches, feeds_of(model, inputs)))
            float_time, int8_time = time_in_turns(runs, rounds)
        size = next((len(value) for value in inputs.values() if value.ndim), 1)
        return Speed(size, float_time * 1e3, int8_time * 1e3)

    def worst_step(self, plan: Plan, candidate: Model, encodings: Mapping[Ref, Encoding]) -> Step | None:
        """The step after which most of the signal is lost, tensor by tensor against the float graph."""
        steps = [step for step in plan.steps if step.gives and step.name in candidate.graph]
        if not steps:
            return None
        inputs = self._batches[0]
        with Runner.of(self.source) as run:
            expected = run([step.match.root for step in steps], feeds_of(self.source, inputs))
        probed = _with_outputs(candidate, [step.match.root for step in steps])
        with Runner.of(probed) as run:
            codes = run(
                [spec.ref for spec in probed.signatures["probe"].outputs.values()],
                feeds_of(candidate, inputs),
            )
        ratios = {
            step.match.root: sqnr_db(real, encodings[step.match.root].dequantize(_plain(code)))
            for step, real, code in zip(steps, expected, codes, strict=True)
        }

        def lost(step: Step) -> float:
            before = [ratios[ref] for ref, _ in step.reads if ref in ratios]
            return min([*before, 60.0]) - ratios[step.match.root]

        return max(steps, key=lost)


def _with_outputs(model: Model, refs: Sequence[Ref]) -> Model:
    """The model with further outputs, which no kernel may then add into."""
    specs = {str(ref): TensorSpec(ref, DType("quint8"), Shape.UNKNOWN) for ref in refs}
    probe = Signature("probe", {}, specs)
    return protect_summands(model.but(signatures={**model.signatures, "probe": probe}))


def _plain(codes: Array) -> Array:
    """Fetched quantized tensors come as structured arrays of one field."""
    return codes.view(codes.dtype[0]) if codes.dtype.fields else codes


def _bound(run: Runner, fetches: list[Ref], feeds: Mapping[Ref, Array]) -> Callable[[], object]:
    return lambda: run(fetches, feeds)


def joined(batches: Sequence[Sequence[Array]]) -> list[Array]:
    """Each output over all batches; outputs whose shapes differ beyond the batch are taken flat."""
    results = []
    for values in zip(*batches, strict=True):
        shapes = {value.shape[1:] for value in values}
        parts = list(values) if len(shapes) == 1 and values[0].ndim else [value.reshape(-1) for value in values]
        results.append(np.concatenate(parts))
    return results


def _resized(inputs: Mapping[str, Array], size: int) -> dict[str, Array]:
    """A batch repeated or cut to a size."""
    result = {}
    for name, value in inputs.items():
        result[name] = value if value.ndim == 0 else np.resize(value, (size, *value.shape[1:]))
    return result
