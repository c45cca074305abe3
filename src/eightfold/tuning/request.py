"""What is asked of a search, checked before anything is measured."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from eightfold.bench.machine import this_machine
from eightfold.errors import ModelError, PlatformError, RecipeError
from eightfold.quantization.report import read_report, report_file
from eightfold.running.settings import Mode
from eightfold.system.allocators import installed
from eightfold.system.instructions import has_bfloat16
from eightfold.system.onednn import asked_for
from eightfold.system.packages import tensorflow_version
from eightfold.system.topology import topology
from eightfold.tf.graph_file import graph_file, graph_has, is_quantized
from eightfold.tuning.candidate import Aim, Variant
from eightfold.tuning.space import Space, space_of

__all__ = ["Request", "versions"]

VARIANTS: tuple[Variant, ...] = ("fp32", "bf16", "int8")
"""The one that is expected to be fastest last."""
NCHW = re.compile(rb'data_format(\x12\x06\x12\x04|"\s*value\s*\{\s*s:\s*")NCHW')
"""The attribute of an op, as protocol buffers write it in binary and as text; not one that an op may have."""


@dataclass(frozen=True)
class Request:
    """What was asked for, checked.

    Raises:
        ModelError: there is no such model.
        RecipeError: a value makes no sense.
        PlatformError: this CPU has no bfloat16.
    """

    model: Path
    mode: Mode
    int8: Path | None
    precision: Sequence[str]
    batch_sizes: Sequence[int]
    env: Mapping[str, str]
    aim: Aim
    budget: str | float | None = None

    def __post_init__(self) -> None:
        for path in filter(None, (self.model, self.int8)):
            check_model(path)
        if self.mode not in ("latency", "throughput"):
            raise RecipeError(f"the mode is latency or throughput, not {self.mode!r}")
        if unknown := sorted(set(self.precision) - set(VARIANTS)):
            raise RecipeError(f"unknown precision {unknown[0]!r}; expected some of {', '.join(VARIANTS)}")
        if "fp32" in self.precision and self.own == "int8":
            raise RecipeError(f"precision fp32 needs a float model, and {self.model} is in 8 bits")
        if "int8" in self.precision and self.int8 is None and self.own != "int8":
            raise RecipeError("precision int8 needs the 8-bit model that was made from this one: give it with --int8")
        if "bf16" in self.precision and not has_bfloat16():
            raise PlatformError("precision bf16 needs a CPU that has bfloat16, and this one has not; leave it out")
        if any(size < 1 for size in self.batch_sizes):
            raise RecipeError(f"a batch size is 1 or more, not {min(self.batch_sizes)}")
        if self.mode == "latency" and len(set(self.batch_sizes)) > 1:
            raise RecipeError("the latency of one batch size is searched for; give one, or choose --mode throughput")
        limit = self.aim.max_latency_ms
        if limit is not None and (self.mode == "latency" or not limit > 0):
            raise RecipeError(f"--max-latency-ms is for --mode throughput, and more than 0; received {limit:g}")

    @property
    def own(self) -> Variant:
        """The form of the model itself."""
        return "int8" if self.int8 is None and is_quantized(self.model) else "fp32"

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The forms of the model to try: of those given all, unless some were named."""
        asked = self.precision or (self.own, *(("int8",) if self.int8 else ()))
        return tuple(name for name in VARIANTS if name in asked)

    @property
    def paths(self) -> dict[Variant, Path]:
        """The model of each form."""
        return {"fp32": self.model, "bf16": self.model, "int8": self.int8 or self.model}

    def command(self) -> str:
        """The command line that asks for the same."""
        words = ["eightfold", "tune", str(self.model), "--mode", self.mode]
        words += ["--max-latency-ms", f"{self.aim.max_latency_ms:g}"] if self.aim.max_latency_ms else []
        words += ["--budget", _length(self.budget)] if self.budget is not None else []
        words += ["--batch-sizes", ",".join(map(str, self.batch_sizes))] if self.batch_sizes else []
        words += ["--int8", str(self.int8)] if self.int8 else []
        words += ["--precision", ",".join(self.precision)] if self.precision else []
        words += [word for pair in self.env.items() for word in ("--env", "=".join(pair))]
        return shlex.join(words)

    def space(self) -> Space:
        """The candidates of this machine."""
        return space_of(
            self.mode,
            topology(),
            batch_sizes=self.batch_sizes,
            variants=self.variants,
            allocators=("system", *installed()),
            channels_first=_is_channels_first(self.model),
            bands=_bands(self.int8 or self.model),
            env=self.env,
            onednn=asked_for(),
        )

    def digest(self, space: Space, *fed: object) -> str:
        """One text for all that a turn depends on, but for what else runs on the machine.

        Args:
            space: the candidates.
            fed: what the model is fed with, as values that print what they are.
        """
        machine = this_machine()
        axes = (space.variants, space.places, space.batches, *space.switches)
        candidates = [space.default.key, *(other.key for axis in axes for other in axis(space.start))]
        contents = [_content(path) for path in dict.fromkeys(self.paths.values())]
        facts = (machine.cpu, machine.cores, versions(), asdict(self.aim), candidates, contents, fed)
        return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


def _length(budget: str | float) -> str:
    """A length of time as the command line takes it."""
    return budget if isinstance(budget, str) else f"{budget:g}s"


def versions() -> dict[str, str]:
    """Of what runs the model, as installed here; nothing is imported for that."""
    found: dict[str, str] = {}
    with suppress(PackageNotFoundError):
        found["eightfold"] = version("eightfold")
    with suppress(PackageNotFoundError):
        found["tensorflow"] = tensorflow_version()
    return found


def check_model(path: Path) -> None:
    """Says what TensorFlow would say in twenty lines.

    Raises:
        ModelError: the path is no SavedModel and no frozen graph.
    """
    if not path.exists():
        raise ModelError(f"there is no model at {path}; expected a SavedModel folder or a frozen .pb file")
    if graph_file(path) is None or (path.is_file() and path.suffix != ".pb"):
        raise ModelError(
            f"{path} cannot be tuned as it is: expected a SavedModel folder or a frozen .pb file; "
            "save a Keras model as one with model.export(folder)"
        )


def _bands(model: Path) -> int:
    """In how many bands a model computes its pictures; 1 where eightfold has not made it."""
    file = report_file(model)
    return int(read_report(model).recipe.get("bands", 1)) if file.is_file() else 1


def _is_channels_first(model: Path) -> bool:
    """Whether the model is a float graph with ops on images in NCHW."""
    return graph_has(NCHW, model) and not is_quantized(model)


def _content(model: Path) -> list[tuple[str, int, str]]:
    """The graph by its content, the weights by their size."""
    graph = graph_file(model)
    assert graph is not None  # see `check_model`
    weights = sorted(model.glob("variables/*")) if model.is_dir() else []
    digest = hashlib.blake2b(graph.read_bytes(), digest_size=16).hexdigest()
    return [(graph.name, graph.stat().st_size, digest), *((file.name, file.stat().st_size, "") for file in weights)]
