"""How the models of `eightfold benchmark` are run: from options, what was tuned, and defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from eightfold.bench.named import located
from eightfold.bench.shares import Placement, placed
from eightfold.errors import RecipeError
from eightfold.running.file import RuntimeFile, read
from eightfold.running.launch import with_given
from eightfold.running.settings import Allocator, Layout, Mode, Runtime
from eightfold.system.topology import topology

__all__ = ["TUNED", "Wanted", "instances_of"]

TUNED = "tuned"
"""The word for the settings that each model's own file holds."""

BATCH_SIZES: Mapping[Mode, int] = {"latency": 1, "throughput": 32}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user says about how models are run. None leaves it to what was tuned, or to the default.

    Attributes:
        named_mode: what `--mode` says.
        tuned: `tuned`, or a model or file with tuned settings.
        placement: instances and their cores.
        env: environment variables.
    """

    named_mode: Mode | None = None
    batch_size: int | None = None
    intra: int | None = None
    inter: int | None = None
    placement: Placement = field(default_factory=Placement)
    layout: Layout | None = None
    allocator: Allocator | None = None
    bfloat16: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    tuned: str | None = None

    def mode(self, first: str) -> Mode:
        """What counts: as the user says, or as the first model was tuned, or as the other options suggest.

        Raises:
            ModelError: the model was not tuned.
        """
        if self.named_mode is not None:
            return self.named_mode
        if self.tuned is not None:
            return self._file(first).choose(None)[0]
        several = self.placement.instances not in (None, 1) or self.placement.numa
        return "throughput" if several or (self.batch_size or 1) > 1 else "latency"

    def runtime(self, model: str, mode: Mode) -> Runtime:
        """The settings of a model.

        Raises:
            ModelError: tuned settings are asked for, and there are none.
        """
        start = Runtime(batch_size=BATCH_SIZES[mode])
        if self.tuned is not None:
            start, _ = with_given(self._file(model).choose(mode)[1].settings)
            if self.placement != Placement():
                start = replace(start, intra=None, inter=None)  # these belong to the instances that were tuned
        given = {name: value for name, value in self._given() if value is not None}
        runtime = replace(start, **given, env={**start.env, **self.env})
        return placed(runtime, self.placement, mode, topology())

    def _given(self) -> Iterator[tuple[str, Any]]:
        yield from {
            name: getattr(self, name) for name in ("batch_size", "intra", "inter", "layout", "allocator")
        }.items()
        yield "precision", "bf16" if self.bfloat16 else None

    def _file(self, model: str) -> RuntimeFile:
        return read(located(model) if self.tuned in (None, TUNED) else self.tuned)


def instances_of(text: str | None) -> int | Literal["auto"] | None:
    """The number of `--instances`, or its `auto`.

    Raises:
        RecipeError: it is neither.
    """
    if text is None or text == "auto":
        return "auto" if text else None
    if not text.isdecimal() or int(text) < 1:
        raise RecipeError(f"--instances is {text!r}; expected a whole number from 1, or auto")
    return int(text)
