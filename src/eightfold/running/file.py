"""What `eightfold tune` found out about a model, kept with the model: `runtime.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast, get_args

from eightfold.errors import ModelError
from eightfold.quantization.placement import written_beside
from eightfold.running.settings import Mode, Runtime

__all__ = ["RUNTIME_FILE", "Measured", "RuntimeFile", "Tuned", "place", "read", "tuned_model", "write"]

RUNTIME_FILE = "assets.extra/runtime.json"
"""Inside a SavedModel. Beside a frozen net.pb, it is net.runtime.json."""

MODES: tuple[Mode, ...] = get_args(Mode)
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """What the settings reached when they were found.

    Attributes:
        images_per_second: of all instances together.
        p50_ms, p90_ms, p99_ms: the time of one batch that so many percent of the batches kept to.
    """

    images_per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best settings for one purpose.

    Attributes:
        settings: how to run the model.
        measured: what that reached.
        machine: where; `eightfold.bench.machine.Machine` as a table.
        versions: of what ran the model.
        when: date and time, ISO 8601.
        command: what found the settings.
        model: the model that the settings were measured with where it is not the one that was tuned: one of another
            precision, as a path from the tuned SavedModel's folder (`../net-int8`), or from the folder of the frozen
            graph or of the file of settings.
        trials: what was tried, each a table.
    """

    settings: Runtime
    measured: Measured
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    when: str
    command: str
    model: str | None = None
    trials: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The value as JSON can hold it."""
        return {**asdict(self), "settings": self.settings.to_json(), "trials": list(self.trials)}

    @classmethod
    def from_json(cls, document: Any) -> Tuned:
        """The value of `to_json`.

        Raises:
            ModelError: something is missing, unknown, or not what it must be.
        """
        table = _table(document, "a mode")
        _same_names(table, [one.name for one in fields(cls)], optional=("model", "trials"))
        for name, (kind, expected) in _KINDS.items():
            if name in table and not isinstance(table[name], kind):
                raise ModelError(f"{name} is {table[name]!r}, expected {expected}")
        return cls(
            **{
                **table,
                "settings": Runtime.from_json(table["settings"]),
                "measured": _measured(table["measured"]),
                "trials": tuple(_table(trial, "a trial") for trial in table.get("trials", ())),
            }
        )


@dataclass(frozen=True, slots=True)
class RuntimeFile:
    """The settings of a model, for one mode or for both."""

    modes: Mapping[Mode, Tuned] = field(default_factory=dict)

    def choose(self, mode: Mode | None) -> tuple[Mode, Tuned]:
        """The settings for a mode; where none is named, for the only one, or of both for latency.

        Raises:
            ModelError: the model was not tuned for that mode.
        """
        wanted: Mode = mode or ("latency" if "latency" in self.modes else "throughput")
        if wanted not in self.modes:
            known = ", ".join(self.modes) or "none"
            raise ModelError(
                f"there are no settings for {wanted}, only for: {known}; find them with: "
                f"eightfold tune MODEL --mode {wanted}"
            )
        return wanted, self.modes[wanted]


def place(model: str | Path) -> Path:
    """Where a model's settings are kept: a SavedModel folder, a frozen .pb, or the file itself."""
    path = Path(model)
    if path.is_dir() or path.suffix not in (".json", ".pb"):
        return path / RUNTIME_FILE
    return path if path.suffix == ".json" else path.with_suffix(".runtime.json")


def tuned_model(model: str | Path, tuned: Tuned) -> Path | None:
    """The model to run with the settings: the one that they were measured with.

    Args:
        model: what `read` was given.
        tuned: what it gave.

    Returns:
        Its path; None for a file of settings by itself that names none.

    Raises:
        ModelError: it is not there.
    """
    path = _owner(Path(model))
    if tuned.model is not None:
        folder = Path(model).parent if path is None else path if path.is_dir() else path.parent
        path = Path(os.path.normpath(folder / tuned.model))
    if path is not None and not path.exists():
        raise ModelError(f"the settings in {place(model)} are for the model {path}, which is not there")
    return path


