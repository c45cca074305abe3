"""Runs a LiteRT model, set for its best speed, in LiteRT's own environment: speaks `eightfold.bench.protocol`.

XNNPACK, which LiteRT applies by itself, computes what it can. There is an interpreter for each batch in
flight; `intra` of a job is the number of threads of an interpreter. Where it is left open they are as many as there are
cores, as the other runtimes have them by themselves; LiteRT's own default is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from eightfold.bench.peers.feeds import Feed, Specs, batches
from eightfold.bench.peers.flight import flight
from eightfold.bench.protocol import Job, Refusal, Run, serve

__all__ = ["load"]


def load(job: Job) -> tuple[Run, Mapping[str, str]]:
    """Loads `model.tflite` for batches of the job's size."""
    path = str(Path(job.model) / "model.tflite")
    inputs = _inputs(Interpreter(model_path=path), job.signature)
    specs: Specs = {
        name: ([None if extent < 0 else int(extent) for extent in one["shape_signature"]], np.dtype(one["dtype"]).name)
        for name, one in inputs.items()
    }
    feeds = batches(job, specs)
    places = {name: one["index"] for name, one in inputs.items()}
    versions = {"ai-edge-litert": version("ai-edge-litert"), "numpy": np.__version__}
    return flight(lambda: _run(path, job, places, feeds)), versions


def _inputs(interpreter: Interpreter, signature: str) -> dict[str, dict[str, Any]]:
    """What LiteRT knows of each input, by its name in the signature."""
    if signature not in interpreter.get_signature_list():
        raise Refusal(f"the converted model has no signature {signature!r}")
    details: dict[str, dict[str, Any]] = interpreter.get_signature_runner(signature).get_input_details()
    return details


def _run(path: str, job: Job, places: Mapping[str, int], feeds: Iterator[Feed]) -> Run:
    interpreter = Interpreter(model_path=path, num_threads=job.intra or len(os.sched_getaffinity(0)))
    first = next(feeds)
    for name, place in places.items():
        interpreter.resize_tensor_input(place, first[name].shape)
    interpreter.allocate_tensors()
    outputs = [one["index"] for one in interpreter.get_output_details()]

    def run() -> None:
        for name, value in next(feeds).items():
            interpreter.set_tensor(places[name], value)
        interpreter.invoke()
        for place in outputs:
            interpreter.get_tensor(place)

    return run


if __name__ == "__main__":
    serve(load)
