"""The Gaussian error linear unit as exporters write it (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016).

    erf form     0.5 · x · (1 + erf(x / √2)), or 0.5 · x · erfc(-x / √2), which is the same
    tanh form    0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))

The factors may stand in any order; `gelu_constants` checks their values.
"""

from __future__ import annotations

import math

from eightfold.graph.ir import Ref
from eightfold.graph.pattern import Match, Pattern, const, either, op
from eightfold.graph.writer import Writer
from eightfold.rewrites.rewrite import Facts

__all__ = ["gelu_constants", "gelu_erf", "gelu_tanh", "write_gelu"]

_EXPECTED = {
    "half": 0.5,
    "one": 1.0,
    "root": math.sqrt(0.5),
    "outer": math.sqrt(2 / math.pi),
    "inner": 0.044715,
    "cube": 3.0,
}


def _gated(x: Pattern, gate: Pattern) -> Pattern:
    """0.5 · x · gate, however it is bracketed."""
    half = const("half")
    return either(
        op("Mul", op("Mul", x, half, commutative=True), gate, commutative=True),
        op("Mul", op("Mul", x, gate, commutative=True), half, commutative=True),
        op("Mul", x, op("Mul", gate, half, commutative=True), commutative=True),
    )


def gelu_erf(x: Pattern) -> Pattern:
    """The erf form over a pattern, which it names twice."""
    erf = op("Erf", op("Mul", x, const("root"), commutative=True))
    erfc = op("Erfc", op("Mul", op("Neg", x), const("root"), commutative=True))
    return either(_gated(x, op("Add|AddV2", erf, const("one"), commutative=True)), _gated(x, erfc))


def gelu_tanh(x: Pattern) -> Pattern:
    """The tanh form over a pattern, which it names several times."""
    cube = op("Pow", x, const("cube"))
    scaled = op("Mul", cube, const("inner"), commutative=True)
    total = op("Add|AddV2", x, scaled, commutative=True)
    tanh = op("Tanh", op("Mul", total, const("outer"), commutative=True))
    return _gated(x, op("Add|AddV2", tanh, const("one"), commutative=True))


def gelu_constants(match: Match, facts: Facts) -> str | None:
    """The constants must be those of Gelu."""
    for name, expected in _EXPECTED.items():
        value = match.get(name)
        if value is None:
            continue
        if value.size != 1 or not math.isclose(float(value.reshape(-1)[0]), expected, rel_tol=1e-3):
            return f"it is no Gelu: {name} is {value.reshape(-1)[:4].tolist()}, expected {expected:.6g}"
    return None


def write_gelu(w: Writer, x: Ref, *, tanh: bool) -> Ref:
    """Either form as a float graph."""
    if tanh:
        cube = w.node("Mul", w.node("Pow", x, w.const(3.0)), w.const(_EXPECTED["inner"]))
        inner = w.node("Tanh", w.node("Mul", w.node("AddV2", x, cube), w.const(_EXPECTED["outer"])))
    else:
        inner = w.node("Erf", w.node("Mul", x, w.const(_EXPECTED["root"])))
    return w.node("Mul", w.node("Mul", x, w.const(0.5)), w.node("AddV2", inner, w.const(1.0)))
