"""Measures the accuracy of small trained nets in 8 bits, beside OpenVINO NNCF: python benchmarks/accuracy.py DATA.npz

DATA.npz holds x_train, y_train, x_test, y_test: uint8 pictures [N, 32, 32, 3] and whole labels. CIFAR-10's own files
can be turned into it with NumPy alone. Each net is trained once and kept, quantized with default settings by both
tools on the same 300 pictures, and by eightfold once more with a search that may lose 0.1 points. Top-1 is counted on
the test pictures; a difference is called noise when its 95 % interval, paired by picture, holds zero. The classifier
of scikit-learn's handwritten digits (examples/train_digits.py) is measured with its own test pictures.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
import tensorflow as tf
from networks import OPENVINO_TOOL
from run import command
from small_nets import NETS, load_pictures, trained

import eightfold as ef
from eightfold.bench import this_machine
from eightfold.bench.peers.peer import OPENVINO

SAMPLES = 300
MAX_DROP = 0.001


@dataclass(frozen=True)
class Case:
    """A trained net and its pictures: float32 [N, height, width, channels], whole labels [N]."""

    name: str
    model: Path
    calibration: np.ndarray
    images: np.ndarray
    labels: np.ndarray

    def hits(self, scores: np.ndarray) -> np.ndarray:
        """For each test picture, whether its own class is on top."""
        found: np.ndarray = scores.argmax(-1) == self.labels
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work-dir", type=Path, default=Path("build/bench"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--nets", nargs="+", default=[*NETS, "digits"], choices=[*NETS, "digits"])
    options = parser.parse_args()
    for name in options.nets:
        rows = measured(case(name, options), options.work_dir)
        for row in rows:
            print(f"{name}: {row['name']}: top-1 {row['top1']:.2%}, change {row['change']:+.2%}, {row['verdict']}")
        report.record("accuracy", rows, ("net", "name"))


def case(name: str, options: argparse.Namespace) -> Case:
    folder = options.work_dir / "small"
    if name == "digits":
        if not (folder / "digits").exists():
            script = Path(__file__).parents[1] / "examples" / "train_digits.py"
            subprocess.run([sys.executable, str(script), str(folder)], check=True)
        with np.load(folder / "digits.npz") as known, np.load(folder / "test.npz") as test:
            return Case(name, folder / "digits", known["x"][:SAMPLES], test["x"], test["y"])
    data = load_pictures(options.data)
    model = trained(name, data, folder, options.epochs)
    return Case(name, model, data["x_train"][:SAMPLES], data["x_test"], data["y_test"])


def measured(case: Case, work: Path) -> list[report.Row]:
    """A row for the float net, for each tool's 8-bit net, and for the searched one."""
    exact = ef.Recipe(fallback=False)
    before = case.hits(scores_of(case, case.model))
    (name,) = ef.export(case.model).default.inputs
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        saved = ef.quantize(case.model, case.calibration, recipe=exact).save(place / "int8")
        searched = ef.quantize(
            case.model, case.calibration, recipe=exact, evaluate=lambda run: top1(case, run, name), max_drop=MAX_DROP
        )
        found = {
            "TF fp32": before,
            "eightfold int8": case.hits(scores_of(case, saved)),
            f"eightfold --max-drop {MAX_DROP:g}": case.hits(scores_of(case, searched.save(place / "searched"))),
            OPENVINO_TOOL.name: case.hits(peer_scores(case, work, place)),
        }
    context = {"net": case.name, "examples": len(before), "machine": asdict(this_machine()), "command": command()}
    return [{"name": name, **judged(before, hits), **context} for name, hits in found.items()]


def judged(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Top-1, its change, and whether the change is more than noise (McNemar's pairs, normal interval)."""
    change = after.astype(float) - before
    half = 1.96 * float(change.std()) / len(change) ** 0.5
    mean = float(change.mean())
    verdict = "within the noise" if abs(mean) <= half else ("better" if mean > 0 else "worse")
    return {"top1": float(after.mean()), "change": mean, "interval": [mean - half, mean + half], "verdict": verdict}


def scores_of(case: Case, model: Path) -> np.ndarray:
    """Of a saved model, run by TensorFlow alone."""
    run = tf.saved_model.load(str(model)).signatures["serving_default"]
    (name,) = run.structured_input_signature[1]
    return _in_parts(case, lambda part: next(iter(run(**{name: tf.constant(part)}).values())).numpy())


def top1(case: Case, run: Any, name: str) -> float:
    """What the search is told: `run` takes inputs by name and gives outputs by name."""
    return float(case.hits(_in_parts(case, lambda part: next(iter(run({name: part}).values())))).mean())


def _in_parts(case: Case, run: Any) -> np.ndarray:
    return np.concatenate([run(part) for part in np.array_split(case.images, max(1, len(case.images) // 100))])


def peer_scores(case: Case, work: Path, place: Path) -> np.ndarray:
    """Of the net that NNCF quantizes with its defaults, run by OpenVINO."""
    np.savez(place / "known.npz", x=case.calibration)
    np.savez(place / "test.npz", x=case.images)
    OPENVINO_TOOL.quantize(work, case.model, place / "known.npz", place / "peer")
    interpreter = OPENVINO.environment.python()
    script = Path(__file__).parent / "peers" / "openvino_predict.py"
    arguments = [str(place / "peer"), str(place / "test.npz"), str(place / "scores.npy")]
    subprocess.run([interpreter, str(script), *arguments], check=True, capture_output=True)
    scores: np.ndarray = np.load(place / "scores.npy")
    return scores


if __name__ == "__main__":
    main()
