"""What was done to a model: written into it, shown by the command line, and read again by `explain`."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eightfold.errors import ModelError
from eightfold.quantization.analysis import Analysis
from eightfold.quantization.chart import Chart
from eightfold.quantization.search_record import SearchRecord

__all__ = ["RECIPE_FILE", "REPORT_FILE", "Fidelity", "Report", "Speed", "StepRecord", "read_report", "report_file"]

REPORT_FILE = "assets.extra/eightfold.json"
RECIPE_FILE = "assets.extra/recipe.toml"
_FORMAT = 1
_TEXTS = ("float_text", "dynamic_text", "int8_text")


@dataclass(frozen=True)
class Fidelity:
    """How close the 8-bit outputs are to the float ones, on samples that were not used to calibrate.

    Attributes:
        sqnr_db: signal to quantization-noise ratio of the worst output, in dB.
        agreement: share of samples with the same class on top; `None` where no output looks like class scores.
        samples: how many.
        held_back: whether these samples were kept from calibration; with a single sample they cannot be.
    """

    sqnr_db: float
    agreement: float | None
    samples: int
    held_back: bool


@dataclass(frozen=True)
class Speed:
    """Median times of one batch, measured in turns.

    Attributes:
        batch_size: examples in the batch.
        float_ms: of the exported float model, in milliseconds.
        int8_ms: of the 8-bit model, in milliseconds.
    """

    batch_size: int
    float_ms: float
    int8_ms: float

    @property
    def speedup(self) -> float:
        return self.float_ms / self.int8_ms


@dataclass(frozen=True)
class StepRecord:
    """One 8-bit op: where it came from, and the three graphs of its block as text.

    Attributes:
        name: of the node that computes the result.
        rewrite: the name of the rewrite, as in the table of the documentation.
        int8_op: the op that does the work.
        nodes: the float nodes that it replaces, the last first.
        float_text, dynamic_text, int8_text: the block in the float graph, in the 8-bit graph with ranges computed
            while it runs, and in the calibrated one; empty where there is none.
    """

    name: str
    rewrite: str
    int8_op: str
    nodes: tuple[str, ...]
    float_text: str = ""
    dynamic_text: str = ""
    int8_text: str = ""


@dataclass(frozen=True)
class Report:
    """Everything worth knowing about a quantization.

    Attributes:
        origin: what was quantized.
        mode: `calibrated` or `dynamic`.
        recipe: every key of the recipe that was used.
        steps: what became 8-bit.
        refusals: (node, op, reason) of what did not.
        regions: number of ops in each connected 8-bit piece, largest first.
        breaks: dequantize-quantize pairs in the middle of the 8-bit flow, by the float node between them.
        fidelity, speed: as verified; `None` and empty where verification was switched off or had no data.
        fallbacks: what was given back to float by the verification, and why.
        notes: anything else that the user should know.
        float_bytes: size of the constants of the float graph.
        int8_bytes: size on disk of what was saved; before that, of the constants of the 8-bit graph.
        requires_tensorflow: the oldest version that runs the result.
        versions: of eightfold, TensorFlow, NumPy and Python, by name.
        calibration_samples: how many examples the ranges are from; 0 for a dynamic model.
        weight_bits: 8, or 7 for CPUs whose 8-bit sums saturate.
        bfloat16: the steps that are computed in bfloat16, by name; they are among the refusals.
        search: what was tried for a metric to hold; `None` where none was given.
        chart: the model as a drawing, for the page of `explain`.
        analysis: where the error is made and the time goes; `None` where verification was off or had no data.
    """

    origin: str
    mode: str
    recipe: Mapping[str, Any]
    steps: tuple[StepRecord, ...]
    refusals: tuple[tuple[str, str, str], ...]
    regions: tuple[int, ...]
    breaks: tuple[str, ...] = ()
    fidelity: Fidelity | None = None
    speed: tuple[Speed, ...] = ()
    fallbacks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    float_bytes: int = 0
    int8_bytes: int = 0
    requires_tensorflow: str = "2.16"
    versions: Mapping[str, str] = field(default_factory=dict)
    calibration_samples: int = 0
    weight_bits: int = 8
    bfloat16: tuple[str, ...] = ()
    search: SearchRecord | None = None
    chart: Chart | None = None
    analysis: Analysis | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of steps by 8-bit op."""
        return dict(Counter(step.int8_op for step in self.steps).most_common())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        result = asdict(self)
        result["format"] = _FORMAT
        result["counts"] = self.counts
        result["speed"] = [{**asdict(speed), "speedup": speed.speedup} for speed in self.speed]
        return result

    def to_json(self) -> str:
        """The report as it is stored: all in the open but the texts of the blocks, which are packed as one string.

        Unpacked they would be the larger part of the report, and a percent of a small model.
        """
        values = self.to_dict()
        texts = [[step.pop(key) for key in _TEXTS] for step in values["steps"]]
        values["chart"] = self.chart.pack() if self.chart else None
        values["analysis"] = self.analysis.pack() if self.analysis else None
        values["blocks"] = base64.b64encode(zlib.compress(json.dumps(texts).encode(), 9)).decode()
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """The report that `to_dict` or `to_json` wrote."""
        known = {key: value for key, value in values.items() if key not in ("format", "counts", "blocks")}
        if "blocks" in values:
            texts = json.loads(zlib.decompress(base64.b64decode(values["blocks"])))
            known["steps"] = [
                {**step, **dict(zip(_TEXTS, text, strict=True))}
                for step, text in zip(known["steps"], texts, strict=True)
            ]
        known["steps"] = tuple(StepRecord(**{**s, "nodes": tuple(s["nodes"])}) for s in known["steps"])
        known["refusals"] = tuple(tuple(refusal) for refusal in known["refusals"])
        known["fidelity"] = Fidelity(**known["fidelity"]) if known["fidelity"] else None
        known["speed"] = tuple(
            Speed(speed["batch_size"], speed["float_ms"], speed["int8_ms"]) for speed in known["speed"]
        )
        known["search"] = SearchRecord.from_dict(known["search"]) if known.get("search") else None
        known["chart"] = _unpacked(Chart, known.get("chart"))
        known["analysis"] = _unpacked(Analysis, known.get("analysis"))
        for key in ("regions", "breaks", "fallbacks", "notes", "bfloat16"):
            known[key] = tuple(known.get(key, ()))
        return cls(**known)


def _unpacked(kind: Any, values: str | Mapping[str, Any] | None) -> Any:
    """A part of the report from its packed form, or from its plain one."""
    if not values:
        return None
    return kind.unpack(values) if isinstance(values, str) else kind.from_dict(values)


def report_file(model: Path) -> Path:
    """Where the report of a model is: in the SavedModel folder, or beside the frozen `.pb`."""
    return model / REPORT_FILE if model.is_dir() else model.with_suffix(".json")


def read_report(path: str | Path) -> Report:
    """The report inside a model that eightfold saved.

    Args:
        path: the SavedModel folder, or the frozen `.pb` with its `.json` beside it.

    Returns:
        The report, with the texts of its blocks.

    Raises:
        ModelError: the model has none, or a damaged one.
    """
    file = report_file(Path(path))
    if not file.is_file():
        raise ModelError(f"{path} was not made by eightfold: it has no {REPORT_FILE}")
    try:
        values = json.loads(file.read_text())
        if values["format"] != _FORMAT:
            raise ModelError(f"{file} has format {values['format']}, expected {_FORMAT}: another eightfold wrote it")
        return Report.from_dict(values)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise ModelError(f"{file} is damaged: {error}") from error
