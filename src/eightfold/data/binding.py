"""Which array goes to which input: by name, or where only one way is possible."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eightfold.data.batch import Batch
from eightfold.data.checks import castable, fits_shape
from eightfold.data.spec import InputSpec, described
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["as_array", "bound", "bound_element", "bound_names"]

Specs = Mapping[str, InputSpec]


def bound_names(arrays: Mapping[str, Any], specs: Specs) -> dict[str, Array]:
    """The arrays by input name, in the model's order.

    Raises:
        DataError: an input has no array, or an array no input.
    """
    missing, extra = sorted(set(specs) - set(arrays)), sorted(set(arrays) - set(specs))
    if missing or extra:
        parts = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unknown: {', '.join(extra)}"] * bool(extra)
        raise DataError(
            f"the names in the data are not those of the model's inputs; {'; '.join(parts)} "
            f"(the model has: {', '.join(specs)})"
        )
    return {name: as_array(arrays[name], name) for name in specs}


def bound(value: Any, specs: Specs) -> tuple[dict[str, Array], Any]:
    """Inputs by name, and labels or None, of an array, a dict, `(x, y)`, or several arrays.

    A tuple of two is `(x, y)` for a model of one input, and wherever its first part is itself a dict, tuple
    or list. Several arrays are bound to several inputs only where dtypes and shapes allow a single way.

    Raises:
        DataError: names that do not match, or more than one way to bind the arrays.
    """
    if isinstance(value, tuple) and len(value) == 2 and (len(specs) == 1 or _is_group(value[0])):
        return bound(value[0], specs)[0], value[1]
    if isinstance(value, tuple) and len(value) == 1:
        return bound(value[0], specs)
    if isinstance(value, Mapping):
        return bound_names(value, specs), None
    if len(specs) == 1:
        if isinstance(value, tuple):
            raise DataError(f"a batch for a model of one input is x or (x, y), not a tuple of {len(value)} parts")
        name = next(iter(specs))
        return {name: as_array(value, name)}, None
    if isinstance(value, (tuple, list)) and len(value) == len(specs):
        return _the_only_way([as_array(part, "data") for part in value], specs), None
    raise DataError(
        f"the model has {len(specs)} inputs ({', '.join(specs)}); give their arrays by name, as a dict, "
        f"instead of {_received(value)}"
    )


def bound_element(value: Any, specs: Specs) -> Batch:
    """One element of a stream as a batch; a single example, told by its rank, gets a batch axis of 1."""
    inputs, labels = bound(value, specs)
    if _is_single(inputs, specs):
        inputs = {name: array[None] if specs[name].rank != 0 else array for name, array in inputs.items()}
        return Batch(inputs, None if labels is None else as_array(labels, "labels")[None])
    batch = Batch(inputs, None if labels is None else as_array(labels, "labels"))
    check_lengths(batch)
    return batch


def check_lengths(batch: Batch) -> None:
    """Raises `DataError` where inputs and labels differ in how many examples they have."""
    lengths = {f"'{name}'": len(array) for name, array in batch.inputs.items() if array.ndim}
    if batch.labels is not None:
        lengths["labels"] = len(batch.labels) if batch.labels.ndim else 0
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name}: {count}" for name, count in lengths.items())
        raise DataError(f"the arrays have different numbers of examples: {counts}")


def as_array(value: Any, name: str) -> Array:
    """The value as a NumPy array.

    Raises:
        DataError: it is no array, or a ragged one.
    """
    if isinstance(value, np.ndarray):
        return value
    if not (hasattr(value, "__array__") or isinstance(value, (list, tuple, int, float, str, bytes, np.generic))):
        raise DataError(f"'{name}' must be an array, not {_received(value)}")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"'{name}' is not a regular array: {error}") from None
    return array


def _is_group(value: Any) -> bool:
    return isinstance(value, (Mapping, tuple, list))


def _is_single(inputs: Mapping[str, Array], specs: Specs) -> bool:
    """Whether every array lacks just the batch axis."""
    ranked = [(array, spec.rank) for name, spec in specs.items() if spec.rank for array in (inputs[name],)]
    return bool(ranked) and all(array.ndim == rank - 1 for array, rank in ranked)


def _the_only_way(arrays: Sequence[Array], specs: Specs) -> dict[str, Array]:
    ways = list(itertools.islice(_ways(arrays, list(specs.values())), 2))
    if len(ways) == 1:
        return {name: ways[0][name] for name in specs}
    received = ", ".join(described(a.dtype, a.shape) for a in arrays)
    expected = ", ".join(str(spec) for spec in specs.values())
    how = "in more than one way" if ways else "in no way"
    raise DataError(
        f"arrays without names ({received}) can be bound {how} to the inputs {expected}; "
        f"give a dict with the inputs' names"
    )


def _ways(arrays: Sequence[Array], specs: Sequence[InputSpec]) -> Iterable[dict[str, Array]]:
    """Every way to give each input one array that fits it."""
    if not specs:
        yield {}
        return
    spec, rest = specs[0], specs[1:]
    for i, array in enumerate(arrays):
        if _fits(array, spec):
            others = [*arrays[:i], *arrays[i + 1 :]]
            for way in _ways(others, rest):
                yield {spec.name: array, **way}


def _fits(array: Array, spec: InputSpec) -> bool:
    single = spec.rank and array.ndim == spec.rank - 1
    shape = (1, *array.shape) if single else array.shape
    return castable(array.dtype, spec) and fits_shape(shape, spec.shape)


def _received(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"one array {described(value.dtype, value.shape)}"
    return f"a {type(value).__name__}"
