"""Runs an OpenVINO model, set for its best speed, in OpenVINO's own environment: speaks `eightfold.bench.protocol`.

The batch is static and input memory is shared. There is a stream for each batch in flight; `intra` of a job is the
number of threads of a stream. One stream gets OpenVINO's latency hint, several its throughput hint. A model without
8-bit nodes is run in float32, not in the bfloat16 that OpenVINO takes by itself where the CPU has it, unless the job
asks for bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import openvino as ov

from eightfold.bench.peers.feeds import Feed, Specs, batches
from eightfold.bench.peers.flight import flight, width
from eightfold.bench.protocol import Job, Run, serve

__all__ = ["load", "specs_of"]


def load(job: Job) -> tuple[Run, Mapping[str, str]]:
    """Compiles `model.xml` for batches of the job's size."""
    core = ov.Core()
    model = core.read_model(Path(job.model) / "model.xml")
    feeds = batches(job, specs_of(model))
    model.reshape({port: _with_batch(port.partial_shape, job.batch_size) for port in model.inputs})
    compiled = core.compile_model(model, "CPU", _settings(job, model))
    versions = {"openvino": ov.__version__, "numpy": np.__version__}
    return flight(lambda: _request(compiled, feeds)), versions


def specs_of(model: ov.Model) -> Specs:
    """The inputs under the names that they have in the signature."""
    return {
        port.any_name: (
            [extent.get_length() if extent.is_static else None for extent in port.partial_shape],
            np.dtype(port.element_type.to_dtype()).name,
        )
        for port in model.inputs
    }


def _with_batch(shape: ov.PartialShape, batch_size: int) -> ov.PartialShape:
    if shape.rank.get_length():
        shape[0] = batch_size
    return shape


def _settings(job: Job, model: ov.Model) -> dict[str, object]:
    streams = width()
    settings: dict[str, object] = {
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": streams,
    }
    if job.intra:
        settings["INFERENCE_NUM_THREADS"] = job.intra * streams
    if job.bfloat16:
        settings["INFERENCE_PRECISION_HINT"] = "bf16"
    elif not any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    return settings


def _request(compiled: ov.CompiledModel, feeds: Iterator[Feed]) -> Run:
    request = compiled.create_infer_request()
    return lambda: request.infer(next(feeds), share_inputs=True, share_outputs=True)


if __name__ == "__main__":
    serve(load)
