"""Runs a `Graph` on TensorFlow."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from eightfold.errors import ModelError
from eightfold.graph.ir import Array, DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model
from eightfold.tf.graphdef import shape_of, to_graph_def
from eightfold.tf.reasons import reason

__all__ = ["Runner", "TensorInfo", "evaluate", "import_graph", "infer"]

TensorInfo = tuple[DType, Any]
"""A tensor's dtype and `Shape`."""


def import_graph(graph: Graph) -> Any:
    """The graph as a new `tf.Graph`.

    Raises:
        ModelError: TensorFlow does not accept it, for example because it does not know an op.
    """
    result = tf.Graph()
    with result.as_default():
        try:
            tf.import_graph_def(to_graph_def(graph), name="")
        except (ValueError, tf.errors.OpError) as error:
            raise ModelError(f"TensorFlow {tf.__version__} does not accept the graph: {reason(error)}") from error
    return result


class Runner:
    """A session on a graph: `runner(fetches, feeds)` gives the fetched tensors as arrays.

    Args:
        graph: what to run.
        init: nodes to run once first.
        intra, inter: op threads; 0 leaves the choice to TensorFlow.
        optimize: whether TensorFlow may rewrite the graph first, which takes it several copies of the weights.
    """

    def __init__(
        self, graph: Graph, init: Sequence[str] = (), *, intra: int = 0, inter: int = 0, optimize: bool = True
    ) -> None:
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter)
        config.graph_options.rewrite_options.disable_meta_optimizer = not optimize
        self._graph = import_graph(graph)
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        self._callables: dict[tuple[tuple[Ref, ...], tuple[Ref, ...]], Any] = {}
        if init:
            self._session.run(list(init))

    @classmethod
    def of(cls, model: Model, *, intra: int = 0, inter: int = 0, optimize: bool = True) -> Runner:
        return cls(model.graph, model.init, intra=intra, inter=inter, optimize=optimize)

    def __call__(self, fetches: Sequence[Ref], feeds: Mapping[Ref, Array]) -> list[Array]:
        key = (tuple(fetches), tuple(feeds))
        if key not in self._callables:
            self._callables[key] = self._session.make_callable(
                [str(ref) for ref in fetches], [str(ref) for ref in feeds]
            )
        results: list[Array] = self._callables[key](*feeds.values())
        return results

    def close(self) -> None:
        """Frees the session and the graph at once: they hold the weights, and each other."""
        self._session.close()
        self._callables.clear()
        del self._session, self._graph
        gc.collect()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def evaluate(graph: Graph, fetches: Sequence[Ref]) -> list[Array]:
    """The values of tensors that need no input."""
    with Runner(graph) as run:
        return run(fetches, {})


def infer(graph: Graph) -> dict[Ref, TensorInfo]:
    """Every tensor's dtype and, as far as it is known before the run, its shape."""
    return {
        Ref(op.name, port): (DType(tensor.dtype.name), shape_of(tensor.shape.as_proto()))
        for op in import_graph(graph.mapped(_without_weight)).get_operations()
        for port, tensor in enumerate(op.outputs)
    }


def _without_weight(node: Node) -> Node:
    """A placeholder for a constant too large to be a shape: shape inference need not carry the weights."""
    if node.op != "Const" or node.value.dtype.kind != "f" or node.value.size <= 64:
        return node
    return node.but(op="Placeholder", attrs={"dtype": node.attrs["dtype"], "shape": Shape(node.value.shape)})
