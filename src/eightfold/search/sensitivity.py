"""Which steps make the error: each one alone in 8 bits, and each one alone in float.

A candidate differs from its base (the float model, or the model with all steps in 8 bits) from one step on. Its graph
is cut off there and fed with what the base has computed once for all, so that a candidate costs no more than what
comes after its step. Ranges and corrections are those of the whole plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.calibrate import open_data
from eightfold.quantization.export import Progress
from eightfold.quantization.plan import Plan
from eightfold.quantization.search_record import Sensitivity
from eightfold.quantization.steps import lower
from eightfold.quantization.verify import compare_outputs, joined
from eightfold.rewrites.correction import Corrections
from eightfold.search.cost import Costs
from eightfold.search.siblings import Siblings
from eightfold.search.units import Unit, units_of
from eightfold.tf.garbage import quick_collection

__all__ = ["SAMPLES", "rank"]

SAMPLES = 100
"""Examples used when the user does not say how many."""

_STAGE = "rank"


def rank(
    model: Model,
    plan: Plan,
    ranges: Mapping[Ref, Range],
    data: Any,
    *,
    corrections: Corrections | None = None,
    samples: int = SAMPLES,
    batch_size: int = 32,
    preprocess: str | None = None,
    costs: bool = True,
    progress: Progress | None = None,
) -> list[Sensitivity]:
    """How much error each compute step of a plan makes in the outputs, the largest first.

    Args:
        model: the exported model that the plan was made for.
        plan: what becomes 8-bit.
        ranges: from `calibrate`; nothing is calibrated anew.
        data: examples of the real input, see `calibrate`.
        corrections: from `correct`.
        samples: how many examples to use.
        batch_size: examples in a batch.
        preprocess: for folders of images: raw, tf, torch, caffe or `module:function`.
        costs: also measure how much longer a batch takes with the step in float.
        progress: told the number of models compared.

    Returns:
        One entry for each step that computes; what only carries its codes on belongs to it.

    Raises:
        DataError: the data does not fit the model, or the ranges are of another plan.
    """
    dataset = open_data(model, data, samples=samples, batch_size=batch_size, preprocess=preprocess)
    batches = [batch.inputs for batch in dataset]
    units = units_of(plan)
    with quick_collection():
        ranking = _Ranking(model, plan, ranges, corrections or {}, batches, progress or (lambda *_: None))
        only, without = ranking.each_alone(units), ranking.each_left_out(units)
        cost = ranking.costs(units) if costs else {}
    noise = _noise(ranking.all_db)
    found = []
    for unit in units:
        saved = max(noise - _noise(without[unit.name]), 0.0)
        error = (_noise(only[unit.name]) + saved) / 2
        values = (only[unit.name], without[unit.name], error, cost.get(unit.name, 0.0))
        found.append(Sensitivity(unit.name, unit.op, *values))
    return sorted(found, key=lambda entry: -entry.error)


class _Ranking:
    """The models compared, and the counting of them."""

    def __init__(
        self,
        model: Model,
        plan: Plan,
        ranges: Mapping[Ref, Range],
        corrections: Corrections,
        batches: Sequence[Mapping[str, Array]],
        tell: Progress,
    ) -> None:
        self._model, self._plan, self._batches = model, plan, batches
        self._lower: Callable[[Plan], Model] = lambda chosen: lower(model, chosen, ranges, corrections).model
        self._tell, self._done, self._total = tell, 0, 2 * len(units_of(plan))
        self._floats = Siblings(model, batches)
        self._int8 = self._lower(plan)
        self._codes = Siblings(self._int8, batches)
        self._expected = joined(self._floats.outputs)
        self.all_db = self._compared(self._codes.outputs)
        tell(_STAGE, 0, self._total)

    def each_alone(self, units: Sequence[Unit]) -> dict[str, float]:
        """SQNR in dB with one unit in 8 bits and all else in float."""
        candidates = ((unit.name, self._lower(self._plan.only(*unit.steps))) for unit in units)
        return {name: self._compared(outputs) for name, outputs in self._counted(self._floats.run(candidates))}

    def each_left_out(self, units: Sequence[Unit]) -> dict[str, float]:
        """SQNR in dB with one unit in float and all else in 8 bits."""
        candidates = ((unit.name, self._lower(self._plan.without(unit.name))) for unit in units)
        return {name: self._compared(outputs) for name, outputs in self._counted(self._codes.run(candidates))}

    def costs(self, units: Sequence[Unit]) -> dict[str, float]:
        """Milliseconds a batch."""
        with Costs(self._int8, self._batches[0]) as costs:
            return {unit.name: costs.of(self._lower(self._plan.without(unit.name))) for unit in units}

    def _counted(self, results: Iterator[tuple[str, list[list[Array]]]]) -> Iterator[tuple[str, list[list[Array]]]]:
        for result in results:
            yield result
            self._done += 1
            self._tell(_STAGE, self._done, self._total)

    def _compared(self, outputs: list[list[Array]]) -> float:
        return compare_outputs(self._expected, joined(outputs))[0]


def _noise(sqnr_db: float) -> float:
    """Noise for each unit of signal; bounded, so that shares of it can be compared."""
    return 10 ** (-max(min(sqnr_db, 200.0), -40.0) / 10) if not math.isnan(sqnr_db) else 1e4
