"""What a run of the suite found, as values: figures for each model, and ratios between them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eightfold.bench.instances import Loaded, Turn
from eightfold.bench.machine import Machine
from eightfold.bench.process import Subject
from eightfold.bench.timer import Ratio, Timing, speedup, timing
from eightfold.running.settings import Mode, Runtime

if TYPE_CHECKING:
    from eightfold.bench.suite import Settings

__all__ = ["Comparison", "Measurement", "measured", "size_mb"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model's figures.

    Attributes:
        name: how the table calls it.
        model: its path.
        runtime: the settings that it was run with.
        size_mb: on disk, in MB (10^6 bytes); 0 for a network that is made when it is measured.
        peak_mb: the most resident memory of its processes, summed, runtime included, in MB.
        timing: of one batch, over all instances.
        images_per_second: of all instances together; the median over rounds.
        cores_busy: CPU time over time, of all instances together: 2.0 where two cores had work all the time.
        speedup: how many times faster than the first model of the comparison.
        versions: of what ran it.
        turns: what it did in each round.
        about: how it was run, as its worker tells it, by name: in training optimizer, precision and batch norms.
    """

    name: str
    model: str
    runtime: Runtime
    size_mb: float
    peak_mb: float
    timing: Timing
    images_per_second: float
    cores_busy: float
    speedup: Ratio
    versions: Mapping[str, str]
    turns: tuple[Turn, ...]
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def rounds_ms(self) -> tuple[float, ...]:
        """The median time of a batch in each round, in milliseconds."""
        return tuple(statistics.median(turn.latencies) * 1e3 for turn in self.turns)

    def rates(self, mode: Mode) -> list[float]:
        """Images per second in each round, from what the mode looks at; see `Settings.mode`."""
        return _rates(self.turns, mode)

    def document(self) -> dict[str, Any]:
        """The figures as JSON can hold them; of the single times only the median of each round."""
        kept = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "turns"}
        kept |= {name: asdict(kept[name]) for name in ("timing", "speedup", "runtime")}
        rates = [turn.images_per_second for turn in self.turns]
        return {**kept, "rounds_ms": list(self.rounds_ms), "rounds_images_per_second": rates}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models measured in turns in one run; ratios are to the first.

    Attributes:
        variables: those of `eightfold.system.variables` that were set in the environment. Settings of a model go
            before them, and an allocator in LD_PRELOAD does not reach the workers.
    """

    measurements: tuple[Measurement, ...]
    settings: Settings
    machine: Machine
    command: str
    when: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Measurement:
        """The measurement of that name; a KeyError where there is none."""
        for one in self.measurements:
            if one.name == name:
                return one
        raise KeyError(f"{name!r} was not measured; {', '.join(one.name for one in self.measurements)} were")

    def ratio(self, fast: str, slow: str) -> Ratio:
        """How many times faster the model `fast` is than the model `slow`, paired by round."""
        mode = self.settings.mode
        return speedup(self[slow].rates(mode), self[fast].rates(mode))

    def context(self) -> dict[str, Any]:
        """What the figures were taken on and with, as JSON can hold it."""
        return {
            "settings": asdict(self.settings),
            "machine": asdict(self.machine),
            "command": self.command,
            "when": self.when,
            "variables": dict(self.variables),
        }

    def document(self) -> dict[str, Any]:
        """All of it as one JSON document."""
        return {"models": [one.document() for one in self.measurements], **self.context()}

    def to_json(self) -> str:
        """JSON lines, one for each model; each carries the machine, the settings and the command with it."""
        return "".join(json.dumps({**one.document(), **self.context()}) + "\n" for one in self.measurements)


def measured(
    subjects: Sequence[Subject],
    loaded: Sequence[Loaded],
    turns: Sequence[Sequence[Turn]],
    peaks: Sequence[float],
    mode: Mode,
) -> tuple[Measurement, ...]:
    """The figures of each subject, from its turns and its peak memory in MB; speedups are over the first."""
    first = _rates(turns[0], mode)
    return tuple(
        Measurement(
            name=subject.name,
            model=str(subject.model),
            runtime=subject.runtime,
            size_mb=size_mb(subject.model),
            peak_mb=peak,
            timing=timing([turn.latencies for turn in own]),
            images_per_second=statistics.median(turn.images_per_second for turn in own),
            cores_busy=sum(turn.cpu_seconds for turn in own) / sum(turn.seconds for turn in own),
            speedup=speedup(first, _rates(own, mode)),
            versions=one.versions,
            turns=tuple(own),
            about=one.about,
        )
        for subject, one, own, peak in zip(subjects, loaded, turns, peaks, strict=True)
    )


def size_mb(model: str | Path) -> float:
    """What a file, or all files of a folder, take on disk, in MB (10^6 bytes)."""
    path = Path(model)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _rates(turns: Sequence[Turn], mode: Mode) -> list[float]:
    if mode == "throughput":
        return [turn.images_per_second for turn in turns]
    return [turn.batch_size / statistics.median(turn.latencies) for turn in turns]
