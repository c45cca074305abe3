"""The report: what it says, written and read again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_functions import LENIENT, convolution, images

import eightfold as ef
from eightfold.errors import ModelError
from eightfold.quantization.report import REPORT_FILE, Fidelity, Report, Speed, StepRecord

REPORT = Report(
    origin="net/",
    mode="calibrated",
    recipe={"observer": "minmax"},
    steps=(
        StepRecord("conv", "conv_relu", "_FusedQuantizedConv2D", ("conv", "relu"), "a", "b", "c"),
        StepRecord("conv2", "conv_relu", "_FusedQuantizedConv2D", ("conv2",)),
        StepRecord("pool", "max_pool", "QuantizedMaxPool", ("pool",)),
    ),
    refusals=(("sin", "Sin", "no kernel"),),
    regions=(3,),
    breaks=("mean (Mean)",),
    fidelity=Fidelity(31.5, 0.99, 64, True),
    speed=(Speed(32, 12.0, 3.0),),
    fallbacks=("x went back",),
    notes=("a note",),
    float_bytes=400,
    int8_bytes=110,
    versions={"tensorflow": "2.21.0"},
    calibration_samples=236,
)


def test_it_survives_json() -> None:
    values = json.loads(REPORT.to_json())
    assert Report.from_dict(values) == REPORT
    assert values["counts"] == {"_FusedQuantizedConv2D": 2, "QuantizedMaxPool": 1}
    assert values["speed"][0]["speedup"] == 4.0
    assert values["format"] == 1


def test_without_verification() -> None:
    bare = Report("net", "dynamic", {}, (), (), ())
    assert Report.from_dict(json.loads(bare.to_json())) == bare


@pytest.mark.int8
def test_the_report_of_a_quantization(tmp_path: Path) -> None:
    result = ef.quantize(convolution(filters=16), images(40), recipe=LENIENT)
    folder = result.save(tmp_path / "net")
    report = ef.read_report(folder)
    assert report.mode == "calibrated"
    assert [step.int8_op for step in report.steps] == ["_FusedQuantizedConv2D"]
    assert set(report.versions) == {"eightfold", "tensorflow", "numpy", "python"}
    assert report.calibration_samples == 32
    assert report.fidelity is not None
    assert (report.fidelity.samples, report.fidelity.held_back) == (8, True)
    assert report.fidelity.sqnr_db > 30
    assert report.speed[0].batch_size == 32
    written = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and p.name != Path(REPORT_FILE).name)
    assert report.int8_bytes == written
    assert report.float_bytes == (3 * 3 * 3 * 16 + 16) * 4
    assert report.recipe["fallback"] is False


@pytest.mark.int8
@pytest.mark.parametrize(("given", "held", "left"), [(4, 4, 4), (5, 1, 4), (100, 20, 80), (500, 60, 240)])
def test_how_many_samples_are_held_back(given: int, held: int, left: int) -> None:
    """A fifth, at most 64, of the first 300."""
    report = ef.quantize(convolution(), iter(np.array_split(images(given, side=4), 7)), recipe=LENIENT).report
    assert report.fidelity is not None
    assert (report.fidelity.samples, report.calibration_samples) == (held, left)
    assert report.fidelity.held_back == (given >= 5)


def test_a_model_that_eightfold_did_not_make(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="was not made by eightfold: it has no assets.extra/eightfold.json"):
        ef.read_report(tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1}', "is damaged: 'steps'"),
        ('{"format": 9}', "has format 9, expected 1: another eightfold wrote it"),
    ],
)
def test_a_damaged_report(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / REPORT_FILE).parent.mkdir()
    (tmp_path / REPORT_FILE).write_text(text)
    with pytest.raises(ModelError, match=match):
        ef.read_report(tmp_path)
