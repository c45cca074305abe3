"""How long each node of a graph takes, as TensorFlow itself measures it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import tensorflow as tf

from eightfold.graph.ir import Array, Graph, Ref
from eightfold.tf.session import import_graph

__all__ = ["node_times"]

_FED = ("_arg_", "_retval_", "_SOURCE", "_SINK")


def node_times(
    graph: Graph,
    fetches: Sequence[Ref],
    feeds: Mapping[Ref, Array],
    *,
    init: Sequence[str] = (),
    runs: int = 5,
) -> dict[str, float]:
    """Median milliseconds of each node that ran, from the traces of some runs after one that warms up.

    One node runs at a time, on all cores. TensorFlow fuses nodes before it runs them: a fused node has the name of
    the last one, and the others are not listed.

    Args:
        graph: what to run.
        fetches: the tensors to compute.
        feeds: arrays by tensor.
        init: nodes to run once first.
        runs: how many runs are traced.
    """
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=1)
    config.graph_options.rewrite_options.optimizers.append("remap")  # fuses; the others take seconds and change no time
    options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
    names, given = [str(ref) for ref in fetches], {str(ref): value for ref, value in feeds.items()}
    times: dict[str, list[float]] = {}
    with tf.compat.v1.Session(graph=import_graph(graph), config=config) as session:
        if init:
            session.run(list(init))
        session.run(names, given)
        for _ in range(runs):
            metadata = tf.compat.v1.RunMetadata()
            session.run(names, given, options=options, run_metadata=metadata)
            for name, taken in _traced(metadata).items():
                times.setdefault(name, []).append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def _traced(metadata: tf.compat.v1.RunMetadata) -> dict[str, float]:
    """Milliseconds by node; a node that ran several times, in a loop, has their sum."""
    found: dict[str, float] = {}
    for device in metadata.step_stats.dev_stats:
        for node in device.node_stats:
            if not node.node_name.startswith(_FED):
                taken = (node.op_end_rel_nanos - node.op_start_rel_nanos) / 1e6
                found[node.node_name] = found.get(node.node_name, 0.0) + taken
    return found
