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

    [[override]]
    region = ["block5/conv", "block5/add"]     # every node on a path from the one to the other
    keep = "bf16"

Regular expressions are searched for anywhere in a node's name (`re.search`): anchor them with ^ and $.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from eightfold.calibration.observers import did_you_mean
from eightfold.errors import OutputError, RecipeError
from eightfold.graph.ir import Graph
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
        rounding: how its weights are rounded.
        fp32_reason: why the node must stay fp32, in words; `None` if it may become int8.
        bf16_reason: why it is to be computed in bfloat16, in words; `None` if it need not be.
    """

    observer: str
    percentile: float
    per_channel: bool
    rounding: str = "nearest"
    fp32_reason: str | None = None
    bf16_reason: str | None = None

    @property
    def observer_options(self) -> Mapping[str, Any]:
        """The options of `make_observer` that follow from the recipe."""
        return {"percentile": self.percentile} if self.observer == "percentile" else {}

    def under(self, override: Override) -> Settings:
        """The settings with those of an override over them."""
        given = {key: getattr(override, key) for key in ("observer", "percentile", "per_channel", "rounding")}
        changed = replace(self, **{key: value for key, value in given.items() if value is not None})
        if override.keep is None:
            return changed
        reason = f"the recipe keeps nodes with {override.selection} in {override.keep}"
        if override.keep == "fp32":
            return replace(changed, fp32_reason=reason, bf16_reason=None)
        return replace(changed, fp32_reason=None, bf16_reason=reason)


_SELECTORS = ("match", "op", "region")
_CHANGES = ("observer", "percentile", "per_channel", "rounding", "keep")


def _one_of(keys: tuple[str, ...]) -> str:
    *others, last = (repr(key) for key in keys)
    return f"{', '.join(others)} or {last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Other settings for some nodes: those whose name `match` finds, whose op type is `op`, and which lie in `region`.

    Args:
        match: a regular expression searched for in the node's name; `None` for any name.
        op: an op type of TensorFlow, such as `Conv2D`; `None` for any op.
        region: the names of two nodes: every node on a path from the first to the second, both included.
        observer, percentile, per_channel, rounding: as in `Recipe`; `None` leaves the setting as it is.
        keep: `"fp32"` keeps the nodes in fp32; `"bf16"` computes in bfloat16 what would have become int8.
        nodes: the names in `region`, filled in by `Recipe.bound`.

    Raises:
        RecipeError: a value of the wrong type, a bad regular expression, none of `match`, `op` and `region`, or
            nothing that is set.
    """

    match: str | None = None
    op: str | None = None
    region: tuple[str, str] | None = None
    observer: str | None = None
    percentile: float | None = None
    per_channel: bool | None = None
    rounding: str | None = None
    keep: Literal["fp32", "bf16"] | None = None
    nodes: frozenset[str] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.region, list):
            object.__setattr__(self, "region", tuple(self.region))
        _check_fields(self)
        if all(getattr(self, key) is None for key in _SELECTORS):
            raise RecipeError(
                f"an override must say which nodes it is for: expected {_one_of(_SELECTORS)}, received none"
            )
        if all(getattr(self, key) is None for key in _CHANGES):
            raise RecipeError(f"an override must change something: expected {_one_of(_CHANGES)}, received none")

    def bound(self, graph: Graph) -> Override:
        """The override with the nodes of its region filled in.

        Raises:
            RecipeError: the graph has no node of that name, or no path between the two.
        """
        if self.region is None:
            return self
        for name in self.region:
            if name not in graph:
                known = [node.name for node in graph]
                raise RecipeError(
                    f"region {list(self.region)}: the model has no node {name!r}{did_you_mean(name, known)}"
                )
        first, last = self.region
        nodes = graph.between(first, last)
        if not nodes:
            raise RecipeError(f"region {list(self.region)}: no path leads from the first node to the second")
        return replace(self, nodes=nodes)

    def applies_to(self, node_name: str, op: str) -> bool:
        """Whether a node is among those that the override is for."""
        if self.region is not None and self.nodes is None:
            raise ValueError(f"region {list(self.region)} is not known yet: expected a recipe bound to a graph")
        by_name = self.match is None or re.search(self.match, node_name) is not None
        return by_name and self.op in (None, op) and (self.nodes is None or node_name in self.nodes)

    @property
    def selection(self) -> str:
        """Which nodes the override is for, as the recipe writes it."""
        chosen = {"match": self.match, "op": self.op, "region": self.region and list(self.region)}
        return ", ".join(f"{key} = {value!r}" for key, value in chosen.items() if value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the user wants of a quantized model.

    Args:
        observer: how the range of an activation follows from what calibration saw: a name of
            `eightfold.calibration.observers.OBSERVERS`.
        percentile: the share of values that the percentile observer keeps, in %.
        per_channel: one weight scale for each output channel; else one for each tensor.
        bias_correction: biases make up for the mean error of each layer, one layer after the other.
        rounding: `"nearest"`, or `"learned"`: weights are rounded so that each layer's result is closest.
        equalize: neighbouring layers share the spread of their channels evenly before they are quantized.
        smooth: outliers of the input of matrix products are moved into their weights.
        weight_bits: 8, or 7 where int8 instructions saturate; `None` chooses for this CPU.
        exclude: regular expressions; a node whose name contains one stays fp32.
        exclude_ops: op types that stay fp32, such as `MatMul`.
        offsets: tensors with values of both signs are unsigned codes with an offset, where that is possible.
        min_tensorflow: the oldest TensorFlow that must run the result, `major.minor`, 2.16 or newer.
        min_sqnr_db: the signal-to-quantization-noise ratio that the outputs must reach, in dB.
        fallback: verification may give regions back to fp32, for `min_sqnr_db` or where int8 is slower.
        bands: parts of each picture that the saved model computes side by side, the same bits for one batch in less
            time; as many as there are cores for it.
        overrides: other settings for some nodes; where several apply, the last one wins.

    Raises:
        RecipeError: a value of the wrong type or outside its range, or a bad regular expression.
    """

    observer: str = "mse"
    percentile: float = 99.99
    per_channel: bool = True
    bias_correction: bool = True
    rounding: str = "nearest"
    equalize: bool = False
    smooth: bool = False
    weight_bits: int | None = None
    exclude: tuple[str, ...] = ()
    exclude_ops: tuple[str, ...] = ()
    offsets: bool = True
    min_tensorflow: str = "2.16"
    min_sqnr_db: float = 10.0
    fallback: bool = True
    bands: int = 1
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
        settings = Settings(self.observer, self.percentile, self.per_channel, self.rounding)
        for override in self.overrides:
            if override.applies_to(node_name, op):
                settings = settings.under(override)
        excluded = self._exclusion(node_name, op)
        return replace(settings, fp32_reason=excluded, bf16_reason=None) if excluded else settings

    def bound(self, graph: Graph) -> Recipe:
        """The recipe with the regions of its overrides looked up in a graph; `settings_for` needs that.

        Raises:
            RecipeError: a region names a node that is not there, or two that no path connects.
        """
        return replace(self, overrides=tuple(override.bound(graph) for override in self.overrides))

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

    def to_dict(self) -> dict[str, Any]:
        """Every key with its value, for JSON."""
        overrides = [{key: value for key, value in asdict(o).items() if key != "nodes"} for o in self.overrides]
        return {**asdict(self), "overrides": overrides}

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


_NO_KEYS = {"overrides", "nodes"}
"""Fields that are not keys of the TOML file."""


def _check_fields(values: Recipe | Override) -> None:
    for f in fields(values):
        value = getattr(values, f.name)
        optional = f.default is None
        if f.name not in _NO_KEYS and not (optional and value is None):
            check(f.name, value)


def _refuse_unknown(table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            expected = ", ".join(sorted(known))
            raise RecipeError(f"unknown recipe key {key!r}: expected {expected}{did_you_mean(key, known)}")


def _override(entry: Mapping[str, Any], number: int) -> Override:
    try:
        _refuse_unknown(entry, {f.name for f in fields(Override)} - _NO_KEYS)
        return Override(**entry)
    except RecipeError as error:
        raise RecipeError(f"[[override]] number {number}: {error}") from error


def _toml_lines(values: Recipe | Override) -> list[str]:
    entries = ((f.name, getattr(values, f.name)) for f in fields(values) if f.name not in _NO_KEYS)
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
