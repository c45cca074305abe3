"""The recipe: what the user wants of a quantized model, as a value and as a TOML file.

    observer = "percentile"
    percentile = 99.99
    exclude = ["^head/", "logits"]

    [[override]]
    op = "DepthwiseConv2dNative"
    observer = "mse"

    [[override]]
    match = "block1/conv"
    keep = "fp32"

Regular expressions are searched for anywhere in a node's name (`re.search`): anchor them with ^ and $.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from eightfold.calibration.observers import did_you_mean
from eightfold.errors import OutputError, RecipeError
from eightfold.quantization.recipe_rules import check

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Override", "Recipe", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a recipe says about one node.

    Args:
        observer: the name of the observer of its activations.
        percentile: the share of values kept by the percentile observer, in %.
        per_channel: whether its weights have one scale for each output channel.
        fp32_reason: why the node must stay fp32, in words; `None` if it may become int8.
    """

    observer: str
    percentile: float
    per_channel: bool
    fp32_reason: str | None = None

    @property
    def observer_options(self) -> Mapping[str, Any]:
        """The options of `make_observer` that follow from the recipe."""
        return {"percentile": self.percentile} if self.observer == "percentile" else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Other settings for some nodes: those whose name `match` finds and whose op type is `op`.

    Args:
        match: a regular expression searched for in the node's name; `None` for any name.
        op: an op type of TensorFlow, such as `Conv2D`; `None` for any op.
        observer, percentile, per_channel: as in `Recipe`; `None` leaves the setting as it is.
        keep: `"fp32"` keeps the nodes in fp32.

    Raises:
        RecipeError: a value of the wrong type, a bad regular expression, neither `match` nor `op`, or nothing
            that is set.
    """

    match: str | None = None
    op: str | None = None
    observer: str | None = None
    percentile: float | None = None
    per_channel: bool | None = None
    keep: Literal["fp32"] | None = None

    def __post_init__(self) -> None:
        _check_fields(self)
        if self.match is None and self.op is None:
            raise RecipeError("an override must say which nodes it is for: expected 'match' or 'op', received none")
        if all(getattr(self, key) is None for key in ("observer", "percentile", "per_channel", "keep")):
            raise RecipeError(
                "an override must change something: "
                "expected 'observer', 'percentile', 'per_channel' or 'keep', received none"
            )

    def applies_to(self, node_name: str, op: str) -> bool:
        """Whether a node is among those that the override is for."""
        by_name = self.match is None or re.search(self.match, node_name) is not None
        return by_name and self.op in (None, op)

    @property
    def selection(self) -> str:
        """Which nodes the override is for, as the recipe writes it."""
        parts = [f"{key} = {value!r}" for key, value in (("match", self.match), ("op", self.op)) if value is not None]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the user wants of a quantized model.

    Args:
        observer: how the range of an activation follows from what calibration saw: a name of
            `eightfold.calibration.observers.OBSERVERS`.
        percentile: the share of values that the percentile observer keeps, in %.
        per_channel: one weight scale for each output channel; else one for each tensor.
        weight_bits: 8, or 7 where int8 instructions saturate; `None` chooses for this CPU.
        exclude: regular expressions; a node whose name contains one stays fp32.
        exclude_ops: op types that stay fp32, such as `MatMul`.
        offsets: tensors with values of both signs are unsigned codes with an offset, where that is possible.
        min_tensorflow: the oldest TensorFlow that must run the result, `major.minor`, 2.16 or newer.
        min_sqnr_db: the signal-to-quantization-noise ratio that the outputs must reach, in dB.
        fallback: verification may give regions back to fp32, for `min_sqnr_db` or where int8 is slower.
        overrides: other settings for some nodes; where several apply, the last one wins.

    Raises:
        RecipeError: a value of the wrong type or outside its range, or a bad regular expression.
    """

    observer: str = "minmax"
    percentile: float = 99.99
    per_channel: bool = True
    weight_bits: int | None = None
    exclude: tuple[str, ...] = ()
    exclude_ops: tuple[str, ...] = ()
    offsets: bool = True
    min_tensorflow: str = "2.16"
    min_sqnr_db: float = 10.0
    fallback: bool = True
    overrides: tuple[Override, ...] = field(default=())

    def __post_init__(self) -> None:
        for key in ("exclude", "exclude_ops", "overrides"):
            if isinstance(getattr(self, key), list):
                object.__setattr__(self, key, tuple(getattr(self, key)))
        if not (isinstance(self.overrides, tuple) and all(isinstance(o, Override) for o in self.overrides)):
            raise RecipeError(f"recipe key 'overrides': expected a list of Override, received {self.overrides!r}")
        _check_fields(self)

    def settings_for(self, node_name: str, op: str) -> Settings:
        """What the recipe says about a node; an exclusion is stronger than any override."""
        observer, percentile, per_channel, reason = self.observer, self.percentile, self.per_channel, None
        for override in self.overrides:
            if override.applies_to(node_name, op):
                observer = override.observer or observer
                percentile = percentile if override.percentile is None else override.percentile
                per_channel = per_channel if override.per_channel is None else override.per_channel
                if override.keep == "fp32":
                    reason = f"the recipe keeps nodes with {override.selection} in fp32"
        return Settings(observer, percentile, per_channel, self._exclusion(node_name, op) or reason)

    def _exclusion(self, node_name: str, op: str) -> str | None:
        if op in self.exclude_ops:
            return f"the recipe excludes every {op}"
        for pattern in self.exclude:
            if re.search(pattern, node_name):
                return f"the recipe excludes names with {pattern!r}"
        return None

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """The recipe that a TOML text describes; keys that it leaves out have their defaults.

        Raises:
            RecipeError: the text is not TOML, a key is unknown, or a value makes no sense.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"a recipe must be a TOML file, but this one cannot be parsed: {error}") from error
        known = {f.name for f in fields(cls)} - {"overrides"} | {"override"}
        _refuse_unknown(table, known)
        overrides = table.pop("override", [])
        if not (isinstance(overrides, list) and all(isinstance(entry, dict) for entry in overrides)):
            raise RecipeError(f"recipe key 'override': expected [[override]] tables, received {overrides!r}")
        return cls(**table, overrides=tuple(_override(entry, i) for i, entry in enumerate(overrides, start=1)))

    def to_toml(self) -> str:
        """The recipe as TOML, every setting spelled out; `from_toml` gives the same recipe back."""
        lines = _toml_lines(self)
        for override in self.overrides:
            lines += ["", "[[override]]", *_toml_lines(override)]
        return "\n".join(lines) + "\n"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Reads a recipe from a TOML file.

        Raises:
            RecipeError: the file cannot be read or is not a valid recipe; the message names the file.
        """
        try:
            return cls.from_toml(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeError(f"the recipe {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise RecipeError(f"the recipe {path} must be UTF-8 text: {error}") from error
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the recipe as a TOML file; an older file is replaced at once or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        target = Path(path)
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            beside.write_text(self.to_toml(), encoding="utf-8")
            beside.replace(target)
        except OSError as error:
            raise OutputError(f"the recipe cannot be written to {target}: {error.strerror}") from error
        finally:
            if beside.exists():
                beside.unlink()


def _check_fields(values: Recipe | Override) -> None:
    for f in fields(values):
        value = getattr(values, f.name)
        optional = f.default is None
        if f.name != "overrides" and not (optional and value is None):
            check(f.name, value)


def _refuse_unknown(table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            expected = ", ".join(sorted(known))
            raise RecipeError(f"unknown recipe key {key!r}: expected {expected}{did_you_mean(key, known)}")


def _override(entry: Mapping[str, Any], number: int) -> Override:
    try:
        _refuse_unknown(entry, {f.name for f in fields(Override)})
        return Override(**entry)
    except RecipeError as error:
        raise RecipeError(f"[[override]] number {number}: {error}") from error


def _toml_lines(values: Recipe | Override) -> list[str]:
    entries = ((f.name, getattr(values, f.name)) for f in fields(values) if f.name != "overrides")
    return [f"{key} = {_toml_value(value)}" for key, value in entries if value is not None]


def _toml_value(value: bool | float | str | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        # A JSON string is a TOML string but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else repr(value)
