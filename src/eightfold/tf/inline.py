"""Nested function calls become nodes of the graph that calls them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from tensorflow.core.framework import function_pb2, types_pb2
from tensorflow.python.framework import op_def_registry
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph_def

from eightfold.graph.ir import Func, Graph, Node, Ref, as_ref
from eightfold.tf.graphdef import from_graph_def
from eightfold.tf.session import import_graph

__all__ = ["inline_calls", "is_stateful"]

_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}


_HANDLES = {types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT}


def is_stateful(op: str) -> bool:
    """Whether TensorFlow registers an op as having state or side effects.

    Unknown ops count as stateful. So do those that give a handle (a list of tensors), as its value is no array, and
    those that take a resource: what fills a table is not registered as stateful.
    """
    op_def = op_def_registry.get(op)
    if op_def is None or op_def.is_stateful:
        return True
    takes = any(arg.type == types_pb2.DT_RESOURCE or arg.is_ref for arg in op_def.input_arg)
    return takes or any(arg.type in _HANDLES for arg in op_def.output_arg)


def inline_calls(graph: Graph) -> Graph:
    """Replaces every call of a library function by the function's body, however deeply nested.

    A `While`, `If` or `Case` keeps its functions: they stay in the library.
    """
    library = _Library(graph)
    while any(_callee(node, graph) for node in graph):
        graph = _inline_once(graph, library)
    return Graph(graph, _functions_used(graph), graph.versions)


class _Library:
    """The functions of a graph, each read once."""

    def __init__(self, graph: Graph) -> None:
        self._serialised = graph.functions
        self._bodies: dict[str, _Body] = {}
        self._scope = import_graph(graph.with_nodes(()))

    def body(self, name: str) -> _Body:
        if name not in self._bodies:
            with self._scope.as_default():
                self._bodies[name] = _Body(self._serialised[name])
        return self._bodies[name]


class _Body:
    """A function as a graph: its argument names, its results, and the nodes that it must run."""

    def __init__(self, serialised: bytes) -> None:
        function = function_pb2.FunctionDef()
        function.ParseFromString(serialised)
        graph_def, flat = function_def_to_graph_def(function)
        self.nodes = tuple(from_graph_def(graph_def))
        self.arguments = [arg.name for arg in function.signature.input_arg]
        self.results = [as_ref(flat[function.ret[arg.name]]) for arg in function.signature.output_arg]
        self.control = tuple(function.control_ret.values())


def _callee(node: Node, graph: Graph) -> str | None:
    if node.op in _CALLS:
        function = node.attrs["f"]
        return function.name if isinstance(function, Func) else None
    return node.op if node.op in graph.functions else None


def _inline_once(graph: Graph, library: _Library) -> Graph:
    result: list[Node] = []
    redirects: dict[Ref, Ref] = {}
    ran: dict[str, tuple[str, ...]] = {}
    taken = {node.name for node in graph}
    for node in graph:
        name = _callee(node, graph)
        if name is None:
            result.append(node)
            continue
        body = library.body(name)
        call = _Call(node, body, _free_prefix(node.name, body, taken))
        expanded = call.expanded()
        taken.update(inner.name for inner in expanded)
        result.extend(expanded)
        redirects.update((Ref(node.name, port), call.outer(ref)) for port, ref in enumerate(body.results))
        ran[node.name] = tuple(call.prefix + inner for inner in body.control)
    return graph.with_nodes(_rewired(node, redirects, ran) for node in result)


def _free_prefix(name: str, body: _Body, taken: set[str]) -> str:
    """What to put before the names of a body so that none is taken already; nothing where that will do."""
    inner = [node.name for node in body.nodes if node.name not in body.arguments]
    prefixes = itertools.chain(["", f"{name}/"], (f"{name}_{count}/" for count in itertools.count(1)))
    return next(prefix for prefix in prefixes if not any(prefix + one in taken for one in inner))


@dataclass(frozen=True)
class _Call:
    """One call of a function; its nodes keep their names where these are still free."""

    node: Node
    body: _Body
    prefix: str

    def outer(self, ref: Ref) -> Ref:
        """A tensor of the body, by the name it has after inlining."""
        if ref.node in self.body.arguments:
            return self.node.inputs[self.body.arguments.index(ref.node)]
        return Ref(self.prefix + ref.node, ref.port)

    def expanded(self) -> list[Node]:
        return [self._moved(node) for node in self.body.nodes if node.name not in self.body.arguments]

    def _moved(self, node: Node) -> Node:
        control = tuple(self.prefix + name for name in node.control if name not in self.body.arguments)
        if is_stateful(node.op):
            control += self.node.control
        return node.but(name=self.prefix + node.name, inputs=tuple(map(self.outer, node.inputs)), control=control)


def _rewired(node: Node, redirects: dict[Ref, Ref], ran: dict[str, tuple[str, ...]]) -> Node:
    def final(ref: Ref) -> Ref:
        while ref in redirects:
            ref = redirects[ref]
        return ref

    control = [after for name in node.control for after in ran.get(name, (name,))]
    return node.but(inputs=tuple(map(final, node.inputs)), control=tuple(dict.fromkeys(control)))


def _functions_used(graph: Graph) -> dict[str, bytes]:
    """The library functions that some node still refers to, and those that these refer to."""
    used: dict[str, bytes] = {}
    waiting = [f for node in graph for f in _function_names(node)]
    while waiting:
        name = waiting.pop()
        if name in used or name not in graph.functions:
            continue
        used[name] = graph.functions[name]
        function = function_pb2.FunctionDef()
        function.ParseFromString(used[name])
        for node in function.node_def:
            waiting.append(node.op)
            waiting.extend(a.func.name for a in node.attr.values() if a.WhichOneof("value") == "func")
            waiting.extend(f.name for a in node.attr.values() for f in a.list.func)
    return used


def _function_names(node: Node) -> Iterator[str]:
    for value in node.attrs.values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Func):
                yield item.name
