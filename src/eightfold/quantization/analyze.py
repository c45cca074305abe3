"""Measures where an 8-bit model loses its signal and spends its time.

One graph holds the float model, the 8-bit model, and each 8-bit op by itself between a QuantizeV2 and a Dequantize, all
on the same tensors. It reduces everything to a few numbers a tensor before anything leaves it.

    x ─┬ Conv ─ Relu ─────────────────────────────── r       signal  Σ r²
       └ QuantizeV2 ─ fused Conv, Relu ─ Dequantize ─ a       noise   Σ (r - a)²
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from eightfold.data import Dataset
from eightfold.graph.encoding import Encoding
from eightfold.graph.ir import Array, DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model, Signature, TensorSpec
from eightfold.graph.ranges import Range
from eightfold.passes.summands import protect_summands
from eightfold.quantization.analysis import BARS, Analysis, Distribution, StepStats, TensorStats, decibels
from eightfold.quantization.encodings import choose_encodings
from eightfold.quantization.explain import written_for
from eightfold.quantization.lower import write
from eightfold.quantization.plan import Step
from eightfold.quantization.result import Quantized
from eightfold.quantization.weight_stats import weight_stats
from eightfold.rewrites.builder import FLOAT, Builder
from eightfold.tf.session import Runner
from eightfold.tf.trace import node_times

__all__ = ["SAMPLES", "analyze", "sample_of"]

SAMPLES = 8
"""Examples that are looked at, unless the model takes more at a time."""
_RUNS = 2
"""Traced runs of each graph."""
_NOTHING = 1e-12
"""The least upper bound of a histogram."""
_INT32 = DType("int32")


def sample_of(data: Dataset) -> Mapping[str, Array]:
    """The first examples of some data, as many as `analyze` should see."""
    batch = next(iter(data))
    return batch.inputs if data.exact else batch.cut(0, SAMPLES).inputs


def analyze(result: Quantized, inputs: Mapping[str, Array]) -> Analysis:
    """Compares an 8-bit model with the float model tensor by tensor, and times both op by op.

    Args:
        result: with calibrated ranges.
        inputs: a few examples, by input name.

    Raises:
        ValueError: the model computes its ranges while it runs: its tensors have no encoding to look at.
    """
    if result.ranges is None:
        raise ValueError("the ranges of a dynamic model are not known before it runs; expected a calibrated one")
    encodings = choose_encodings(result.plan, result.ranges, offsets=result.plan.recipe.offsets)
    feeds = {spec.ref: inputs[name] for name, spec in result.source.default.inputs.items()}
    probes = _Probes(result, encodings)
    with Runner.of(probes.model(), optimize=False) as run:
        fetches = list(dict.fromkeys(ref for refs in probes.wanted.values() for ref in refs))
        values = dict(zip(fetches, run(fetches, feeds), strict=True))
    measured = {key: [values[ref] for ref in refs] for key, refs in probes.wanted.items()}
    times = [_times(model, feeds) for model in (result.source, result.model)]
    return Analysis(
        samples=next((len(value) for value in inputs.values() if value.ndim), 1),
        steps={step.name: _step_stats(result, step, measured, *times) for step in result.plan.steps},
        tensors={str(ref): _tensor_stats(encodings[ref], *measured["seen", ref]) for ref in result.plan.tensors},
        float_ms=sum(times[0].values()),
        int8_ms=sum(times[1].values()),
        rest_ms=_rest(result, *times),
    )


def _times(model: Model, feeds: Mapping[Ref, Array]) -> dict[str, float]:
    fetches = [spec.ref for spec in model.default.outputs.values()]
    return node_times(model.graph, fetches, feeds, init=model.init, runs=_RUNS)


def _step_stats(
    result: Quantized,
    step: Step,
    measured: Mapping[tuple[str, Any], list[Array]],
    float_times: Mapping[str, float],
    int8_times: Mapping[str, float],
) -> StepStats:
    roots = {step.name for step in result.plan.steps}
    own = written_for(step, result.model.graph, result.plan.graph, roots)
    ratios = {
        kind: decibels(*map(float, measured[kind, step.name]))
        for kind in ("own", "total")
        if (kind, step.name) in measured
    }
    return StepStats(
        own_db=ratios.get("own"),
        total_db=ratios.get("total"),
        float_ms=sum(float_times.get(name, 0.0) for name in step.match.nodes),
        int8_ms=sum(int8_times.get(name, 0.0) for name in own),
        reads=tuple(str(ref) for ref, _ in step.reads),
        gives=str(step.match.root) if step.gives else "",
        weight=weight_stats(result.plan, step, result.report.weight_bits),
    )


def _tensor_stats(encoding: Encoding, lo: Array, hi: Array, counts: Array) -> TensorStats:
    values = Distribution.of(counts, Range(float(lo), float(hi)))
    codes = encoding.range
    return TensorStats(values, codes.lo, codes.hi, str(encoding.code.name).lower())


def _rest(
    result: Quantized, float_times: Mapping[str, float], int8_times: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Milliseconds of what is float in both graphs, unless it is next to nothing."""
    inside = {name for step in result.plan.steps for name in step.match.nodes}
    least = sum(int8_times.values()) / 1000
    return {
        node.name: (float_times.get(node.name, 0.0), int8_times[node.name])
        for node in result.source.graph
        if node.name not in inside and int8_times.get(node.name, 0.0) > least
    }


