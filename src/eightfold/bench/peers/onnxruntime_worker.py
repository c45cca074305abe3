"""Runs an ONNX model, set for its best speed, in ONNX Runtime's own environment: speaks `eightfold.bench.protocol`.

All graph optimizations are on, and idle threads spin. `intra` of a job is the number of threads inside an operation.
`inter` from 2 on makes as many operations of a batch run at a time, for graphs with branches. Of several batches in
flight, each is called by a thread of its own on the one session, whose threads they share.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime import ExecutionMode, GraphOptimizationLevel, InferenceSession, SessionOptions

from eightfold.bench.peers.feeds import Specs, batches
from eightfold.bench.peers.flight import flight
from eightfold.bench.protocol import Job, Run, serve

__all__ = ["load", "specs_of"]


def load(job: Job) -> tuple[Run, Mapping[str, str]]:
    """Makes a session of `model.onnx`."""
    path = str(Path(job.model) / "model.onnx")
    session = InferenceSession(path, _settings(job), providers=["CPUExecutionProvider"])
    feeds = batches(job, specs_of(session))
    versions = {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__}
    return flight(lambda: lambda: session.run(None, next(feeds))), versions


def specs_of(session: InferenceSession) -> Specs:
    """The inputs; tf2onnx gives them the names of the signature."""
    return {
        one.name: (
            [extent if isinstance(extent, int) else None for extent in one.shape],
            {"float": "float32", "double": "float64", "string": "str"}.get(kind := one.type[7:-1], kind),
        )
        for one in session.get_inputs()
    }


def _settings(job: Job) -> SessionOptions:
    at_a_time = max(1, job.inter or 1)
    settings = SessionOptions()
    settings.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = job.intra or 0
    settings.execution_mode = ExecutionMode.ORT_PARALLEL if at_a_time > 1 else ExecutionMode.ORT_SEQUENTIAL
    settings.inter_op_num_threads = at_a_time
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "1")
    return settings


if __name__ == "__main__":
    serve(load)
