"""A peer without a runtime: `stand_in_peer.py MODULE ...` converts, or serves the suite, as the module's name says."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

from eightfold.bench.peers.converter import Conversion, answer
from eightfold.bench.peers.feeds import samples
from eightfold.bench.protocol import Refusal


def convert(asked: Conversion) -> dict[str, str]:
    """Writes down what it was given; the model's own text becomes the time of a run."""
    told = Path(asked.model, "saved_model.pb").read_text(encoding="utf-8")
    if told == "refuse":
        raise Refusal("it has a loop")
    if told == "crash":
        raise ValueError("a bug of the converter")
    print("this line is no answer")
    feeds = [] if asked.samples is None else samples(asked.samples, {"x": ([None, 3], "float32")})
    about = {"signature": asked.signature, "samples": [feed["x"].tolist() for feed in feeds]}
    (asked.output / "asked.json").write_text(json.dumps(about), encoding="utf-8")
    (asked.output / "model").write_text(told, encoding="utf-8")
    return {"stand-in": "1.0"}


if __name__ == "__main__":
    del sys.argv[0]
    if sys.argv[0].endswith("_convert"):
        answer(convert)
    else:
        runpy.run_path(str(Path(__file__).with_name("stand_in.py")), run_name="__main__")
