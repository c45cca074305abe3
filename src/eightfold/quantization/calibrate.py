"""Step 3a: the ranges of the float tensors that a plan names, from the user's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from eightfold.calibration.collect import MakeRunner, collect
from eightfold.calibration.observers import make_observer
from eightfold.data import Dataset, InputSpec, load
from eightfold.errors import DataError
from eightfold.graph.ir import Array, Graph, Ref
from eightfold.graph.model import Model
from eightfold.graph.ranges import Range
from eightfold.quantization.encodings import without_offset
from eightfold.quantization.export import Progress
from eightfold.quantization.plan import Plan
from eightfold.tf.session import Runner

__all__ = ["SAMPLES", "calibrate", "feeds_of", "make_runner", "open_data"]

_HISTOGRAM_BATCH = 16
"""Examples at a time where histograms are counted: TensorFlow takes the memory of each tensor once more for that."""

SAMPLES = 300
"""Examples used when the user does not say how many; more do not move the ranges of the nets measured."""


def open_data(
    model: Model,
    data: Any,
    *,
    samples: int | None = None,
    batch_size: int = 32,
    preprocess: str | None = None,
) -> Dataset:
    """The user's data, checked against the model's default signature."""
    specs = {name: InputSpec.of(name, spec) for name, spec in model.default.inputs.items()}
    return load(
        data,
        inputs=specs,
        batch_size=batch_size,
        samples=SAMPLES if samples is None else samples,
        preprocess=preprocess,
    )


def calibrate(
    model: Model,
    plan: Plan,
    data: Any,
    *,
    samples: int | None = None,
    batch_size: int = 32,
    preprocess: str | None = None,
    progress: Progress | None = None,
) -> dict[Ref, Range]:
    """Runs the float model on data and returns the range of each of `plan.tensors`.

    Memory does not grow with the data: the graph itself reduces each batch to a minimum, a maximum and, for the
    observers that want one, a histogram.

    Args:
        model: the exported model that the plan was made for.
        plan: names the tensors, and the observer of each by its recipe.
        data: an array, a dict of arrays, a `tf.data.Dataset`, an iterable of batches, a path, or `module:function`.
        samples: how many examples to use; 300 when left out.
        batch_size: examples in a batch.
        preprocess: for folders of images: raw, tf, torch, caffe or `module:function`.
        progress: told the number of examples seen.

    Returns:
        The range of each tensor, by its place in the float graph.

    Raises:
        DataError: the data does not fit the model, is empty, or drives a tensor to NaN or infinity.
    """
    dataset = open_data(model, data, samples=samples, batch_size=batch_size, preprocess=preprocess)
    observers = {ref: make_observer(**_observer(plan, ref)) for ref in plan.tensors}
    if not observers:
        return {}
    passes = 2 if any(observer.needs_histogram for observer in observers.values()) else 1
    if passes == 2 and not dataset.exact and "moving-average" not in {o.name for o in observers.values()}:
        dataset = replace(dataset, batch_size=min(dataset.batch_size, _HISTOGRAM_BATCH))
    tell = progress or (lambda *_: None)
    total = None if dataset.size is None else dataset.size * passes
    seen = 0

    def batches() -> Iterator[Mapping[Ref, Array]]:
        nonlocal seen
        for batch in dataset:
            yield feeds_of(model, batch.inputs)
            seen += batch.size
            tell("calibrate", seen, total)

    tell("calibrate", 0, total)
    return collect(model.graph, observers, batches, make_runner(model), below_zero=without_offset(plan))


def _observer(plan: Plan, ref: Ref) -> dict[str, Any]:
    node = plan.graph[ref]
    settings = plan.recipe.settings_for(node.name, node.op)
    return {"name": settings.observer, **settings.observer_options}


def make_runner(model: Model) -> MakeRunner:
    """Opens parts of the model's graph; what fills its tables and takes its inputs comes along."""
    kept = model.graph.ancestors([*model.init, *(spec.ref.node for spec in model.default.inputs.values())])

    def make(graph: Graph) -> Runner:
        missing = [node for node in model.graph if node.name in kept and node.name not in graph]
        return Runner(graph.with_nodes([*graph, *missing]), model.init)

    return make


def feeds_of(model: Model, inputs: Mapping[str, Array]) -> dict[Ref, Array]:
    """Arrays by input name as arrays by tensor of the default signature."""
    specs = model.default.inputs
    missing = set(specs) - set(inputs)
    if missing:
        raise DataError(f"input {sorted(missing)[0]!r} is missing from the data; expected {', '.join(sorted(specs))}")
    return {specs[name].ref: inputs[name] for name in specs}
