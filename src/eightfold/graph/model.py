"""A model: one graph, and the signatures by which it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as _replace
from typing import Any

from eightfold.graph.ir import DType, Graph, Ref, Shape

__all__ = ["Model", "Signature", "TensorSpec"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a signature: where it is in the graph, and what it holds."""

    ref: Ref
    dtype: DType
    shape: Shape

    def __str__(self) -> str:
        dims = ", ".join("?" if d is None else str(d) for d in self.shape) if self.shape.known_rank else "..."
        return f"{self.dtype}[{dims}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """A named way to call the model; inputs and outputs are bound by name, never by position.

    Attributes:
        name: such as `serving_default`.
        inputs: by name.
        outputs: by name.
        method: what TF Serving is told that the signature is for.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method: str = "tensorflow/serving/predict"

    def but(self, **changes: Any) -> Signature:
        return _replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Model:
    """A graph and its signatures.

    Attributes:
        graph: every signature's nodes; shared where they compute the same.
        signatures: by name.
        origin: what the model was made from, for people to read.
        init: nodes to run once before the first use (they fill look-up tables).
        notes: what was noticed on the way and the user should know.
        assets: file contents that `init` reads, by the name of the constant that holds their path.
    """

    graph: Graph
    signatures: Mapping[str, Signature]
    origin: str = ""
    init: tuple[str, ...] = ()
    assets: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def but(self, **changes: Any) -> Model:
        return _replace(self, **changes)

    @property
    def default(self) -> Signature:
        """`serving_default` where there is one, else the first signature."""
        return self.signatures.get("serving_default") or next(iter(self.signatures.values()))

    @property
    def inputs(self) -> tuple[Ref, ...]:
        """The input tensors of all signatures, each once."""
        return _once(spec.ref for s in self.signatures.values() for spec in s.inputs.values())

    @property
    def outputs(self) -> tuple[Ref, ...]:
        """The output tensors of all signatures, each once."""
        return _once(spec.ref for s in self.signatures.values() for spec in s.outputs.values())

    @property
    def roots(self) -> tuple[str, ...]:
        """The nodes that must not be pruned."""
        return (*(ref.node for ref in (*self.outputs, *self.inputs)), *self.init)

    def pruned(self) -> Model:
        """Without the nodes that no signature needs."""
        return self.but(graph=self.graph.pruned(self.roots))


def _once(refs: Iterable[Ref]) -> tuple[Ref, ...]:
    return tuple(dict.fromkeys(refs))
