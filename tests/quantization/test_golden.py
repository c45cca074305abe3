"""The plan and the 8-bit graph of small nets, word for word.

A change of these texts is a change of what users get: read the difference, then write the files anew with

    GOLDEN=write pytest tests/quantization/test_golden.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eightfold.graph.encoding import Code
from eightfold.graph.ir import DType, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.graph.text import format_graph
from eightfold.graph.writer import Writer
from eightfold.quantization.plan import Plan
from lowering import Lowered, lowered

FOLDER = Path(__file__).parent.parent / "golden"
INT32 = DType("int32")
POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 1, 1, 1), "padding": b"SAME", "data_format": b"NHWC"}


def residual() -> Model:
    """A residual block with a projection shortcut, a global mean and a dense layer, as in ResNet."""
    w = Writer()
    x = w.input("image", (2, 8, 8, 4))
    stem = w.node("Relu", w.bias(w.conv(x, w.normal(3, 3, 4, 8, scale=0.2), strides=2), w.normal(8)), name="stem")
    inner = w.node("Relu", w.bias(w.conv(stem, w.normal(3, 3, 8, 8, scale=0.1)), w.normal(8)), name="inner")
    branch = w.bias(w.conv(inner, w.normal(1, 1, 8, 8, scale=0.3)), w.normal(8))
    shortcut = w.bias(w.conv(stem, w.normal(1, 1, 8, 8, scale=0.3)), w.normal(8))
    total = w.node("Relu", w.node("AddV2", branch, shortcut), name="total")
    mean = w.node("Mean", total, w.const([1, 2]), attrs={"Tidx": INT32, "keep_dims": False}, name="mean")
    return w.model(logits=w.bias(w.matmul(mean, w.normal(8, 3)), w.normal(3)))


def inverted_residual() -> Model:
    """Expand, depthwise, project, add without a Relu, as in MobileNetV2; a Tanh stays float."""
    w = Writer()
    x = w.input("image", (2, 8, 8, 4))
    start = w.bias(w.conv(x, w.normal(1, 1, 4, 4)), w.normal(4))
    wide = w.node("Relu6", w.bias(w.conv(start, w.normal(1, 1, 4, 16)), w.normal(16)), name="wide")
    deep = w.conv(wide, w.normal(3, 3, 16, 1, scale=0.3), depthwise=True)
    deep = w.node("Relu6", w.bias(deep, w.normal(16)), name="deep")
    narrow = w.bias(w.conv(deep, w.normal(1, 1, 16, 4, scale=0.3)), w.normal(4))
    total = w.node("AddV2", narrow, start, name="total")
    return w.model(y=w.conv(w.node("Tanh", total), w.normal(3, 3, 4, 4)))


def branches() -> Model:
    """Branches of one scale, a pool and a pad between them, a clip that wants its own, as in Inception."""
    w = Writer()
    x = w.input("image", (2, 8, 8, 4))
    stem = w.node("Relu", w.conv(x, w.normal(1, 1, 4, 4)), name="stem")
    pooled = w.node("MaxPool", stem, attrs=POOL, name="pooled")
    clipped = w.node("Relu6", w.conv(stem, w.normal(1, 1, 4, 4, scale=3)), name="clipped")
    wide = w.node("Relu", w.conv(stem, w.normal(1, 1, 4, 4, scale=3)), name="wide")
    joined = w.node("ConcatV2", pooled, clipped, wide, w.const(3), attrs={"N": 3, "Tidx": INT32}, name="joined")
    paddings = w.const([[0, 0], [1, 1], [1, 1], [0, 0]])
    padded = w.node("Pad", joined, paddings, attrs={"Tpaddings": INT32}, name="padded")
    return w.model(y=w.conv(padded, w.normal(3, 3, 12, 4), padding="VALID"), joined=joined)


def dense() -> Model:
    """Dense layers whose activations are fused, and one whose result is float."""
    w = Writer()
    x = w.input("features", (4, 16))
    hidden = w.node("Elu", w.bias(w.matmul(x, w.normal(16, 8, scale=0.3)), w.normal(8)), name="hidden")
    gate = w.node("Sigmoid", w.matmul(hidden, w.normal(8, 8)), name="gate")
    return w.model(logits=w.bias(w.matmul(gate, w.normal(8, 3)), w.normal(3)), hidden=hidden)


NETS: dict[str, Callable[[], Model]] = {f.__name__: f for f in (residual, inverted_residual, branches, dense)}


def rounded(case: Lowered) -> dict[Ref, Range]:
    """Ranges of one digit: no float sum of another machine changes the text."""
    return {ref: Range(round(r.lo, 1), round(r.hi, 1)) for ref, r in case.ranges.items()}


def code_text(codes: Code) -> str:
    """Python writes combined flags in another order from one version to the next."""
    return "|".join(str(code.name).lower() for code in (Code.UNSIGNED, Code.OFFSET, Code.SIGNED) if code & codes)


def plan_text(plan: Plan) -> str:
    steps = [
        f"{step.name}: {step.rewrite.name} of {', '.join(step.match.nodes)} reads "
        + ", ".join(f"{ref} as {code_text(code)}" for ref, code in step.reads)
        for step in plan.steps
    ]
    refusals = [f"{r.node}: {r.op} stays float, {r.reason}" for r in plan.refusals]
    return "\n".join([*steps, *refusals])


def text_of(model: Model) -> str:
    case = lowered(model)
    case = lowered(model, ranges=rounded(case))
    encodings = "\n".join(f"{ref} {encoding}" for ref, encoding in case.encodings.items())
    parts = {"plan": plan_text(case.plan), "encodings": encodings, "8-bit graph": format_graph(case.int8.graph)}
    return "\n".join(f"--- {title}\n{text.rstrip()}\n" for title, text in parts.items())


@pytest.mark.parametrize("name", NETS)
def test_the_text_of_a_net(name: str) -> None:
    text, file = text_of(NETS[name]()), FOLDER / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NETS)
def test_the_net_is_right(name: str) -> None:
    """So that nobody keeps a golden text of a wrong graph."""
    case = lowered(NETS[name]())
    assert case.sqnr_db > 25
