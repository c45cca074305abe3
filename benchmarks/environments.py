"""Each peer's own virtual environment, made when it is first needed and remade when its pins change."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["INC", "OPENVINO", "Environment"]

SOURCES = Path(__file__).parents[1] / "src"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment: its packages, those installed without dependencies, the Pythons that do."""

    name: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()
    pythons: tuple[tuple[int, int], ...] = ((3, 10), (3, 11), (3, 12), (3, 13))

    def python(self, work: Path) -> str:
        """The interpreter of the environment, which is made in `work` if it is not there."""
        folder = work / "venv" / self.name
        stamp, wanted = folder / "installed.txt", "\n".join((*self.packages, *self.alone)) + "\n"
        interpreter = str((folder / "bin" / "python").absolute())
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            print(f"making the environment of {self.name} in {folder}", flush=True)
            subprocess.run([self._base(), "-m", "venv", folder], check=True)
            install = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*install, *self.packages], check=True)
            if self.alone:
                subprocess.run([*install, "--no-deps", *self.alone], check=True)
            stamp.write_text(wanted)
        return interpreter

    @property
    def variables(self) -> dict[str, str]:
        """What lets scripts in the environment import the protocol, which needs the standard library only."""
        return {"PYTHONPATH": str(SOURCES)}

    def _base(self) -> str:
        if sys.version_info[:2] in self.pythons:
            return sys.executable
        for major, minor in self.pythons:
            if found := shutil.which(f"python{major}.{minor}"):
                return found
        versions = ", ".join(f"{major}.{minor}" for major, minor in self.pythons)
        raise SystemExit(f"{self.name} needs one of Python {versions}; none is on the PATH")


OPENVINO = Environment("openvino", ("openvino==2026.4.1", "nncf==3.4.0"))

# The newest Intel Neural Compressor with the newest TensorFlow that its own tests install. Without its
# dependencies, as they would put the package `tensorflow` over `tensorflow-cpu`; with a setuptools that still
# has the pkg_resources which it imports.
INC = Environment(
    "inc",
    (
        "tensorflow-cpu==2.19.0",
        "setuptools<81",
        "prettytable",
        "psutil",
        "py-cpuinfo",
        "pydantic",
        "pyyaml",
    ),
    alone=("neural-compressor-tf==3.10",),
    pythons=((3, 11), (3, 12)),
)
