"""Every condition of every rewrite refuses a graph that is bad in one way, and says why."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from eightfold.graph.edit import const_node
from eightfold.graph.ir import Array, Attr, DType, Graph, Node, Ref, Shape
from eightfold.graph.pattern import Match, match
from eightfold.rewrites import REWRITES
from eightfold.rewrites.rewrite import Facts, Rewrite
from lowering import feeds_for, tensors_of

BY_NAME = {rewrite.name: rewrite for rewrite in REWRITES}


@dataclass(frozen=True)
class Place:
    """A match of a rewrite in its own example, and the facts about it; each change gives another place."""

    rewrite: Rewrite
    match: Match
    facts: Facts

    @classmethod
    def of(cls, rewrite: Rewrite) -> Place:
        model = rewrite.example()
        facts = Facts(tensors_of(model, feeds_for(model)), rewrite.tensorflow)
        for node in reversed(list(model.graph)):
            found = match(model.graph, rewrite.pattern, node)
            if isinstance(found, Match) and rewrite.refusal(found, facts) is None:
                return cls(rewrite, found, facts)
        raise AssertionError(f"{rewrite.name} does not apply to its example")

    def with_shape(self, leaf: str, *dims: int | None) -> Place:
        """Another static shape for a leaf, or for `root`."""
        ref = self.match.root if leaf == "root" else self.match.refs[leaf]
        return self._with_fact(ref, (self.facts.tensors[ref][0], Shape(dims)))

    def with_unknown_rank(self, leaf: str) -> Place:
        ref = self.match.root if leaf == "root" else self.match.refs[leaf]
        return self._with_fact(ref, (self.facts.tensors[ref][0], Shape.UNKNOWN))

    def with_dtype(self, dtype: str) -> Place:
        return self._with_fact(self.match.root, (DType(dtype), self.facts.tensors[self.match.root][1]))

    def with_attrs(self, named: str, **attrs: Attr) -> Place:
        return self._with_node(self.match.named[named].with_attrs(**attrs))

    def with_constant(self, leaf: str, value: Array) -> Place:
        """Another value for a constant; bound now where the example has none."""
        array = np.asarray(value)
        if leaf in self.match.refs:
            return self._with_node(const_node(self.match.refs[leaf].node, array))
        node = const_node(f"{leaf}/added", array)
        return self._on([*self.match.graph, node], {leaf: node.ref})

    def with_root_port(self, port: int) -> Place:
        place = self._with_fact(Ref(self.match.root.node, port), self.facts.tensors[self.match.root])
        return replace(place, match=replace(place.match, root=Ref(self.match.root.node, port)))

    def with_tensorflow(self, major: int, minor: int) -> Place:
        return replace(self, facts=replace(self.facts, tensorflow=(major, minor)))

    def _with_fact(self, ref: Ref, fact: tuple[DType, Shape]) -> Place:
        return replace(self, facts=replace(self.facts, tensors={**self.facts.tensors, ref: fact}))

    def _with_node(self, node: Node) -> Place:
        return self._on([node if n.name == node.name else n for n in self.match.graph], {})

    def _on(self, nodes: list[Node], refs: Mapping[str, Ref]) -> Place:
        graph = Graph(nodes)
        named = {key: graph[node.name] for key, node in self.match.named.items()}
        changed = replace(self.match, graph=graph, refs={**self.match.refs, **refs}, named=named)
        return replace(self, match=changed)

    @property
    def refusal(self) -> str | None:
        return self.rewrite.refusal(self.match, self.facts)


@dataclass(frozen=True)
class Bad:
    """One way to spoil the examples of some rewrites."""

    condition: str
    spoil: Callable[[Place], Place]
    reason: str
    only: str = ".*"


NAN = np.full((3, 3, 8, 8), np.nan, np.float32)
BATCH_PAD = np.array([[1, 0], [0, 0], [0, 0], [0, 0]], np.int32)
CONVOLUTION = "(conv|depthwise).*"

BAD = (
    Bad("dtype", lambda p: p.with_dtype("float64"), "it computes float64; the 8-bit kernels stand for float32"),
    Bad(
        "tensorflow",
        lambda p: p.with_tensorflow(2, 16),
        "_QuantizedMatMul needs TensorFlow 2.17",
        "matmul_.*",
    ),
    Bad(
        "channels_last",
        lambda p: p.with_attrs("conv", data_format=b"NCHW"),
        "has data format NCHW",
        CONVOLUTION,
    ),
    Bad("channels_last", lambda p: p.with_attrs("pool", data_format=b"NCHW"), "has data format NCHW", ".*pool"),
    Bad(
        "symmetric_strides",
        lambda p: p.with_attrs("conv", strides=(1, 1, 1, 2)),
        "strides (1, 1, 1, 2) reach over batch or channels",
        CONVOLUTION,
    ),
    Bad("known_channels", lambda p: p.with_shape("root", 2, 8), "it is not a tensor of rank 4"),
    Bad("known_channels", lambda p: p.with_unknown_rank("root"), "it is not a tensor of rank 4"),
    Bad(
        "known_channels",
        lambda p: p.with_shape("root", 2, 6, 6, None),
        "its number of channels is not known before the run",
    ),
    Bad(
        "finite_weight",
        lambda p: p.with_constant("filter", NAN),
        "weight.* has NaN or Inf",
        f"{CONVOLUTION}|mat.*",
    ),
    Bad("finite_weight", lambda p: p.with_constant("scale", np.full(8, np.inf)), "has NaN or Inf", "affine.*"),
    Bad("finite_weight", lambda p: p.with_constant("cap", np.float32(np.nan)), "has NaN or Inf", "add_relu"),
    Bad(
        "bias_per_channel",
        lambda p: p.with_constant("bias", np.zeros((8, 1), np.float32)),
        "the bias has shape (8, 1), expected one number a channel",
    ),
    Bad(
        "bias_per_unit",
        lambda p: p.with_constant("bias", np.zeros(5, np.float32)),
        "it adds a constant of shape (5,) to 8 units, expected one number a unit",
    ),
    Bad(
        "plain_pad",
        lambda p: p.with_attrs("conv", padding=b"VALID").with_constant("pad", BATCH_PAD),
        "it pads more than height and width",
    ),
    Bad(
        "plain_pad",
        lambda p: p.with_constant("pad", np.zeros((4, 2), np.int32)),
        "it pads before padding SAME",
    ),
    Bad(
        "zero_floor",
        lambda p: p.with_constant("floor", np.float32(-1)),
        "it clips below at -1.0, expected 0",
        ".*relu",
    ),
    Bad(
        "zero_floor",
        lambda p: p.with_constant("cap", np.arange(8, dtype=np.float32)),
        "it clips above at a different value for each channel",
        ".*relu",
    ),
    Bad(
        "ungrouped",
        lambda p: p.with_shape("x", 2, 6, 6, 16),
        "it is a grouped convolution (16 channels into a filter of 8)",
        "conv.*",
    ),
    Bad(
        "same_shape",
        lambda p: p.with_shape("summand", 2, 1, 1, 8),
        "it adds shapes .*(2, 1, 1, 8)",
        ".*add.*",
    ),
    Bad("same_shape", lambda p: p.with_unknown_rank("summand"), r"it adds shapes .*\?", ".*add.*"),
    Bad("same_shape", lambda p: p.with_shape("summand", 1, 6, 6, 8), "it adds shapes", ".*add.*"),
    Bad(
        "per_channel",
        lambda p: p.with_constant("scale", np.ones((6, 1), np.float32)),
        "the constant of shape (6, 1) is not one number a channel",
    ),
    Bad(
        "per_channel",
        lambda p: p.with_shape("x", 2, 1, 1, 8),
        "a constant broadcasts the tensor to a larger shape",
    ),
    Bad("within_image", lambda p: p.with_attrs("pool", padding=b"EXPLICIT"), "its padding is explicit"),
    Bad("within_image", lambda p: p.with_attrs("pool", ksize=(1, 1, 1, 2)), "it pools over batch or channels"),
    Bad(
        "over_image",
        lambda p: p.with_constant("axes", np.array([1, 3])),
        "it is not the mean over height and width",
    ),
    Bad("over_image", lambda p: p.with_shape("x", 2, 8), "it is not the mean over height and width"),
    Bad(
        "over_image",
        lambda p: p.with_shape("x", 2, None, 6, 8),
        "height and width are not known before the run",
    ),
    Bad(
        "over_image",
        lambda p: p.with_shape("x", 2, 64, 64, 8),
        "an image of 4096 pixels is averaged faster in float",
    ),
    Bad("rank_two", lambda p: p.with_attrs("matmul", transpose_a=True), "it transposes its first operand"),
    Bad(
        "pads_nothing_negative",
        lambda p: p.with_constant("paddings", -BATCH_PAD),
        "it pads a negative amount",
    ),
    Bad("first_input_only", lambda p: p.with_root_port(1), "only its first output can be held in 8 bits"),
    Bad(
        "small_slope", lambda p: p.with_attrs("leaky", alpha=1.5), "its slope is 1.5, expected a number between 0 and 1"
    ),
    Bad(
        "small_slope",
        lambda p: p.with_constant("alpha", np.full(8, 0.1, np.float32)),
        "its slope differs from channel to channel",
    ),
    Bad(
        "gelu_constants",
        lambda p: p.with_constant("half", np.float32(0.4)),
        "it is no Gelu: half is [0.4",
        "matmul_gelu.*",
    ),
)
"""For `constant_axis` see `test_the_axis_of_a_concat_must_be_constant`: it needs another graph."""

CANNOT_FAIL = {
    *((name, "zero_floor") for name in ("conv", "conv_add", "depthwise", "depthwise_add", "affine", "add")),
    ("add", "finite_weight"),
    *((r.name, "zero_floor") for r in REWRITES if r.name.startswith("matmul_") and r.name != "matmul_relu"),
    *((r.name, "gelu_constants") for r in REWRITES if "gelu" not in r.name),
    ("concat", "constant_axis"),
}
"""Rewrites that share a condition about a leaf which their own pattern does not have."""


def conditions_of(rewrite: Rewrite) -> set[str]:
    """The names of its conditions; closures are named after the function that makes them."""
    return {condition.__qualname__.split(".")[0].lstrip("_") for condition in rewrite.when}


def rows() -> list[tuple[str, Bad]]:
    every = [
        (rewrite.name, bad)
        for rewrite in REWRITES
        for bad in BAD
        if bad.condition in conditions_of(rewrite) | {"dtype", "tensorflow"} and re.fullmatch(bad.only, rewrite.name)
    ]
    return [row for row in every if (row[0], row[1].condition) not in CANNOT_FAIL]


@pytest.mark.parametrize(("name", "bad"), rows(), ids=lambda v: v.condition if isinstance(v, Bad) else v)
def test_a_bad_graph_is_refused_with_its_reason(name: str, bad: Bad) -> None:
    spoilt = bad.spoil(Place.of(BY_NAME[name]))
    reason = spoilt.refusal
    assert reason is not None, f"{name} takes a graph that is bad by {bad.condition}"
    assert bad.reason in reason or re.search(bad.reason, reason), reason


def test_every_condition_of_every_rewrite_is_tested() -> None:
    tested = {(name, bad.condition) for name, bad in rows()}
    expected = {(r.name, condition) for r in REWRITES for condition in conditions_of(r)}
    assert expected - CANNOT_FAIL <= tested


def test_the_axis_of_a_concat_must_be_constant() -> None:
    model = BY_NAME["concat"].example()
    axis = Node("axis", "Placeholder", (), {"dtype": DType("int32"), "shape": Shape(())})
    nodes = [node.but(inputs=(*node.inputs[:-1], axis.ref)) if node.op == "ConcatV2" else node for node in model.graph]
    graph = Graph([axis, *nodes])
    found = match(graph, BY_NAME["concat"].pattern, graph["concatv2"])
    assert isinstance(found, Match)
    facts = Facts(tensors_of(model, feeds_for(model)))
    assert BY_NAME["concat"].refusal(found, facts) == "its axis is not constant"
