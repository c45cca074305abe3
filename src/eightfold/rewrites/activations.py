"""The activations that the kernels' Relu and saturation give for nothing.

Relu(x), Relu6(x), min(Relu(x), n), clip(x, 0, n)
"""

from __future__ import annotations

from eightfold.graph.pattern import Match, Pattern, const, either, op

__all__ = ["cap_of", "clipped"]


def clipped(inner: Pattern) -> Pattern:
    """A pattern for all of these over another pattern; the node is named `act`, a constant bound `cap`."""
    return either(
        op("Relu|Relu6", inner, name="act"),
        op("Minimum", op("Relu", inner, name="act"), const("cap")),
        op("Minimum", op("Maximum", inner, const("floor"), name="act"), const("cap")),
        op("Maximum", op("Minimum", inner, const("cap")), const("floor"), name="act"),
        op("Maximum", inner, const("floor"), name="act"),
    )


def cap_of(match: Match) -> float | None:
    """The upper bound of the activation, or `None`."""
    cap = match.get("cap")
    if cap is not None:
        return float(cap.max())
    return 6.0 if "act" in match and match.named["act"].op == "Relu6" else None
