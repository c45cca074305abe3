"""Tiny models in the forms in which users hold them, and a way to run what was read from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from eightfold.graph.ir import Array
from eightfold.graph.model import Model
from eightfold.tf.session import Runner

__all__ = ["graph_of", "ops", "run", "save_v1", "seeded"]


def seeded(*shape: int, seed: int = 0, scale: float = 0.5) -> Array:
    """Normal numbers, float32."""
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def run(model: Model, signature: str | None = None, **inputs: Any) -> dict[str, Array]:
    """The outputs of one signature, the default one when none is named."""
    chosen = model.signatures[signature] if signature else model.default
    feeds = {chosen.inputs[name].ref: value for name, value in inputs.items()}
    with Runner.of(model) as runner:
        values = runner([spec.ref for spec in chosen.outputs.values()], feeds)
    return dict(zip(chosen.outputs, values, strict=True))


def ops(model: Model) -> list[str]:
    """The op of each node that is no constant, in order."""
    return [node.op for node in model.graph if node.op != "Const"]


def graph_of(build: Callable[[], Any]) -> Any:
    """A graph of TensorFlow 1, with what `build` adds to it."""
    graph = tf.Graph()
    with graph.as_default():
        build()
    return graph


def save_v1(graph: Any, folder: Path, inputs: dict[str, str], outputs: dict[str, str]) -> Path:
    """The graph as a SavedModel of TensorFlow 1 whose variables have their initial values; a checkpoint beside it."""
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        session.run([tf.compat.v1.global_variables_initializer(), tf.compat.v1.tables_initializer()])
        tensors = graph.get_tensor_by_name
        tf.compat.v1.saved_model.simple_save(
            session,
            str(folder / "saved_model"),
            {key: tensors(name) for key, name in inputs.items()},
            {key: tensors(name) for key, name in outputs.items()},
            legacy_init_op=tf.compat.v1.tables_initializer(),
        )
        if tf.compat.v1.global_variables():
            tf.compat.v1.train.Saver().save(session, str(folder / "checkpoint" / "model.ckpt"))
    return folder / "saved_model"