def _owner(path: Path) -> Path | None:
    """The model that settings lie in or beside."""
    if path.suffix != ".json" or path.is_dir():
        return path
    if path.parts[-2:] == Path(RUNTIME_FILE).parts:
        return path.parent.parent
    graph = path.with_name(path.name.removesuffix(".runtime.json") + ".pb")
    return graph if path.name.endswith(".runtime.json") and graph.exists() else None


def read(model: str | Path) -> RuntimeFile:
    """The settings that were found for a model.

    Args:
        model: a SavedModel folder, a frozen .pb file, or a runtime.json.

    Raises:
        ModelError: there is no such model, it was not tuned, or its file is damaged.
    """
    file = place(model)
    if not Path(model).exists():
        raise ModelError(f"there is nothing at {model}; expected a SavedModel folder, a frozen .pb or a runtime.json")
    if not file.exists():
        raise ModelError(
            f"{model} has no {file.name}: nobody has looked for its best settings; do so with: eightfold tune {model}"
        )
    try:
        return _parsed(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{file} is damaged: it is no JSON: {error}") from error
    except ModelError as error:
        raise ModelError(f"{file} is damaged: {error}") from error


def write(model: str | Path, mode: Mode, tuned: Tuned) -> Path:
    """Keeps the settings with the model, beside those of the other mode.

    Returns:
        The file, which is never half-written.

    Raises:
        ModelError: there is no such model, or the file that is there is damaged.
        OutputError: it cannot be written.
    """
    file = place(model)
    if not Path(model).exists() and file != Path(model):
        raise ModelError(f"there is nothing at {model}; expected a SavedModel folder or a frozen .pb")
    before = read(model).modes if file.exists() else {}
    modes = {name: one.to_json() for name, one in {**before, mode: tuned}.items()}
    with written_beside(file, overwrite=True) as new:
        new.write_text(json.dumps({"format": _FORMAT, "modes": modes}, indent=1, allow_nan=False) + "\n", "utf-8")
    return file


_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "settings": (Mapping, "a table"),
    "measured": (Mapping, "a table"),
    "machine": (Mapping, "a table"),
    "versions": (Mapping, "a table"),
    "when": (str, "a date as text"),
    "command": (str, "a command as text"),
    "model": ((str, type(None)), "a path as text, or null"),
    "trials": (list, "a list"),
}


def _parsed(document: Any) -> RuntimeFile:
    table = _table(document, "the file")
    _same_names(table, ["format", "modes"])
    if table["format"] != _FORMAT:
        raise ModelError(f"format is {table['format']!r}, expected {_FORMAT}: another eightfold wrote it")
    modes = _table(table["modes"], "modes")
    if unknown := sorted(set(modes) - set(MODES)):
        raise ModelError(f"unknown mode {unknown[0]!r}; expected some of {', '.join(MODES)}")
    return RuntimeFile({cast(Mode, name): _within(name, Tuned.from_json, one) for name, one in modes.items()})


def _within(place: str, parse: Callable[[Any], Tuned], value: Any) -> Tuned:
    try:
        return parse(value)
    except ModelError as error:
        raise ModelError(f"in {place}: {error}") from error


def _measured(table: Mapping[str, Any]) -> Measured:
    names = [one.name for one in fields(Measured)]
    _same_names(table, names)
    for name in names:
        if not isinstance(table[name], int | float) or isinstance(table[name], bool):
            raise ModelError(f"measured {name} is {table[name]!r}, expected a number")
    return Measured(**{name: float(table[name]) for name in names})


def _table(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ModelError(f"{what} is {value!r}, expected a table")
    return value


def _same_names(table: Mapping[str, Any], names: list[str], optional: tuple[str, ...] = ()) -> None:
    if missing := [name for name in names if name not in table and name not in optional]:
        raise ModelError(f"{missing[0]} is missing")
    if unknown := sorted(set(table) - set(names)):
        raise ModelError(f"unknown name {unknown[0]!r}; expected {', '.join(names)}")