class _Probes:
    """The graph that measures.

    Attributes:
        wanted: the tensors that hold what is measured. `("seen", ref)`: its bounds with zero, counts [64];
            `("own", step)` and `("total", step)`: signal and noise.
    """

    def __init__(self, result: Quantized, encodings: Mapping[Ref, Encoding]) -> None:
        self._result, self._encodings = result, encodings
        self._b = Builder(result.source.graph, {}, lambda _: Shape.UNKNOWN)
        for node in result.source.graph:
            self._b.put(node)
        self._signals: dict[Ref, Ref] = {}
        self.wanted: dict[tuple[str, Any], list[Ref]] = {}
        for ref in result.plan.tensors:
            self.wanted["seen", ref] = self._seen(ref)
        inputs = {ref.node for ref in result.source.inputs}
        self._beside("int8", result.model.graph, inputs)
        for step in result.plan.steps:
            self._measure(step)

    def model(self) -> Model:
        """The graph, ready to run."""
        refs = [ref for refs in self.wanted.values() for ref in refs]
        outputs = {str(ref): TensorSpec(ref, FLOAT, Shape.UNKNOWN) for ref in refs}
        probe = Signature("probe", self._result.source.default.inputs, outputs)
        model = self._result.source.but(graph=self._b.graph(), signatures={"probe": probe})
        return protect_summands(model.pruned())

    def _measure(self, step: Step) -> None:
        """The error of a step: by itself, and with that of all before it."""
        root, result = step.match.root, self._result
        if not step.rewrite.same_scale:
            self.wanted["own", step.name] = [self._signal(root), self._noise(root, self._alone(step))]
        if step.name in result.model.graph:
            found = Ref(f"int8/{step.name}")
            if step.gives:
                found = self._b.dequantized(found.node, found, self._encodings[root])
            self.wanted["total", step.name] = [self._signal(root), self._noise(root, found)]

    def _alone(self, step: Step) -> Ref:
        """The result of a step in 8 bits that reads float tensors."""
        plan = self._result.plan
        graph, shared = _cut_out(plan.graph, step)
        specs = {name: TensorSpec(Ref(name), FLOAT, Shape.UNKNOWN) for name in shared}
        signature = Signature("step", specs, {"result": TensorSpec(step.match.root, FLOAT, Shape.UNKNOWN)})
        piece = Model(graph, {signature.name: signature})
        only = replace(plan, steps=(step,), refusals=())
        bits, learned = self._result.report.weight_bits, self._result.corrections
        written = write(piece, only, self._encodings, bits, learned)
        prefix = f"alone/{step.name}"
        self._beside(prefix, written.graph, shared)
        return _renamed(written.default.outputs["result"].ref, prefix, shared)

    def _beside(self, prefix: str, graph: Graph, shared: set[str]) -> None:
        """Adds a graph under a prefix; the nodes that are shared are those that are there already."""
        for node in graph:
            if node.name not in shared:
                inputs = tuple(_renamed(ref, prefix, shared) for ref in node.inputs)
                control = tuple(_renamed(Ref(name), prefix, shared).node for name in node.control)
                frame = node.attrs.get("frame_name")  # loops of one name would be one loop
                attrs = {**node.attrs, "frame_name": f"{prefix}/".encode() + frame} if frame else node.attrs
                copy = node.but(name=f"{prefix}/{node.name}", inputs=inputs, control=control, attrs=attrs)
                # TensorFlow merges equal nodes: two steps would share the codes that one of them adds into
                self._b.put(copy.with_attrs(_for=copy.name.encode()) if node.op == "QuantizeV2" else copy)

    def _seen(self, ref: Ref) -> list[Ref]:
        """The bounds of a histogram, with zero so that they differ for any values, and its counts."""
        flat = self._flat(ref)
        axis, count = self._b.const("axis", np.array(0, np.int32)), self._b.const("bars", np.array(BARS, np.int32))
        reduced = {"T": FLOAT, "Tidx": _INT32, "keep_dims": False}
        ends = []
        for reduce, limit, end in (("Min", "Minimum", 0.0), ("Max", "Maximum", _NOTHING)):
            found = self._b.add(reduce, f"{ref.node}/{reduce}", (flat, axis), reduced)
            least = self._b.const(f"least/{limit}", np.array(end, np.float32))
            ends.append(self._b.add(limit, f"{ref.node}/{limit}", (found, least), {"T": FLOAT}))
        bounds = self._b.add("Pack", f"{ref.node}/bounds", ends, {"T": FLOAT, "N": 2, "axis": 0})
        attrs = {"T": FLOAT, "dtype": _INT32}
        return [*ends, self._b.add("HistogramFixedWidth", f"{ref.node}/counts", (flat, bounds, count), attrs)]

    def _signal(self, ref: Ref) -> Ref:
        if ref not in self._signals:
            self._signals[ref] = self._sum(
                self._b.add("Square", f"{ref.node}/square", (self._flat(ref),), {"T": FLOAT})
            )
        return self._signals[ref]

    def _noise(self, ref: Ref, other: Ref) -> Ref:
        pair = (self._flat(ref), self._flat(other))
        return self._sum(self._b.add("SquaredDifference", f"{other.node}/error", pair, {"T": FLOAT}))

    def _sum(self, flat: Ref) -> Ref:
        axis = self._b.const("axis", np.array(0, np.int32))
        return self._b.add("Sum", f"{flat.node}/sum", (flat, axis), {"T": FLOAT, "Tidx": _INT32, "keep_dims": False})

    def _flat(self, ref: Ref) -> Ref:
        shape = self._b.const("flat", np.array([-1], np.int32))
        return self._b.add("Reshape", f"{ref.node}/flat", (ref, shape), {"T": FLOAT, "Tshape": _INT32})


def _cut_out(graph: Graph, step: Step) -> tuple[Graph, set[str]]:
    """The float nodes of a step with their constants, and placeholders for what they read, whose names come second."""
    nodes = {name: graph[name] for name in step.match.nodes}
    read: set[str] = set()
    for ref in [ref for node in list(nodes.values()) for ref in node.inputs]:
        source = graph[ref]
        if source.op == "Const":
            nodes[source.name] = source
        elif source.name not in nodes:
            read.add(source.name)
    stubs = [Node(name, "Placeholder", (), {"dtype": FLOAT, "shape": Shape.UNKNOWN}) for name in read]
    return graph.with_nodes([*nodes.values(), *stubs]), read


def _renamed(ref: Ref, prefix: str, shared: set[str]) -> Ref:
    return ref if ref.node in shared else Ref(f"{prefix}/{ref.node}", ref.port)
