"""The settings that a model is run with, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from eightfold.errors import ModelError

__all__ = ["Allocator", "Layout", "Mode", "Precision", "Runtime", "counted"]

Mode = Literal["latency", "throughput"]
"""What settings are good for: one batch as soon as possible, or as many as possible in a second."""

Allocator = Literal["system", "tcmalloc", "jemalloc"]
Layout = Literal["NHWC", "NCHW"]
Precision = Literal["as is", "bf16"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a model is run. The defaults are TensorFlow's own.

    Attributes:
        batch_size: examples in a batch.
        instances: processes that run the model at the same time.
        cores: physical cores of each instance, to which it is pinned; None leaves it to the operating system.
        intra: threads inside one operation; None leaves it to TensorFlow: one for each core it may use.
        inter: operations at a time; None leaves it to TensorFlow, -1 runs them in the thread that calls the model.
        env: further environment variables, of oneDNN for example. They are read when TensorFlow is loaded.
        allocator: the library that gives out memory.
        layout: the order of the axes of images to which TensorFlow brings a float graph; None leaves it as it is.
        precision: whether TensorFlow does float convolutions and products in bfloat16.
    """

    batch_size: int = 1
    instances: int = 1
    cores: int | None = None
    intra: int | None = None
    inter: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    allocator: Allocator = "system"
    layout: Layout | None = None
    precision: Precision = "as is"

    def __str__(self) -> str:
        """The settings for people: "batch 32, 2 instances of 4 cores, 4 threads, KMP_BLOCKTIME=1"."""
        said = [f"batch {self.batch_size}"]
        cores = "" if self.cores is None else f" of {counted(self.cores, 'core')}"
        if self.instances > 1 or cores:
            said.append(counted(self.instances, "instance") + cores)
        if self.intra is not None:
            said.append(counted(self.intra, "thread"))
        if self.inter is not None:
            said.append("run by the caller" if self.inter < 0 else f"{counted(self.inter, 'operation')} at a time")
        said += [f"{name}={value}" for name, value in self.env.items()]
        said += [self.allocator] if self.allocator != TENSORFLOW.allocator else []
        said += [self.layout] if self.layout is not None else []
        return ", ".join(said + ([self.precision] if self.precision != TENSORFLOW.precision else []))

    def to_json(self) -> dict[str, Any]:
        """The settings that differ from TensorFlow's own, as JSON can hold them."""
        return {name: value for name, value in asdict(self).items() if value != getattr(TENSORFLOW, name)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Runtime:
        """The settings of `to_json`.

        Raises:
            ModelError: an unknown name, or a value that it cannot have.
        """
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(document) - known):
            raise ModelError(f"unknown run-time setting {unknown[0]!r}; expected some of {', '.join(sorted(known))}")
        for name, value in document.items():
            if not _valid(name, value):
                raise ModelError(f"the run-time setting {name} cannot be {value!r}; expected {_EXPECTED[name]}")
        return cls(**document)


TENSORFLOW = Runtime()
_CHOICES = {"allocator": get_args(Allocator), "layout": (None, *get_args(Layout)), "precision": get_args(Precision)}
_EXPECTED = {
    **dict.fromkeys(("batch_size", "instances"), "a whole number from 1"),
    **dict.fromkeys(("cores", "intra"), "a whole number from 1, or null"),
    "inter": "a whole number from 1, -1 or null",
    "env": "a table of texts",
    **{name: "one of " + ", ".join(str(choice) for choice in choices) for name, choices in _CHOICES.items()},
}


def counted(number: int, what: str) -> str:
    """The number with its noun: "1 core", "2 cores"."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def _valid(name: str, value: object) -> bool:
    if name == "env":
        return isinstance(value, Mapping) and all(isinstance(text, str) for text in (*value, *value.values()))
    if name in _CHOICES:
        return value in _CHOICES[name]
    if value is None:
        return name not in ("batch_size", "instances")
    if name == "inter" and value == -1:
        return True
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
