"""Graphs as text, for people, golden tests and reports: one node a line, in topological order.

    x = Placeholder() dtype=float32 shape=[?, 8, 8, 3]
    weight = float32[3, 3, 3, 8] #5f3c9a01
    conv = Conv2D(x, weight) strides=2 padding=SAME
    axis = int32[] {3}
    split = Split(axis, conv, ^check) num_split=2
    y = AddV2(split, split:1)

A constant is its dtype, shape and values in row-major order, or a digest of its bytes. Attribute values are
`true`, `2`, `0.5`, `SAME` or `"any bytes"`, `float32`, the shape `[?, 3]` (`[...]` of unknown rank), a
constant, the function `@name{key=value}`, and `(1, 2)` for a list. Library functions and versions are not
part of the text.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from eightfold.graph.ir import Array, Attr, DType, Func, Graph, Node, Ref, Shape
from eightfold.graph.text_parser import parse_graph

__all__ = ["Constants", "format_graph", "format_node", "parse_graph"]

Constants: TypeAlias = Literal["short", "inline", "full"]
"""`short`: up to four values, else a digest; attributes that say nothing are left out. `inline`: the same,
and constants are written where they are read. `full`: everything, so that the text can be parsed."""

SHOWN_VALUES = 4
_WORD = re.compile(rb"[A-Z][A-Za-z0-9_]*")
_SPATIAL = ("strides", "dilations", "ksize")
_NOISE = ("N", "U", "is_filter_const", "is_bias_const", "use_cudnn_on_gpu", "ensure_minimum_range")
_DEFAULTS = {"data_format": b"NHWC", "axis": -1, "half_pixel_centers": False}


def format_graph(graph: Graph, names: Iterable[str] | None = None, *, constants: Constants = "short") -> str:
    """A graph, or some of its nodes, as text that ends in a newline.

    Args:
        graph: what to write.
        names: the nodes to write; the constants that they read are written as well. All nodes by default.
        constants: see `Constants`.
    """
    nodes: Iterable[Node] = graph if names is None else _selected(graph, set(names))
    if constants == "inline":
        nodes = [node for node in nodes if node.op != "Const"]
    return "".join(format_node(node, graph, constants=constants) + "\n" for node in nodes)


def format_node(node: Node, graph: Graph, *, constants: Constants = "short") -> str:
    """One node as a line of text."""
    full, inline = constants == "full", constants == "inline"
    control = [f"^{name}" for name in node.control]
    attrs = dict(node.attrs)
    if node.op == "Const" and isinstance(attrs.get("value"), np.ndarray):
        written = _tensor(attrs.pop("value"), attrs.pop("dtype", None), full)
        parts = [f"{node.name} = {written}", *control]
    else:
        inputs = [_operand(ref, graph, inline) for ref in node.inputs]
        parts = [f"{node.name} = {node.op}({', '.join([*inputs, *control])})"]
    shown = attrs.items() if full else _telling(attrs)
    return " ".join([*parts, *(f"{key}={_attr(key, value, full)}" for key, value in shown)])


def _selected(graph: Graph, names: set[str]) -> list[Node]:
    read = {ref.node for node in graph if node.name in names for ref in node.inputs}
    return [n for n in graph if n.name in names or (n.name in read and n.op == "Const")]


def _operand(ref: Ref, graph: Graph, inline: bool) -> str:
    value = graph.constant(ref) if inline else None
    if value is None:
        return ref.node if ref.port == 0 else str(ref)
    if value.size <= SHOWN_VALUES:
        return _values(value, full=False)
    return _type(value, graph[ref].attrs.get("dtype"))


# --- attributes ----------------------------------------------------------------------


def _telling(attrs: Mapping[str, Attr]) -> Iterator[tuple[str, Attr]]:
    """The attributes worth reading: no types that follow from the inputs, no defaults."""
    for key, value in attrs.items():
        types = value if isinstance(value, tuple) and not isinstance(value, Shape) else (value,)
        implied = key[0] == "T" and all(isinstance(item, DType) for item in types)
        plain = value is False or (isinstance(value, tuple) and value == () and not isinstance(value, Shape))
        ones = key in _SPATIAL and set(value) == {1}
        default = key in _DEFAULTS and bool(_DEFAULTS[key] == value)
        if not (implied or plain or ones or default or key in _NOISE or key.startswith("_")):
            yield key, value


def _attr(key: str, value: Attr, full: bool) -> str:
    if not full and key in _SPATIAL and len(value) == 4 and value[0] == value[3] == 1:
        return str(value[1]) if value[1] == value[2] else f"{value[1]}x{value[2]}"
    return _value(value, full)


def _value(value: Attr, full: bool) -> str:
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value, full)
    raise TypeError(f"an attribute cannot be {value!r} (a {type(value).__name__})")


def _string(value: bytes) -> str:
    return value.decode() if _WORD.fullmatch(value) else json.dumps(value.decode("latin-1"))


def _shape(shape: Shape) -> str:
    return f"[{', '.join('?' if d is None else str(d) for d in shape)}]" if shape.known_rank else "[...]"


def _float(value: float, full: bool) -> str:
    """The shortest text that gives the same single-precision number, which is what TensorFlow keeps."""
    text = str(np.float32(value)) if full else f"{value:.6g}"
    return text if re.search(r"[.enf]", text) else f"{text}.0"


def _list(value: tuple[Attr, ...], full: bool) -> str:
    return f"({', '.join(_value(item, full) for item in value)}{',' * (len(value) == 1)})"


def _function(func: Func, full: bool) -> str:
    attrs = " ".join(f"{key}={_value(value, full)}" for key, value in func.attrs.items())
    return f"@{func.name}{{{attrs}}}"


def _tensor(value: Array, dtype: DType | None, full: bool) -> str:
    if full or value.size <= SHOWN_VALUES:
        return f"{_type(value, dtype)} {{{_values(value, full)}}}"
    content = value.tobytes() if value.dtype != object else repr(value.tolist()).encode()
    return f"{_type(value, dtype)} #{zlib.crc32(content):08x}"


def _type(value: Array, dtype: DType | None) -> str:
    name = "string" if value.dtype.kind in "OSU" else value.dtype.name
    return f"{dtype or name}{list(value.shape)}"


def _values(value: Array, full: bool) -> str:
    return ", ".join(_element(item, full) for item in value.reshape(-1))


def _element(item: Any, full: bool) -> str:
    if isinstance(item, bytes | str):
        return json.dumps(item.decode("latin-1") if isinstance(item, bytes) else item)
    if isinstance(item, bool | np.bool_):
        return "true" if item else "false"
    if isinstance(item, np.floating) and not full:
        return f"{item:.6g}"
    return str(item)


_WRITERS: tuple[tuple[Any, Callable[[Any, bool], str]], ...] = (
    (bool | np.bool_, lambda value, full: "true" if value else "false"),
    (int | np.integer, lambda value, full: str(value)),
    (float | np.floating, _float),
    (bytes, lambda value, full: _string(value)),
    (DType, lambda value, full: str(value)),
    (Shape, lambda value, full: _shape(value)),
    (Func, _function),
    (np.ndarray, lambda value, full: _tensor(value, None, full)),
    (tuple, _list),
)
