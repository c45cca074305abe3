"""Constants are led into the loops of TensorFlow 1 that read them."""

from __future__ import annotations

import numpy as np

from eightfold.graph.edit import const_node
from eightfold.graph.ir import DType, Graph, Node, Ref
from eightfold.tf.frames import sometimes_run, within_frames

FLOAT = {"T": DType("float32")}


def loop(name: str, outer: Ref) -> list[Node]:
    """while h < 8: h = h + c, where c stands outside of the loop."""
    enter = {**FLOAT, "frame_name": name.encode(), "is_constant": False, "parallel_iterations": 10}
    return [
        Node(f"{name}/enter", "Enter", (outer,), enter),
        Node(f"{name}/merge", "Merge", (Ref(f"{name}/enter"), Ref(f"{name}/next")), {**FLOAT, "N": 2}),
        Node(f"{name}/less", "Less", (Ref(f"{name}/merge"), Ref("limit")), FLOAT),
        Node(f"{name}/cond", "LoopCond", (Ref(f"{name}/less"),)),
        Node(f"{name}/switch", "Switch", (Ref(f"{name}/merge"), Ref(f"{name}/cond")), FLOAT),
        Node(f"{name}/add", "AddV2", (Ref(f"{name}/switch", 1), Ref("c")), FLOAT),
        Node(f"{name}/next", "NextIteration", (Ref(f"{name}/add"),), FLOAT),
        Node(f"{name}/exit", "Exit", (Ref(f"{name}/switch"),), FLOAT),
    ]


def constants() -> list[Node]:
    return [const_node("limit", np.float32(8)), const_node("c", np.float32(3)), const_node("start", np.float32(1))]


def test_a_graph_without_loops_is_left_alone() -> None:
    graph = Graph([*constants(), Node("y", "AddV2", (Ref("start"), Ref("c")), FLOAT)])
    assert within_frames(graph) is graph
    assert sometimes_run(graph) == set()


def test_a_loop_gets_its_constants_and_runs() -> None:
    from eightfold.tf.session import evaluate

    graph = Graph([*constants(), *loop("w", Ref("start")), Node("y", "AddV2", (Ref("w/exit"), Ref("c")), FLOAT)])
    legal = within_frames(graph)
    assert legal["w/add"].inputs[1] == Ref("c/enter_w")
    assert legal["c/enter_w"].inputs == (Ref("c"),)
    assert legal["c/enter_w"].attrs["is_constant"] is True
    assert legal["y"].inputs[1] == Ref("c")  # outside of the loop, nothing changes
    assert evaluate(graph, [Ref("y")]) == [10 + 3]  # 1, 4, 7, 10
    assert within_frames(legal)["w/add"].inputs == legal["w/add"].inputs


def test_what_runs_only_sometimes() -> None:
    flag, x = const_node("flag", np.array(True)), Node("x", "Placeholder", (), {"dtype": DType("float32")})
    nodes = [
        flag,
        x,
        *constants(),
        *loop("w", Ref("x")),
        Node("split", "Switch", (Ref("w/exit"), Ref("flag")), FLOAT),
        Node("left", "Neg", (Ref("split"),), FLOAT),
        Node("right", "Relu", (Ref("split", 1),), FLOAT),
        Node("joined", "Merge", (Ref("left"), Ref("right")), {**FLOAT, "N": 2}),
        Node("y", "Relu", (Ref("joined"),), FLOAT),
    ]
    found = sometimes_run(Graph(nodes))
    assert {"w/enter", "w/merge", "w/add", "w/switch", "split", "left", "right"} <= found
    assert not {"x", "w/exit", "joined", "y"} & found
