"""Patterns over graphs: written as the formula reads, bound by name, and with a reason when they do not match.

    CONV   = op("Conv2D", any_("x"), const("filter"), name="conv")
    BIASED = either(op("BiasAdd", CONV, const("bias")), CONV)
    RELU   = op("Relu", BIASED)

    match(graph, RELU, graph["conv1/Relu"])      # a Match with x, filter, bias and conv, or a Miss that says why

The nodes inside a match belong to it alone: if anything else reads one of them, or it is an output of the model, the
pattern does not match.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import TypeAlias

from eightfold.graph.ir import Array, Graph, Node, Ref

__all__ = ["Match", "Miss", "Pattern", "any_", "const", "either", "match", "matches", "op"]


@dataclass(frozen=True)
class _Op:
    ops: frozenset[str]
    inputs: tuple[Pattern, ...]
    name: str | None
    commutative: bool


@dataclass(frozen=True)
class _Leaf:
    name: str
    constant: bool


@dataclass(frozen=True)
class _Either:
    options: tuple[Pattern, ...]


Pattern: TypeAlias = _Op | _Leaf | _Either


def op(ops: str, *inputs: Pattern, name: str | None = None, commutative: bool = False) -> Pattern:
    """A node of one of the ops (`"Add|AddV2"`) whose first inputs match; further inputs are not looked at."""
    return _Op(frozenset(ops.split("|")), inputs, name, commutative)


def any_(name: str) -> Pattern:
    """Any tensor that is not a constant."""
    return _Leaf(name, constant=False)


def const(name: str) -> Pattern:
    """A constant tensor."""
    return _Leaf(name, constant=True)


def either(*options: Pattern) -> Pattern:
    """The first option that matches."""
    return _Either(options)


@dataclass(frozen=True)
class Miss:
    """Why a pattern does not match; `depth` is how many nodes had matched by then."""

    reason: str
    depth: int = 0

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True)
class Match:
    """A place where a pattern matches.

    Attributes:
        graph: where it was found.
        root: the tensor that the pattern computes.
        nodes: the nodes that belong to the match, root first; constants are not among them.
        refs: tensors by the name of their leaf.
        named: nodes by the name given to `op`.
    """

    graph: Graph
    root: Ref
    nodes: tuple[str, ...]
    refs: Mapping[str, Ref] = field(default_factory=dict)
    named: Mapping[str, Node] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.refs or name in self.named

    def value(self, name: str) -> Array:
        """The constant bound to a leaf."""
        return self.graph[self.refs[name]].value

    def get(self, name: str) -> Array | None:
        """The constant bound to a leaf, or `None` where the pattern matched without it."""
        return self.value(name) if name in self.refs else None

    @property
    def node(self) -> Node:
        """The root's node."""
        return self.graph[self.root]


@dataclass(frozen=True)
class _State:
    nodes: tuple[str, ...] = ()
    refs: Mapping[str, Ref] = field(default_factory=dict)
    named: Mapping[str, Node] = field(default_factory=dict)


def match(graph: Graph, pattern: Pattern, root: Node, outputs: Container[Ref] = ()) -> Match | Miss:
    """Matches a pattern with its root at a node.

    Args:
        graph: where to look.
        pattern: what to look for.
        root: the node that computes the pattern's result.
        outputs: tensors that the model gives out, which must not vanish inside a match.
    """
    deepest = Miss(f"the pattern does not end in {root.op}")
    for found in matches(graph, pattern, root, outputs):
        if isinstance(found, Match):
            return found
        if found.depth > deepest.depth:
            deepest = found
    return deepest


def matches(graph: Graph, pattern: Pattern, root: Node, outputs: Container[Ref] = ()) -> Iterator[Match | Miss]:
    """All ways to match, the first options of the pattern first; a `Miss` for each way that fails."""
    for found in _match(graph, pattern, root.ref, _State()):
        yield found if isinstance(found, Miss) else _owned(graph, root, found, outputs)


def _owned(graph: Graph, root: Node, state: _State, outputs: Container[Ref]) -> Match | Miss:
    """The match, if what is inside it is read by nothing else, and is not what it reads."""
    inner = next((ref for ref in state.refs.values() if ref.node in state.nodes), None)
    if inner is not None:
        return Miss(f"{inner} is part of the pattern and read by it as well", len(state.nodes))
    for name in state.nodes[1:]:
        readers = {user.name for user in graph.users_of(Ref(name))}
        if not readers <= set(state.nodes) or Ref(name) in outputs:
            return Miss(f"{name} is also used elsewhere", len(state.nodes))
    return Match(graph, root.ref, state.nodes, state.refs, state.named)


def _match(graph: Graph, pattern: Pattern, ref: Ref, state: _State) -> Iterator[_State | Miss]:
    """All ways to match, each a `_State`; where there is none, `Miss`es that say why."""
    if isinstance(pattern, _Either):
        for option in pattern.options:
            yield from _match(graph, option, ref, state)
    elif isinstance(pattern, _Leaf):
        yield _match_leaf(graph, pattern, ref, state)
    else:
        yield from _match_op(graph, pattern, ref, state)


def _match_leaf(graph: Graph, leaf: _Leaf, ref: Ref, state: _State) -> _State | Miss:
    if leaf.constant != (graph[ref].op == "Const"):
        expected = "a constant" if leaf.constant else "computed"
        return Miss(f"{leaf.name} ({ref}) is not {expected}", len(state.nodes) + 1)
    bound = state.refs.get(leaf.name, ref)
    if bound != ref:
        return Miss(f"{leaf.name} is {bound} in one place and {ref} in another", len(state.nodes))
    return _State(state.nodes, {**state.refs, leaf.name: ref}, state.named)


def _match_op(graph: Graph, pattern: _Op, ref: Ref, state: _State) -> Iterator[_State | Miss]:
    node, depth = graph[ref], len(state.nodes)
    if node.op not in pattern.ops or ref.port != 0:
        yield Miss(f"{node.name} is {node.op}, not {' or '.join(sorted(pattern.ops))}", depth)
        return
    if len(node.inputs) < len(pattern.inputs):
        yield Miss(f"{node.name} has {len(node.inputs)} inputs, not {len(pattern.inputs)}", depth)
        return
    if node.name in state.nodes:  # a tensor that the formula names twice
        same = pattern.name is None or state.named.get(pattern.name) == node
        yield state if same else Miss(f"{node.name} has two parts in the pattern", depth)
        return
    named = {**state.named, pattern.name: node} if pattern.name else state.named
    entered = _State((*state.nodes, node.name), state.refs, named)
    for order in _orders(graph, pattern, node):
        yield from _match_inputs(graph, pattern.inputs, order, entered)


def _orders(graph: Graph, pattern: _Op, node: Node) -> Iterator[tuple[Ref, ...]]:
    """The input orders to try; for a commutative op the input computed last comes first."""
    given = node.inputs[: len(pattern.inputs)]
    if not pattern.commutative:
        yield given
        return
    yield from permutations(sorted(given, key=lambda ref: -graph.position[ref.node]))


def _match_inputs(
    graph: Graph, patterns: tuple[Pattern, ...], refs: tuple[Ref, ...], state: _State
) -> Iterator[_State | Miss]:
    if not patterns:
        yield state
        return
    for found in _match(graph, patterns[0], refs[0], state):
        if isinstance(found, Miss):
            yield found
        else:
            yield from _match_inputs(graph, patterns[1:], refs[1:], found)
