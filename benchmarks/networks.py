"""What a benchmark measures: a network in its forms on disk, each made by a process of its own and kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environments import INC, SOURCES
from models import images

from eightfold.bench import Subject, size_mb
from eightfold.bench.named import Architecture
from eightfold.bench.peers import Entry
from eightfold.bench.peers.conversion import run_converter
from eightfold.bench.peers.converter import Conversion
from eightfold.bench.peers.environment import Environment
from eightfold.bench.peers.peer import LITERT, ONNXRUNTIME, OPENVINO

__all__ = ["EIGHTFOLD", "INC_TOOL", "LITERT_TOOL", "ONNXRUNTIME_TOOL", "OPENVINO_TOOL", "Network", "Tool", "in_bands"]

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Tool:
    """A quantizer: a script that takes MODEL DATA.npz OUTPUT, or a peer of `eightfold benchmark --peers`.

    A script runs in its environment, or in this Python. What it writes is a SavedModel, which this Python's
    TensorFlow runs; a peer's model has a worker of its own.
    """

    name: str
    folder: str
    script: Path | None = None
    arguments: tuple[str, ...] = ()
    environment: Environment | None = None
    entry: Entry | None = None

    def quantize(self, work: Path, model: Path, data: Path, output: Path) -> dict[str, Any]:
        """Quantizes a SavedModel; returns what that took: seconds, peak memory in MB, versions.

        Raises:
            SystemExit: the script failed; with the last lines that it wrote.
        """
        if self.entry is None:
            return self._run([str(model), str(data), str(output), *self.arguments], work)
        output.mkdir(parents=True, exist_ok=True)
        asked = Conversion(str(model), output, "serving_default", str(data))
        return run_converter(self.entry, self.entry.peer.converter(), asked)

    def subject(self, output: Path) -> Subject:
        """The quantized model, to be measured."""
        if self.entry is None:
            return Subject(self.name, output)
        return Subject(self.name, output, self.entry.peer.worker(), self.entry.peer.variables)

    def _run(self, arguments: Sequence[str], work: Path) -> dict[str, Any]:
        python = sys.executable if self.environment is None else self.environment.python(work / "venv")
        variables = {} if self.environment is None else SOURCES
        done = subprocess.run(
            [python, str(self.script), *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = "\n".join(done.stderr.strip().splitlines()[-8:])
            raise SystemExit(f"{self.name} failed with exit code {done.returncode}:\n{last}")
        told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return told


EIGHTFOLD = Tool("eightfold int8", "quantize_eightfold", HERE / "quantize_eightfold.py")
INC_TOOL = Tool("INC int8", "inc_quantize", HERE / "peers/inc_quantize.py", environment=INC)
OPENVINO_TOOL, ONNXRUNTIME_TOOL, LITERT_TOOL = (
    Tool(str(Entry(peer)), f"{peer.name}_quantize", entry=Entry(peer)) for peer in (OPENVINO, ONNXRUNTIME, LITERT)
)


def in_bands(count: int) -> Tool:
    """eightfold for one picture as soon as possible, computed in so many bands."""
    script = HERE / "quantize_eightfold.py"
    return Tool(EIGHTFOLD.name, f"quantize_eightfold_{count}_bands", script, (str(count),))


@dataclass(frozen=True, slots=True)
class Network:
    """A network's files in `work`: exported once, quantized by each tool."""

    architecture: Architecture
    work: Path
    photos: Path | None = None

    @property
    def folder(self) -> Path:
        return self.work / self.architecture.name

    def exported(self) -> tuple[Subject, Subject]:
        """The float network with its variables frozen, and as Keras exports it."""
        folder = self.folder / "fp32"
        if not (folder / "frozen.pb").exists():
            shutil.rmtree(folder, ignore_errors=True)
            print(f"exporting {self.architecture.name}", flush=True)
            chosen = [] if self.photos is None else ["--photos", str(self.photos)]
            command = [sys.executable, str(HERE / "models.py"), self.architecture.name, str(folder), *chosen]
            subprocess.run(command, check=True, stderr=subprocess.PIPE)
        return (
            Subject("TF fp32", folder / "frozen.pb"),
            Subject("TF fp32 as exported", folder / "saved_model"),
        )

    def calibration(self, count: int) -> Path:
        """An .npz file with `count` images as `x`."""
        path = self.folder / f"images-{count}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, x=images(self.architecture, count, self.photos))
        return path

    def quantized(self, tool: Tool, count: int, *, again: bool) -> tuple[Subject, dict[str, Any]]:
        """The network quantized by a tool with `count` images, and what that took: seconds, memory, size."""
        output = self.folder / tool.folder
        record = self.folder / f"{tool.folder}.json"
        if again or not record.exists():
            record.unlink(missing_ok=True)
            shutil.rmtree(output, ignore_errors=True)
            print(f"quantizing {self.architecture.name} with {tool.name}", flush=True)
            told = tool.quantize(self.work, self.folder / "fp32" / "saved_model", self.calibration(count), output)
            record.write_text(json.dumps({**told, "images": count, "size_mb": size_mb(output)}) + "\n")
        return tool.subject(output), json.loads(record.read_text())
