"""The peers of a model, as subjects that take part in a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from eightfold.bench.peers.conversion import Samples, converted
from eightfold.bench.peers.environment import Tell, silent
from eightfold.bench.peers.inputs import made_up
from eightfold.bench.peers.peer import parse
from eightfold.bench.process import Subject
from eightfold.errors import ModelError
from eightfold.running.settings import Runtime
from eightfold.tf.graph_file import graph_file, is_quantized

__all__ = ["float_model", "peers"]


def peers(
    names: Sequence[str],
    model: Path,
    samples: Samples | None = None,
    *,
    signature: str = "serving_default",
    runtime: Runtime | None = None,
    tell: Tell = silent,
) -> list[Subject]:
    """The same model on other runtimes, quantized by each with its own tool.

    Environments and converted models are made where they are not in the cache, which takes minutes the first time.

    Args:
        names: `openvino`, `onnxruntime`, `litert`; with `:fp32` behind it the peer's float model.
        model: the float SavedModel.
        samples: an array with examples for each input of the signature, to quantize with; random input by default.
        signature: of the model.
        runtime: the settings they are run with; see `candidates` for what these mean to each.
        tell: told what is made.

    Returns:
        A subject for each name, called "OpenVINO int8", "ONNX Runtime fp32" and the like.

    Raises:
        RecipeError: no such peer.
        ModelError: the model is no float SavedModel, or a peer cannot convert it.
        PlatformError: an environment cannot be made; without a network for example.
    """
    entries = [parse(name) for name in names]
    source = float_model([model])
    if samples is None and any(entry.quantized for entry in entries):
        samples = made_up(source, signature)
    return [
        Subject(
            str(entry),
            converted(entry, source, samples or {}, signature, tell),
            entry.peer.worker(tell),
            entry.peer.variables,
            runtime or Runtime(),
        )
        for entry in entries
    ]


def float_model(models: Iterable[Path]) -> Path:
    """The first of the models that a peer can begin with.

    Raises:
        ModelError: all are in 8 bits already, or none is a SavedModel.
    """
    given = list(models)
    saved = [path for path in given if path.is_dir() and graph_file(path) is not None]
    floats = [path for path in saved if not is_quantized(path)]
    if floats:
        return floats[0]
    told = ", ".join(map(str, given)) or "nothing"
    if saved:
        raise ModelError(f"peers quantize by themselves and need the float model: {told} is in 8 bits")
    raise ModelError(f"peers need the float model as a SavedModel folder; given was {told}")
