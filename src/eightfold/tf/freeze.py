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
from eightfold.tf.cut import cut_at_inputs
from eightfold.tf.graphdef import from_graph_def, shape_of
from eightfold.tf.inline import inline_calls
from eightfold.tf.variables import VARIABLES, freezable

__all__ = ["INIT_SIGNATURE", "freeze", "guessed_signature", "quiet", "signatures_of"]

INIT_SIGNATURE = "__saved_model_init_op"
_LARGEST = 2**31 - 1
"""Bytes of a protocol buffer."""

_TRAINING = ("Assign", "Apply", "Summary", "Assert", "Save", "Print")
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


def freeze(session: Any, signatures: Mapping[str, Signature], origin: str, init: Iterable[str] = ()) -> Model:
    """The session's graph with variables as constants, calls inlined, and only what the signatures need.

    Args:
        session: an initialised `tf.compat.v1.Session`.
        signatures: the ways to call the model.
        origin: for people to read.
        init: names of the operations that fill look-up tables.
    """
    graph_def = freezable(session)
    roots = [spec.ref.node for s in signatures.values() for spec in (*s.outputs.values(), *s.inputs.values())]
    init = tuple(init) if _has_tables(graph_def) else ()
    with quiet():
        _refuse_too_large(graph_def, {*roots, *init}, origin)
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(session, graph_def, sorted({*roots, *init}))
    graph, located = _with_outputs(*cut_at_inputs(from_graph_def(frozen), signatures))
    graph = inline_calls(graph)
    return Model(graph, located, origin, tuple(name for name in init if name in graph)).pruned()


def _refuse_too_large(graph_def: Any, roots: Iterable[str], origin: str) -> None:
    """TensorFlow holds a graph in one protocol buffer, and these end at 2 GB."""
    needed = tf.compat.v1.graph_util.extract_sub_graph(graph_def, sorted(roots))
    size = needed.ByteSize() + sum(
        tf.TensorShape(node.attr["shape"].shape).num_elements() * tf.dtypes.as_dtype(node.attr["dtype"].type).size
        for node in needed.node
        if node.op in VARIABLES and not node.attr["shape"].shape.unknown_rank
    )
    if size > _LARGEST:
        raise ModelError(
            f"{origin} holds {size / 1e9:.1f} GB of weights, and TensorFlow graphs end at {_LARGEST / 1e9:.1f} GB; "
            "split it into several models"
        )


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
    for name, definition in sorted(meta_graph.signature_def.items()):
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
    given_in = [_tensor(graph, name) for name in inputs or ()]
    given_out = [_tensor(graph, name) for name in outputs or ()]
    given_out = given_out or _unread(graph, given_in or _placeholders(graph))
    given_in = given_in or _read_by(given_out, _placeholders(graph))
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


def _unread(graph: Any, inputs: Iterable[Any]) -> list[Any]:
    """The tensors that depend on an input and that nothing reads: what a graph made for inference gives.

    What training adds (assignments, optimizer steps, summaries) is no output.
    """
    reached = {tensor.op for tensor in inputs}
    found = []
    for op in graph.get_operations():
        if any(tensor.op in reached for tensor in op.inputs):
            reached.add(op)
            read = any(tensor.consumers() for tensor in op.outputs)
            if op.outputs and not read and not any(word in op.type for word in _TRAINING):
                found.append(op.outputs[0])
    return found


def _read_by(outputs: Iterable[Any], placeholders: Iterable[Any]) -> list[Any]:
    """The placeholders that the outputs depend on."""
    seen, waiting = set(), [tensor.op for tensor in outputs]
    while waiting:
        op = waiting.pop()
        if op not in seen:
            seen.add(op)
            waiting.extend([*(tensor.op for tensor in op.inputs), *op.control_inputs])
    return [tensor for tensor in placeholders if tensor.op in seen]


def _by_name(tensors: Iterable[Any]) -> dict[str, TensorSpec]:
    return {
        tensor.op.name: TensorSpec(as_ref(tensor.name), DType(tensor.dtype.name), shape_of(tensor.shape.as_proto()))
        for tensor in tensors
    }
