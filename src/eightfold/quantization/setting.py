"""What a recipe makes of a model before it is lowered; all that give steps back share it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from eightfold.calibration.collect import Feeds
from eightfold.data import Dataset
from eightfold.graph.ir import Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.bias_correction import correct_bias
from eightfold.quantization.calibrate import calibrate, feeds_of
from eightfold.quantization.correct import correct
from eightfold.quantization.export import Progress
from eightfold.quantization.plan import Plan
from eightfold.quantization.prepare import prepare
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.result import Quantized
from eightfold.quantization.steps import lower, plan
from eightfold.rewrites.correction import Corrections

__all__ = ["Setting", "settled"]


@dataclass(frozen=True)
class Setting:
    """A model ready to be lowered.

    Attributes:
        model: the float model, prepared as the recipe says.
        plan: all that may become 8-bit.
        ranges: of the tensors of the plan; `None` where they are to be computed while the model runs.
        corrections: of the constants of its steps, all of them in 8 bits.
        data: what ranges and corrections were learned from.
    """

    model: Model
    plan: Plan
    ranges: Mapping[Ref, Range] | None = None
    corrections: Corrections = field(default_factory=dict)
    data: Dataset | None = None

    @property
    def roundings(self) -> Corrections:
        """The corrections without those of biases."""
        return {name: replace(each, bias=None) for name, each in self.corrections.items() if each.codes is not None}

    def lowered(self, chosen: Plan | None = None) -> Quantized:
        """The model of the plan, or of what was left of it.

        Ranges and the rounding of weights stay as they are. Biases make up for the errors of the layers before them,
        and are corrected anew where some of these are in float.
        """
        if chosen is None or chosen is self.plan:
            return lower(self.model, self.plan, self.ranges, self.corrections)
        return lower(self.model, chosen, self.ranges, self._corrected(chosen))

    def _corrected(self, chosen: Plan) -> Corrections:
        if self.ranges is None or self.data is None:
            return self.corrections
        return correct_bias(self.model, chosen, self.ranges, self._feeds, self.roundings, lambda *_: None)

    def _feeds(self) -> Iterator[Feeds]:
        return (feeds_of(self.model, batch.inputs) for batch in self.data or ())

    def giving(self, fp32: tuple[str, ...] = (), bf16: tuple[str, ...] = ()) -> Plan:
        """The plan with some steps given back for the accuracy that is to be held."""
        chosen, reason = self.plan, "given back for the accuracy that is to be held"
        chosen = chosen.in_bfloat16(*bf16, reason=reason) if bf16 else chosen
        left = {step.name for step in (*chosen.steps, *chosen.bfloat16_steps)}  # what only carried may be gone by now
        names = [name for name in fp32 if name in left]
        return chosen.without(*names, reason=reason) if names else chosen


def settled(model: Model, recipe: Recipe, data: Dataset | None, progress: Progress | None = None) -> Setting:
    """Does what a recipe asks for, up to lowering.

    Args:
        model: the exported model.
        recipe: what is wanted.
        data: what to calibrate with; `None` for ranges computed while the model runs.
        progress: told about each stage.

    Raises:
        DataError: the data drives a tensor to NaN or infinity.
    """
    if data is None:
        return Setting(model, plan(model, recipe))
    sample: dict[str, Any] = {"batch_size": data.batch_size, "progress": progress}
    prepared = prepare(model, recipe, data, **sample)
    chosen = plan(prepared, recipe)
    ranges = calibrate(prepared, chosen, data, **sample)
    corrections = correct(prepared, chosen, ranges, data, **sample)
    return Setting(prepared, chosen, ranges, corrections, data)
