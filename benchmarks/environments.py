"""The environment of Intel Neural Compressor, which quantizes but is no other runtime: its models run on TensorFlow."""

from __future__ import annotations

from pathlib import Path

from eightfold.bench.peers.environment import Environment

__all__ = ["INC", "SOURCES"]

SOURCES = {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
"""What lets scripts in other environments import the protocol, which needs the standard library only."""

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
