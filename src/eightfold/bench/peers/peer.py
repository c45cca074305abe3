"""The other runtimes for CPUs that a model can be measured on, as a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eightfold.bench.peers.environment import Environment, Tell, silent
from eightfold.errors import RecipeError
from eightfold.running.process import this_eightfold

__all__ = ["LITERT", "ONNXRUNTIME", "OPENVINO", "PEERS", "Entry", "Peer", "parse"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A runtime: what makes its models of a float SavedModel, and what runs them.

    Attributes:
        name: how the command line calls it; its modules here begin with it.
        title: how tables call it.
        environment: what it runs in.
        converts_here: whether its converter is part of TensorFlow, so that this Python does it.
    """

    name: str
    title: str
    environment: Environment
    converts_here: bool = False

    def converter(self, tell: Tell = silent) -> tuple[str, ...]:
        """The command of its converter, before what it is asked; see `converter`."""
        module = f"eightfold.bench.peers.{self.name}_convert"
        if self.converts_here:
            return (sys.executable, "-m", module)
        return self.environment.command(module, tell=tell)

    def worker(self, tell: Tell = silent) -> tuple[str, ...]:
        """The command of its worker; see `eightfold.bench.protocol`."""
        return self.environment.command(f"eightfold.bench.peers.{self.name}_worker", tell=tell)

    @property
    def variables(self) -> Mapping[str, str]:
        """What lets this Python find this eightfold; the environment's own Python does not look at it."""
        return this_eightfold()

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that decide what its models look like."""
        here = Path(__file__).parent
        return (here / f"{self.name}_convert.py", here / "feeds.py")


OPENVINO = Peer(
    "openvino",
    "OpenVINO",
    Environment("openvino", ("openvino==2026.4.1", "nncf==3.4.0")),
)
ONNXRUNTIME = Peer(
    "onnxruntime",
    "ONNX Runtime",
    Environment(
        "onnxruntime",
        (
            "onnxruntime==1.31.1; python_version >= '3.11'",
            "onnxruntime==1.23.2; python_version < '3.11'",  # the last for Python 3.10
            "onnx==1.23.2",
            "tf2onnx==1.17.0",
            "tensorflow-cpu==2.21.0",  # tf2onnx reads SavedModels with it; the worker does not import it
        ),
    ),
)
LITERT = Peer(
    "litert",
    "LiteRT",
    Environment("litert", ("ai-edge-litert==2.3.0",)),
    converts_here=True,
)
PEERS = {one.name: one for one in (OPENVINO, ONNXRUNTIME, LITERT)}


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be measured of a peer: its 8-bit model, or its float one."""

    peer: Peer
    quantized: bool = True

    def __str__(self) -> str:
        return f"{self.peer.title} {'int8' if self.quantized else 'fp32'}"


def parse(text: str) -> Entry:
    """`openvino`, or `openvino:fp32` for the float model.

    Raises:
        RecipeError: no such peer, or another precision.
    """
    name, _, precision = text.strip().partition(":")
    if name not in PEERS or precision not in ("", "int8", "fp32"):
        known = ", ".join(PEERS)
        raise RecipeError(f"the peer {text!r} is unknown; expected one of {known}, or one of them with :fp32 behind it")
    return Entry(PEERS[name], precision != "fp32")
