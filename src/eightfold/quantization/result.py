"""A quantized model in memory, and how it is put on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from eightfold.errors import DataError
from eightfold.graph.ir import Array, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.passes.bands import in_bands
from eightfold.quantization.dynamic import lower_dynamic
from eightfold.quantization.explain import step_records
from eightfold.quantization.placement import written_beside
from eightfold.quantization.plan import Plan
from eightfold.quantization.recipe import Recipe
from eightfold.quantization.report import RECIPE_FILE, REPORT_FILE, Report
from eightfold.rewrites.correction import Corrections
from eightfold.tf.frozen import write_frozen
from eightfold.tf.savedmodel import write_saved_model
from eightfold.tf.session import Runner, infer

__all__ = ["Quantized", "written_beside"]


@dataclass(frozen=True)
class Quantized:
    """What `eightfold.lower` and `eightfold.quantize` return.

    Attributes:
        model: the 8-bit model.
        source: the exported float model that it was made from.
        plan: what was put into 8 bits.
        ranges: the calibrated ranges; `None` for a dynamic model.
        report: everything worth knowing.
        corrections: what was learned about the constants of the steps.
    """

    model: Model
    source: Model
    plan: Plan
    ranges: Mapping[Ref, Range] | None
    report: Report
    corrections: Corrections = field(default_factory=dict)

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        """Runs the default signature once; for more than a try, save the model and load it with TensorFlow.

        Raises:
            DataError: the names are not those of the inputs.
        """
        signature = self.model.default
        if inputs.keys() != signature.inputs.keys():
            expected, received = ", ".join(signature.inputs), ", ".join(inputs) or "none"
            raise DataError(f"the model has other inputs: expected {expected}, received {received}")
        with Runner.of(self.model) as run:
            feeds = {signature.inputs[name].ref: value for name, value in inputs.items()}
            results = run([spec.ref for spec in signature.outputs.values()], feeds)
        return dict(zip(signature.outputs, results, strict=True))

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        format: Literal["saved_model", "frozen"] = "saved_model",
        overwrite: bool = False,
    ) -> Path:
        """Writes the model with its report and the recipe that makes it again from the same data.

        It is written beside its place and renamed when it is whole, so that nothing is ever half-written or lost.

        Args:
            path: a folder for `saved_model`; a `.pb` file for `frozen`, with the report beside it as `.json`
                and the recipe as `.toml`.
            format: the form.
            overwrite: whether something that is there may be replaced.

        Raises:
            OutputError: something is there already, or it cannot be written.
        """
        target = Path(path)
        if format == "frozen":
            beside = target.with_suffix(".json")
            recipe = target.with_suffix(".toml")
            with (
                written_beside(beside, overwrite) as report,
                written_beside(recipe, overwrite) as settled,
                written_beside(target, overwrite) as place,
            ):
                write_frozen(self._written, place)
                report.write_text(self._final_report(place.stat().st_size).to_json())
                self._recipe.save(settled)
            return target
        with written_beside(target, overwrite) as place:
            write_saved_model(self._written, place)
            report = place / REPORT_FILE
            report.parent.mkdir(exist_ok=True)
            self._recipe.save(place / RECIPE_FILE)
            size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
            report.write_text(self._final_report(size).to_json())
        return target

    @property
    def _written(self) -> Model:
        """The model as it is saved: in bands, where the recipe wants them."""
        bands = self.plan.settled_recipe.bands
        return self.model if bands == 1 else in_bands(self.model, infer(self.model.graph), bands)

    @property
    def _recipe(self) -> Recipe:
        """The recipe that makes this model again, on any machine, from the same data."""
        return replace(self.plan.settled_recipe, weight_bits=self.report.weight_bits)

    def _final_report(self, size: int) -> Report:
        dynamic = lower_dynamic(self.source, self.plan).graph
        calibrated = self.model.graph if self.ranges is not None else None
        return replace(self.report, int8_bytes=size, steps=step_records(self.plan, dynamic, calibrated))
