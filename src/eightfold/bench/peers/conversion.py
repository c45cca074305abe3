"""A peer's model of a float SavedModel: made once for the same model, data and versions, and kept."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.bench.arrays import write_arrays
from eightfold.bench.cache import cache, locked
from eightfold.bench.machine import INT8_FLAGS
from eightfold.bench.peers.converter import Conversion
from eightfold.bench.peers.environment import Tell, silent
from eightfold.bench.peers.peer import Entry, Peer
from eightfold.errors import ModelError
from eightfold.quantization.placement import written_beside
from eightfold.system.instructions import cpu_flags
from eightfold.system.packages import tensorflow_version

__all__ = ["MADE", "Samples", "converted", "key", "run_converter"]

Samples = Mapping[str, npt.NDArray[Any]]
"""Examples for each input of the signature, by its name."""

MADE = "made.json"
"""Beside a converted model: seconds, peak memory in MB and versions of its conversion."""

MOST_SAMPLES = 300
"""As many as NNCF takes by default; more change the ranges of no peer much."""


def converted(entry: Entry, model: Path, samples: Samples, signature: str, tell: Tell = silent) -> Path:
    """The folder of the peer's model.

    Args:
        entry: which peer, and whether in 8 bits.
        model: a float SavedModel.
        samples: to quantize with; the first 300 of them.
        signature: of the model.
        tell: told what is made.

    Raises:
        ModelError: the peer cannot convert or quantize the model; with the last line that it wrote.
        PlatformError: the peer's environment cannot be made.
    """
    used = {name: array[:MOST_SAMPLES] for name, array in samples.items()} if entry.quantized else {}
    folder = cache("peers") / "models" / f"{entry.peer.name}-{key(entry.peer, model, used, signature)}"
    if not folder.exists():
        command = entry.peer.converter(tell)  # may take minutes: before the lock
        with locked(folder):
            if not folder.exists():
                tell(f"converting the model for {entry}", 0, None)
                _make(entry, command, folder, model, used, signature)
    return folder


def key(peer: Peer, model: Path, samples: Samples, signature: str) -> str:
    """Names a conversion by all that decides its result."""
    digest = hashlib.sha256()
    vnni = "with VNNI" if INT8_FLAGS["vnni"] & cpu_flags() else "without VNNI"  # peers quantize for the CPU at hand
    for part in (*_pins(peer), vnni, signature, *(file.read_text("utf-8") for file in peer.sources)):
        digest.update(part.encode() + b"\0")
    for file in _files(model):
        digest.update(f"{file.relative_to(model)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    for name, array in sorted(samples.items()):
        digest.update(f"{name}\0{array.dtype}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def run_converter(
    entry: Entry, command: Iterable[str], asked: Conversion, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Runs a converter's process.

    Returns:
        Its answer: seconds, peak memory in MB, versions.

    Raises:
        ModelError: it failed; with the last line that it wrote.
    """
    done = subprocess.run(
        [*command, *asked.arguments()],
        env={**os.environ, **(env or entry.peer.variables)},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        last = said[-1].strip() if said else f"its converter ended with code {done.returncode} and wrote nothing"
        raise ModelError(f"{entry} cannot be made of {asked.model}: {last}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def _make(entry: Entry, command: Iterable[str], folder: Path, model: Path, samples: Samples, signature: str) -> None:
    with tempfile.TemporaryDirectory(prefix="eightfold-") as scratch, written_beside(folder, overwrite=True) as place:
        data = f"{scratch}/samples.npz" if samples else None
        if data is not None:
            write_arrays(data, samples)
        place.mkdir()
        told = run_converter(entry, command, Conversion(str(model), place, signature, data))
        (place / MADE).write_text(json.dumps({**told, "precision": str(entry).rpartition(" ")[2]}) + "\n", "utf-8")


def _pins(peer: Peer) -> tuple[str, ...]:
    pins = (*peer.environment.packages, *peer.environment.alone)
    return (*pins, f"tensorflow=={_tensorflow()}") if peer.converts_here else pins


def _tensorflow() -> str:
    try:
        return tensorflow_version()
    except PackageNotFoundError:
        return "unknown"


def _files(model: Path) -> list[Path]:
    """What a SavedModel consists of; what programs keep with it (`assets.extra`) changes nothing."""
    files = (file for file in sorted(model.rglob("*")) if file.is_file())
    return [file for file in files if file.relative_to(model).parts[0] not in ("assets.extra", "fingerprint.pb")]
