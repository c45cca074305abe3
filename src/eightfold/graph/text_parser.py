"""Reads the text that `eightfold.graph.text` writes."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from eightfold.graph.ir import Array, Attr, DType, Func, Graph, Node, Shape, as_ref

__all__ = ["parse_graph"]

_HELD_AS = {"quint8": "uint8", "qint8": "int8", "qint32": "int32", "quint16": "uint16", "qint16": "int16"}
"""NumPy has no quantized dtypes: their tensors are held as the integers they are."""

_NAME = r"[A-Za-z0-9.][\w.\\/>-]*"
_KEY = r"[A-Za-z_][\w.]*"
_NUMBER = r"-?(?:nan|inf|\d+(?:\.\d*)?(?:e[+-]?\d+)?)"


def parse_graph(text: str) -> Graph:
    """The graph that a text in the form `constants="full"` describes.

    Empty lines and lines that start with `#` are skipped.

    Raises:
        ValueError: a line does not follow the form, or a constant was shortened to a digest; names the line.
    """
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), start=1)]
    return Graph(_Line(line, i).node() for i, line in lines if line and not line.startswith("#"))


class _Line:
    """Reads one line from left to right."""

    def __init__(self, text: str, number: int) -> None:
        self.text = text
        self.number = number
        self.at = 0

    def take(self, pattern: str) -> str | None:
        """What a regular expression matches here, if it does."""
        found = re.compile(pattern).match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group()

    def expect(self, pattern: str, what: str) -> str:
        found = self.take(pattern)
        if found is None:
            rest = self.text[self.at : self.at + 30] or "the end"
            raise ValueError(f"line {self.number} of the graph's text: expected {what}, found {rest!r}")
        return found

    def node(self) -> Node:
        name = self.expect(_NAME, "a node's name")
        self.expect(r"\s*=\s*", "' = '")
        kind = self.expect(_KEY, "an op or a dtype")
        if self.text[self.at : self.at + 1] == "[":
            value = self.tensor(DType(kind))
            control = tuple(self.each(r" \^(?=\S)", lambda: self.expect(_NAME, "a node's name")))
            return Node(name, "Const", (), {"dtype": DType(kind), "value": value, **self.attrs()}, control)
        self.expect(r"\(", "'(' or '['")
        operands = self.items(r"\)", lambda: self.expect(rf"\^?{_NAME}(?::\d+)?", "an input"))
        inputs = tuple(as_ref(item) for item in operands if not item.startswith("^"))
        control = tuple(item[1:] for item in operands if item.startswith("^"))
        return Node(name, kind, inputs, self.attrs(), control)

    def attrs(self, end: str = r"$") -> dict[str, Attr]:
        found: dict[str, Attr] = {}
        while self.take(rf" *(?:{end})") is None:
            key = self.expect(rf" *{_KEY}=", "key=value").strip(" =")
            found[key] = self.value()
        return found

    def each(self, start: str, read: Callable[[], str]) -> Iterator[str]:
        while self.take(start) is not None:
            yield read()

    def items(self, end: str, read: Callable[[], Any]) -> list[Any]:
        """Values with commas between them, up to a closing bracket."""
        found: list[Any] = []
        while self.take(rf" *{end}") is None:
            found.append(read())
            self.take(", *")
        return found

    def value(self) -> Attr:
        if self.take(r"\("):
            return tuple(self.items(r"\)", self.value))
        if self.take(r"\[\.\.\.\]"):
            return Shape.UNKNOWN
        if self.take(r"\["):
            sizes = self.items(r"\]", lambda: self.expect(r"\?|\d+", "a size or ?"))
            return Shape(None if size == "?" else int(size) for size in sizes)
        if self.take("@"):
            name = self.expect(_NAME, "a function's name")
            self.expect(r"\{", "'{'")
            return Func(name, self.attrs(r"\}"))
        return self.scalar()

    def scalar(self) -> Attr:
        if (text := self.take(r'"(?:[^"\\]|\\.)*"')) is not None:
            return json.loads(text).encode("latin-1")
        if (text := self.take(rf"{_NUMBER}(?![\w])")) is not None:
            return int(text) if re.fullmatch(r"-?\d+", text) else float(np.float32(text))
        word = self.expect(r"[A-Za-z]\w*", "a value")
        if word in ("true", "false"):
            return word == "true"
        if self.text[self.at : self.at + 1] == "[":
            return self.tensor(DType(word))
        return word.encode() if word[0].isupper() else DType(word)

    def tensor(self, dtype: DType) -> Array:
        """What follows a constant's dtype: its shape and its values."""
        self.expect(r"\[", "'['")
        shape = [int(size) for size in self.items(r"\]", lambda: self.expect(r"\d+", "a size"))]
        self.expect(r" \{", "the values in {...} (a digest cannot be read back)")
        texts = self.items(r"\}", lambda: self.expect(r'"(?:[^"\\]|\\.)*"|[^,{}]+', "a value"))
        return _array(texts, dtype).reshape(shape)


def _array(texts: list[str], dtype: DType) -> Array:
    if dtype == "string":
        return np.array([json.loads(text).encode("latin-1") for text in texts], object)
    if dtype == "bool":
        return np.array([text == "true" for text in texts], bool)
    if dtype.startswith(("bfloat", "float8", "int4", "uint4")):
        importlib.import_module("ml_dtypes")  # gives NumPy these types
    held = np.dtype(_HELD_AS.get(dtype, str(dtype)))
    if held.kind in "iu":
        return np.array([int(text) for text in texts], held)
    return np.array([(complex if held.kind == "c" else float)(text) for text in texts]).astype(held)
