"""Runs an OpenVINO model for `eightfold.bench`, in OpenVINO's own environment: speaks the suite's protocol.

Set for its best speed: a static batch, the latency hint with one stream on all threads, shared input memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino as ov

from eightfold.bench.protocol import Job, Refusal, Run, serve


def load(job: Job) -> tuple[Run, Mapping[str, str]]:
    core = ov.Core()
    model = core.read_model(Path(job.model) / "model.xml")
    if len(model.inputs) != 1:
        raise Refusal(f"{job.model} has {len(model.inputs)} inputs; expected one")
    shape = model.input(0).partial_shape
    shape[0] = job.batch_size
    model.reshape({0: shape})
    config: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    if job.intra:
        config["INFERENCE_NUM_THREADS"] = job.intra
    compiled = core.compile_model(model, "CPU", config)
    request = compiled.create_infer_request()
    x = _images(job, tuple(compiled.input(0).shape))
    return lambda: request.infer([x], share_inputs=True), {
        "openvino": ov.__version__,
        "numpy": np.__version__,
    }


def _images(job: Job, shape: tuple[int, ...]) -> np.ndarray:
    if job.feeds is None:
        return np.random.default_rng(0).random(shape, dtype=np.float32)
    with np.load(job.feeds) as arrays:
        return np.resize(arrays[arrays.files[0]], shape).astype(np.float32)


if __name__ == "__main__":
    serve(load)
