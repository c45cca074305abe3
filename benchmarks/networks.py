"""What a benchmark measures: a network in its forms on disk, each made by a process of its own and kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environments import INC, OPENVINO, Environment
from models import Architecture, images

from eightfold.bench import Subject, size_mb

__all__ = ["EIGHTFOLD", "INC_TOOL", "OPENVINO_TOOL", "Network", "Tool"]

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Tool:
    """A quantizer: the script that quantizes in its environment, and the worker that runs the result.

    `worker` is None where the result is a SavedModel that this Python's TensorFlow runs.
    """

    name: str
    script: Path
    environment: Environment | None = None
    worker: Path | None = None

    def python(self, work: Path) -> str:
        return sys.executable if self.environment is None else self.environment.python(work)

    @property
    def variables(self) -> Mapping[str, str]:
        return {} if self.environment is None else self.environment.variables


EIGHTFOLD = Tool("eightfold int8", HERE / "quantize_eightfold.py")
OPENVINO_TOOL = Tool("OpenVINO int8", HERE / "peers/openvino_quantize.py", OPENVINO, HERE / "peers/openvino_worker.py")
INC_TOOL = Tool("INC int8", HERE / "peers/inc_quantize.py", INC)


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
        output = self.folder / tool.script.stem
        record = self.folder / f"{tool.script.stem}.json"
        if again or not record.exists():
            record.unlink(missing_ok=True)
            shutil.rmtree(output, ignore_errors=True)
            print(f"quantizing {self.architecture.name} with {tool.name}", flush=True)
            model = self.folder / "fp32" / "saved_model"
            told = run_tool(tool, self.work, [str(model), str(self.calibration(count)), str(output)])
            record.write_text(json.dumps({**told, "images": count, "size_mb": size_mb(output)}) + "\n")
        return self._subject(tool, output), json.loads(record.read_text())

    def _subject(self, tool: Tool, output: Path) -> Subject:
        if tool.worker is None:
            return Subject(tool.name, output)
        command = (tool.python(self.work), str(tool.worker))
        return Subject(tool.name, output, command, tool.variables)


def run_tool(tool: Tool, work: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """Runs a quantizer's script; its last line is JSON.

    Raises:
        SystemExit: the script failed; with the last lines that it wrote.
    """
    done = subprocess.run(
        [tool.python(work), str(tool.script), *arguments],
        env={**os.environ, **tool.variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise SystemExit(f"{tool.name} failed with exit code {done.returncode}:\n{last}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told
