"""Runs a graph node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eightfold.errors import DataError, ModelError
from eightfold.graph.ir import Array, Graph, Node, Ref
from eightfold.graph.reference.registry import KERNELS, Kernel, computes

__all__ = ["evaluate"]


def evaluate(
    graph: Graph,
    fetches: Sequence[Ref],
    feeds: Mapping[Ref, Array] | None = None,
    *,
    kernels: Mapping[str, Kernel] = KERNELS,
) -> list[Array]:
    """The values of some tensors.

    Args:
        graph: what to run. Control inputs are ignored: no op here has side effects.
        fetches: the tensors wanted.
        feeds: values that replace what the graph computes for these tensors; quantized ones as uint8, int8 or
            int32.
        kernels: what computes each op.

    Returns:
        One array a fetch, in the order asked for.

    Raises:
        DataError: a placeholder is needed and not fed.
        ModelError: an op or a form of it has no reference, or a fetched output does not exist.
    """
    values: dict[Ref, Array] = {ref: np.asarray(value) for ref, value in (feeds or {}).items()}
    for node in _needed(graph, fetches, values):
        for port, output in enumerate(_outputs(node, [_value(values, ref) for ref in node.inputs], kernels)):
            values.setdefault(Ref(node.name, port), output)
    return [_value(values, ref) for ref in fetches]


def _needed(graph: Graph, fetches: Sequence[Ref], fed: Mapping[Ref, Array]) -> Iterator[Node]:
    """What the fetches depend on, up to the fed tensors, in topological order."""
    names: set[str] = set()
    stack = list(fetches)
    while stack:
        ref = stack.pop()
        if ref not in fed and ref.node not in names:
            names.add(ref.node)
            stack.extend(graph[ref].inputs)
    return (node for node in graph if node.name in names)


def _outputs(node: Node, inputs: Sequence[Array], kernels: Mapping[str, Kernel]) -> tuple[Array, ...]:
    if node.op not in kernels:
        raise ModelError(f"node {node.name!r} is a {node.op}, for which there is no NumPy reference")
    outputs = kernels[node.op](node, *inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _value(values: Mapping[Ref, Array], ref: Ref) -> Array:
    if ref not in values:
        raise ModelError(f"the NumPy reference does not compute output {ref.port} of node {ref.node!r}")
    return values[ref]


@computes("Const")
def _const(node: Node) -> Array:
    return node.value


@computes("Placeholder")
def _placeholder(node: Node) -> Array:
    raise DataError(f"placeholder {node.name!r} needs a value, and none was fed")


@computes("CheckNumerics", "Identity", "PlaceholderWithDefault", "Snapshot", "StopGradient")
def _identity(node: Node, x: Array) -> Array:
    del node
    return x
