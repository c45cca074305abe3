"""From a TensorFlow session that holds a model to a frozen `Model`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from eightfold.errors import ModelError
from eightfold.graph.ir import DType, Graph, Node, Ref, as_ref
from eightfold.graph.model import Model, Signature, TensorSpec
from eightfold.tf.graphdef import from_graph_def, shape_of
from eightfold.tf.inline import inline_calls

__all__ = ["INIT_SIGNATURE", "freeze", "guessed_signature", "quiet", "signatures_of"]

INIT_SIGNATURE = "__saved_model_init_op"
_TABLES = ("HashTable", "MutableHashTable", "LookupTable", "AnonymousHashTable", "InitializeTable")


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps TensorFlow's notes about its own deprecated functions from the user."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def freeze(
    session: Any, signatures: Mapping[str, Signature], origin: str, init: Iterable[str] = ()
) -> Model:
    """The session's graph with variables as constants, calls inlined, and only what the signatures need.

    Args:
        session: an initialised `tf.compat.v1.Session`.
        signatures: the ways to call the model.
        origin: for people to read.
        init: names of the operations that fill look-up tables.
    """
    graph_def = session.graph.as_graph_def()
    roots = [spec.ref.node for s in signatures.values() for spec in (*s.outputs.values(), *s.inputs.values())]
    init = tuple(init) if _has_tables(graph_def) else ()
    with quiet():
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(
            session, graph_def, sorted({*roots, *init})
        )
    graph, located = _with_outputs(from_graph_def(frozen), signatures)
    graph = inline_calls(graph)
    return Model(graph, located, origin, tuple(name for name in init if name in graph)).pruned()


def _with_outputs(graph: Graph, signatures: Mapping[str, Signature]) -> tuple[Graph, dict[str, Signature]]:
    """Gives every output an Identity of its own: the node that it names may be a call and vanish."""
    added: dict[Ref, Node] = {}
    located = {}
    for name, signature in signatures.items():
        for spec in signature.outputs.values():
            marker = f"outputs/{spec.ref.node}_{spec.ref.port}"
            added[spec.ref] = Node(marker, "Identity", (spec.ref,), {"T": spec.dtype})
        outputs = {key: replace(spec, ref=added[spec.ref].ref) for key, spec in signature.outputs.items()}
        located[name] = signature.but(outputs=outputs)
    return graph.with_nodes((*graph, *added.values())), located


def _has_tables(graph_def: Any) -> bool:
    nodes = [*graph_def.node, *(n for f in graph_def.library.function for n in f.node_def)]
    return any(node.op.startswith(_TABLES) for node in nodes)


def signatures_of(
    meta_graph: meta_graph_pb2.MetaGraphDef, graph: Any, names: Iterable[str] | None = None
) -> dict[str, Signature]:
    """The signatures of a meta graph, inputs and outputs by name."""
    found = {}
    for name, definition in meta_graph.signature_def.items():
        if name == INIT_SIGNATURE or (names is not None and name not in names):
            continue
        if not definition.outputs:
            continue
        found[name] = Signature(
            name,
            dict(sorted((key, _spec(info, graph)) for key, info in definition.inputs.items())),
            dict(sorted((key, _spec(info, graph)) for key, info in definition.outputs.items())),
            definition.method_name or "tensorflow/serving/predict",
        )
    return found


def _spec(info: meta_graph_pb2.TensorInfo, graph: Any) -> TensorSpec:
    if info.WhichOneof("encoding") != "name":
        raise ModelError("a signature with sparse or composite tensors is not supported; expected dense tensors")
    tensor = graph.get_tensor_by_name(info.name)
    shape = info.tensor_shape if info.HasField("tensor_shape") else tensor.shape.as_proto()
    return TensorSpec(as_ref(info.name), DType(tensor.dtype.name), shape_of(shape))


def guessed_signature(
    graph: Any, inputs: Iterable[str] | None = None, outputs: Iterable[str] | None = None
) -> Signature:
    """A signature for a graph that came without one: placeholders in, tensors that nobody reads out.

    Raises:
        ModelError: a named tensor is not in the graph, or nothing can be found.
    """
    given_in = [_tensor(graph, name) for name in inputs] if inputs else _placeholders(graph)
    given_out = [_tensor(graph, name) for name in outputs] if outputs else _unread(graph)
    if not given_in or not given_out:
        what = "input" if not given_in else "output"
        raise ModelError(f"no {what} was found in the graph; name it with --{what}s")
    return Signature("serving_default", _by_name(given_in), _by_name(given_out))


def _tensor(graph: Any, name: str) -> Any:
    try:
        return graph.get_tensor_by_name(str(as_ref(name)))
    except KeyError:
        raise ModelError(f"the graph has no tensor named {name!r}") from None


def _placeholders(graph: Any) -> list[Any]:
    return [op.outputs[0] for op in graph.get_operations() if op.type == "Placeholder"]


def _unread(graph: Any) -> list[Any]:
    """First outputs of the operations that nothing reads, constants and side effects left out."""
    ignored = {"Const", "Placeholder", "NoOp", "Assert", "VarHandleOp", "SaveV2", "RestoreV2"}
    return [
        op.outputs[0]
        for op in graph.get_operations()
        if op.outputs and op.type not in ignored and not any(out.consumers() for out in op.outputs)
    ]


def _by_name(tensors: Iterable[Any]) -> dict[str, TensorSpec]:
    return {
        tensor.op.name: TensorSpec(as_ref(tensor.name), DType(tensor.dtype.name), shape_of(tensor.shape.as_proto()))
        for tensor in tensors
    }
