"""Float models planned, calibrated and lowered in NumPy alone, and run on TensorFlow for comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eightfold.graph.encoding import Encoding
from eightfold.graph.ir import Array, DType, Graph, Ref, Shape
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.graph.reference import evaluate
from eightfold.graph.reference.registry import KERNELS
from eightfold.graph.reference.saturating import SATURATING
from eightfold.metrics import sqnr_db
from eightfold.quantization.encodings import choose_encodings
from eightfold.quantization.lower import lower_plan
from eightfold.quantization.plan import Plan, make_plan
from eightfold.quantization.recipe import Recipe
from eightfold.system.instructions import instruction_set, weight_bits

NEW = Recipe(min_tensorflow="2.17")
"""The recipe under which every rewrite may be used."""

OF_THIS_CPU = (KERNELS,) if instruction_set().exact else (SATURATING, KERNELS)
"""What the kernels may compute on this CPU. Without VNNI sums of two products saturate, but not where oneDNN has no
implementation for a shape and takes its plain one (`ref:any`): for depthwise filters with several outputs a channel."""

COARSER = 2 ** (8 - weight_bits())
"""How many times larger the step of a weight is on this CPU than with VNNI: 2 with 7 bits, which is 6 dB."""

_QUANTIZED = {"quint8", "qint8"}


def feeds_for(model: Model, seed: int = 0, lo: float = -1.0, hi: float = 1.0, batch: int = 2) -> dict[Ref, Array]:
    """Uniform random input for each input of a model; unknown dimensions get the batch size."""
    random = np.random.default_rng(seed)
    return {
        spec.ref: random.uniform(lo, hi, [batch if d is None else d for d in spec.shape]).astype(np.float32)
        for spec in model.default.inputs.values()
    }


def tensors_of(model: Model, feeds: Mapping[Ref, Array]) -> dict[Ref, tuple[DType, Shape]]:
    """Dtype and shape of the first output of every node, as a run in NumPy finds them."""
    refs = [node.ref for node in model.graph]
    values = evaluate(model.graph, refs, feeds)
    return {ref: (DType(v.dtype.name), Shape(v.shape)) for ref, v in zip(refs, values, strict=True)}


def outputs_of(model: Model) -> list[Ref]:
    return [spec.ref for spec in model.default.outputs.values()]


@dataclass(frozen=True)
class Lowered:
    """One model on its way into 8 bits: everything in NumPy, `on_tensorflow` excepted."""

    model: Model
    plan: Plan
    ranges: Mapping[Ref, Range]
    feeds: Mapping[Ref, Array]

    @cached_property
    def int8(self) -> Model:
        return lower_plan(self.model, self.plan, self.ranges)

    @cached_property
    def encodings(self) -> Mapping[Ref, Encoding]:
        return choose_encodings(self.plan, self.ranges, offsets=self.plan.recipe.offsets)

    @cached_property
    def expected(self) -> list[Array]:
        """The float outputs."""
        return evaluate(self.model.graph, outputs_of(self.model), self.feeds)

    @cached_property
    def actual(self) -> list[Array]:
        """The 8-bit outputs."""
        return evaluate(self.int8.graph, outputs_of(self.int8), self.feeds)

    @property
    def sqnr_db(self) -> float:
        """Of the worst output."""
        return min(sqnr_db(e, a) for e, a in zip(self.expected, self.actual, strict=True))

    @property
    def ops(self) -> Counter[str]:
        """How many nodes of each op the 8-bit graph has."""
        return Counter(node.op for node in self.int8.graph)

    def real(self, ref: Ref) -> Array:
        """What the 8-bit graph holds for a float tensor that a step computes, as numbers."""
        (codes,) = evaluate(self.int8.graph, [Ref(ref.node)], self.feeds)
        return self.encodings[ref].dequantize(codes)


def lowered(
    model: Model,
    recipe: Recipe = NEW,
    feeds: Mapping[Ref, Array] | None = None,
    ranges: Mapping[Ref, Range] | None = None,
) -> Lowered:
    """Plans a model and calibrates it on the feeds.

    Args:
        model: needs a NumPy reference for each op.
        recipe: all rewrites by default.
        feeds: random input in -1..1 by default.
        ranges: replace what calibration finds for some tensors.
    """
    feeds = feeds_for(model) if feeds is None else feeds
    plan = make_plan(model, tensors_of(model, feeds), recipe)
    values = evaluate(model.graph, plan.tensors, feeds)
    found = {ref: Range(float(v.min()), float(v.max())) for ref, v in zip(plan.tensors, values, strict=True)}
    return Lowered(model, plan, {**found, **(ranges or {})}, feeds)


def rewrites_of(plan: Plan) -> dict[str, str]:
    """The name of the rewrite by the name of each step."""
    return {step.name: step.rewrite.name for step in plan.steps}


def reasons_of(plan: Plan) -> dict[str, str]:
    """Why each node that was refused stays in float."""
    return {refusal.node: refusal.reason for refusal in plan.refusals}


# --- TensorFlow ---------------------------------------------------------------------------------------------------


def plain(array: Array) -> Array:
    """Fetched quantized tensors come as structured arrays of one field."""
    return array.view(array.dtype[0]) if array.dtype.fields else array


def quantized_tensors(graph: Graph) -> list[Ref]:
    """The first outputs of the nodes that compute on codes."""
    return [node.ref for node in graph if node.op != "Const" and _gives_codes(graph, node.ref)]


def _gives_codes(graph: Graph, ref: Ref) -> bool:
    node = graph[ref]
    kind = node.attrs.get("type" if node.op == "Bitcast" else "out_type", node.attrs.get("Tout", node.attrs.get("T")))
    return str(kind) in _QUANTIZED


def _fetched(case: Lowered, refs: list[Ref]) -> dict[Ref, Array]:
    """The codes that TensorFlow computes.

    A fused sum adds into the buffer of its summand, and a tensor that is fetched has a second reader: where there are
    sums, each tensor is fetched from a graph that ends in it.
    """
    from eightfold.tf.session import Runner

    sums = any(b"Sum" in node.attrs.get("fused_ops", ()) for node in case.int8.graph)
    found: dict[Ref, Array] = {}
    for part in [[ref] for ref in refs] if sums else [refs]:
        graph = case.int8.graph.pruned(ref.node for ref in part)
        feeds = {key: value for key, value in case.feeds.items() if key.node in graph}
        with Runner(graph, intra=1, inter=1) as run:
            found.update(zip(part, map(plain, run(part, feeds)), strict=True))
    return found


def assert_tensorflow_agrees(case: Lowered, *, steps: int = 1) -> None:
    """Every 8-bit tensor on TensorFlow equals the NumPy reference of this CPU on the same codes, op by op.

    Each op is run by the reference on the codes that TensorFlow computed before it, so that a difference of one
    step (where float32 rounding meets a tie) does not add up along the graph.
    """
    from eightfold.tf.session import Runner

    graph = case.int8.graph
    refs = quantized_tensors(graph)
    assert refs, "nothing is in 8 bits"
    fetched = _fetched(case, refs)
    for ref, actual in fetched.items():
        given = {key: value for key, value in fetched.items() if key != ref}
        computed = [evaluate(graph, [ref], {**case.feeds, **given}, kernels=kernels)[0] for kernels in OF_THIS_CPU]
        assert {expected.dtype for expected in computed} == {actual.dtype}, ref
        apart = min(np.abs(expected.astype(int) - actual.astype(int)).max(initial=0) for expected in computed)
        assert apart <= steps, f"{ref} ({graph[ref].op}) is {apart} steps off"
    with Runner.of(case.int8, intra=1, inter=1) as run:
        outputs = run(outputs_of(case.int8), case.feeds)
    for ref, actual in zip(outputs_of(case.int8), outputs, strict=True):
        computed = [evaluate(graph, [ref], {**case.feeds, **fetched}, kernels=kernels)[0] for kernels in OF_THIS_CPU]
        assert any(np.abs(e - actual).max(initial=0) <= 1e-2 * np.abs(e).max(initial=1e-12) for e in computed), ref


def with_values(model: Model, **values: Array) -> Model:
    """The model with other constants, by node name."""
    return model.but(
        graph=model.graph.mapped(lambda node: node.with_attrs(value=values[node.name]) if node.name in values else node)
    )
