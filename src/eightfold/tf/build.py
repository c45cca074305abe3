"""The TensorFlow that is installed: its version, its oneDNN, and what that makes of this CPU."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from eightfold.errors import PlatformError
from eightfold.system.onednn import inherited

__all__ = ["Build", "OneDnn", "installed_build", "introduction"]

_MARK = "eightfold_probe "
_LINE = re.compile(
    r"^(?:onednn|dnnl)_verbose,(?:v\d+,)?(?:[\d.]+,)?(?:primitive,)?(?P<kind>info|exec),(?P<rest>.*)$", re.MULTILINE
)
"""oneDNN 2 and 3, with and without a format version, a time and the name of the component."""

_INFO = {"version": r"(?:oneDNN|DNNL) v([\d.]+)", "runtime": r"cpu,runtime:(\w+)", "isa": r"cpu,isa:(.*)"}


@dataclass(frozen=True, slots=True)
class OneDnn:
    """oneDNN in its own words.

    Attributes:
        version: as "3.7.3".
        runtime: what its threads come from: "threadpool" (TensorFlow's own, of Eigen), "OpenMP", "sequential" or "TBB".
        isa: the instructions that it will use, in words.
        convolution: its implementation of an 8-bit convolution, as "jit_int8:avx512_core_vnni"; `None` where none ran.
    """

    version: str
    runtime: str
    isa: str
    convolution: str | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """A build of TensorFlow.

    Attributes:
        version: of TensorFlow.
        onednn: what oneDNN says of itself; `None` where this build has none.
        refusal: why 8-bit models do not run here, in words; `None` where they do.
    """

    version: str
    onednn: OneDnn | None
    refusal: str | None


def installed_build() -> Build | None:
    """What is installed, found out by a process of its own that computes a little; `None` where there is none.

    Raises:
        PlatformError: TensorFlow is installed and cannot be used.
    """
    if find_spec("tensorflow") is None:
        return None
    run = subprocess.run(
        [sys.executable, "-m", "eightfold.tf.probe"],
        cwd=Path(__file__).parents[2],  # so that the process finds this eightfold, also where it is not installed
        env={**inherited(), "ONEDNN_VERBOSE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    answer = next((line for line in reversed(run.stderr.splitlines()) if line.startswith(_MARK)), None)
    if answer is None:
        last = (run.stderr.strip().splitlines() or [f"it ended with code {run.returncode}"])[-1]
        raise PlatformError(f"TensorFlow is installed and cannot be used: {last}")
    said = json.loads(answer.removeprefix(_MARK))
    return Build(said["version"], introduction(run.stdout), said["refusal"])


def introduction(verbose: str) -> OneDnn | None:
    """What oneDNN says of itself in the lines that ONEDNN_VERBOSE=1 makes it write; `None` without such lines.

    See https://uxlfoundation.github.io/oneDNN/dev_guide_verbose.html.
    """
    lines = [(line["kind"], line["rest"]) for line in _LINE.finditer(verbose)]
    info = [rest for kind, rest in lines if kind == "info"]
    said = {name: found[1] for name, pattern in _INFO.items() for rest in info if (found := re.match(pattern, rest))}
    if not said:
        return None
    ran = (re.match(r"cpu,convolution,([^,]+),", rest) for kind, rest in lines if kind == "exec")
    convolution = next((found[1] for found in ran if found), None)
    version, runtime, isa = (said.get(name, "unknown") for name in ("version", "runtime", "isa"))
    return OneDnn(version, runtime, isa, convolution)
