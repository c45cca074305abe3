"""What it costs to give a unit back, by measurement.

The nodes that appear when a unit goes back to float (the float ops, the Dequantize before and the Quantize after them)
are cut out and timed alone, on what reaches them in the 8-bit model; the 8-bit nodes that disappear are timed in the
8-bit model. Times are those of TensorFlow's own traces, medians of some runs.
"""

from __future__ import annotations

from collections.abc import Mapping

from eightfold.graph.ir import Array, DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model
from eightfold.quantization.calibrate import feeds_of
from eightfold.tf.session import Runner, infer
from eightfold.tf.trace import node_times

__all__ = ["Costs"]


class Costs:
    """Times of changes to one 8-bit model.

    Args:
        base: the 8-bit model.
        inputs: one batch, by name.
    """

    def __init__(self, base: Model, inputs: Mapping[str, Array]) -> None:
        self._base, self._feeds = base, feeds_of(base, inputs)
        self._tensors = infer(base.graph)
        self._identities = {node.name: _identity(node) for node in base.graph}
        outputs = [spec.ref for spec in base.default.outputs.values()]
        self._times = node_times(base.graph, outputs, self._feeds, init=base.init)
        self._run = Runner.of(base, optimize=False)

    def __enter__(self) -> Costs:
        return self

    def __exit__(self, *_: object) -> None:
        self._run.close()

    def of(self, candidate: Model) -> float:
        """How many milliseconds longer a batch takes in a candidate than in the base; negative where it is faster."""
        same = {node.name for node in candidate.graph if self._identities.get(node.name) == _identity(node)}
        vanished = (self._times.get(name, 0.0) for name in self._identities if name not in same)
        return self._alone(candidate.graph, same) - sum(vanished)

    def _alone(self, graph: Graph, known: set[str]) -> float:
        """Milliseconds of the nodes that are not in the base."""
        new = [node for node in graph if node.name not in known and node.op != "Const"]
        if not new:
            return 0.0
        part, fed = self._part(graph, new)
        values = self._run(list(fed), self._feeds)
        ends = [node.ref for node in new if _leads_out(node, graph, known)]
        return sum(node_times(part, ends, dict(zip(fed.values(), values, strict=True))).values())

    def _part(self, graph: Graph, new: list[Node]) -> tuple[Graph, dict[Ref, Ref]]:
        inside = {node.name for node in new}
        nodes: dict[str, Node] = {}
        fed: dict[Ref, Ref] = {}
        for node in new:
            for ref in node.inputs:
                if ref.node in inside:
                    continue
                if graph[ref].op == "Const":
                    nodes[ref.node] = graph[ref]
                else:
                    fed[ref] = Ref(f"{ref.node}/fed_{ref.port}")
            nodes[node.name] = node.but(inputs=tuple(fed.get(ref, ref) for ref in node.inputs), control=())
        for ref, place in fed.items():
            dtype, shape = self._tensors[ref]
            nodes[place.node] = Node(place.node, "Placeholder", (), {"dtype": dtype, "shape": shape})
        return graph.with_nodes(nodes.values()), fed


def _leads_out(node: Node, graph: Graph, known: set[str]) -> bool:
    """Whether somebody outside the new nodes reads one; what is read inside only may be fused."""
    readers = [user.name for ref, users in graph.users.items() if ref.node == node.name for user, _ in users]
    return not readers or any(name in known for name in readers)


def _identity(node: Node) -> tuple[object, ...]:
    """What tells nodes of one name apart: one may be in 8 bits and another in float."""
    kinds = sorted((key, value) for key, value in node.attrs.items() if isinstance(value, (DType, Shape)))
    return (node.op, *kinds)
