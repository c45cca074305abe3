"""A pass applied to a model, and that it computes the same before and after."""

from __future__ import annotations

from collections import Counter

import numpy as np

from eightfold.graph.model import Model
from eightfold.graph.reference import evaluate
from eightfold.passes.context import Context, Pass
from lowering import feeds_for, outputs_of


def context() -> Context:
    """TensorFlow's services for passes."""
    from eightfold.tf import session
    from eightfold.tf.inline import is_stateful

    return Context(session.evaluate, session.infer, is_stateful)


def ops(model: Model) -> Counter[str]:
    """How many nodes of each op there are, constants and placeholders left out."""
    return Counter(node.op for node in model.graph if node.op not in ("Const", "Placeholder"))


def applied(apply: Pass, model: Model, *, on_tensorflow: bool = False) -> Model:
    """The model after a pass; asserts equal outputs on random input.

    Args:
        apply: the pass.
        model: before.
        on_tensorflow: run both there, for what has no NumPy reference.
    """
    after = apply(model, context())
    feeds = feeds_for(model)
    for expected, actual in zip(_run(model, feeds, on_tensorflow), _run(after, feeds, on_tensorflow), strict=True):
        assert expected.shape == actual.shape
        assert expected.dtype == actual.dtype
        scale = np.abs(expected).max(initial=1e-6)
        np.testing.assert_allclose(actual, expected, atol=2e-5 * scale, rtol=2e-5)
    return after


def _run(model: Model, feeds: dict, on_tensorflow: bool) -> list[np.ndarray]:  # type: ignore[type-arg]
    if not on_tensorflow:
        return evaluate(model.graph, outputs_of(model), feeds)
    from eightfold.tf.session import Runner

    with Runner.of(model) as run:
        return run(outputs_of(model), feeds)


def kept(apply: Pass, model: Model) -> bool:
    """Whether a pass leaves a model alone: it gives the same object."""
    return apply(model, context()) is model
