"""TFRecord files of `tf.train.Example`s: pictures named as ImageNet's or COCO's, or tensors named like the inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.data.batch import Batch
from eightfold.data.pictures import DEFAULT_SIDE, Decoder, decoder
from eightfold.data.record_index import RecordIndex, records_from
from eightfold.data.records import PICTURE, class_label, has_objects, object_rows, values
from eightfold.data.spec import InputSpec
from eightfold.errors import DataError
from eightfold.graph.ir import Array

__all__ = ["TFRecordSource", "is_tfrecord", "tfrecord"]


class TFRecordSource:
    """Records of several files, in the order of the files."""

    repeatable = True

    def __init__(
        self,
        files: Sequence[Path],
        specs: Mapping[str, InputSpec],
        decode: Decoder | None,
        *,
        objects: bool,
        index: RecordIndex | None = None,
    ) -> None:
        self.files = files
        self.specs = specs
        self.decode = decode
        self.objects = objects
        self.index = index

    @property
    def size(self) -> int | None:
        return None if self.index is None else self.index.rows

    def read(self, start: int, batch_size: int) -> Iterator[Batch]:
        """The records from `start` on; see `Source.read`."""
        row, number, offset = (0, 0, 0) if self.index is None else self.index.before(start)
        for index, (name, record) in enumerate(records_from(self.files[number:], offset), row):
            if index >= start:
                yield self._batch(_features(record, name), f"of record {index} in {name}")

    def encoded(self) -> Iterator[tuple[str, bytes, Array | None]]:
        """Of each record its name for messages, its picture as it is stored (empty without one) and its label."""
        for index, (name, record) in enumerate(records_from(self.files)):
            features = _features(record, name)
            picture = features[PICTURE].bytes_list.value if PICTURE in features else ()
            yield f"record {index} in {name}", picture[0] if picture else b"", class_label(features, self.specs)

    def _batch(self, features: Mapping[str, Any], where: str) -> Batch:
        if self.decode is not None:
            encoded = _found(features, PICTURE, where).bytes_list.value
            if not encoded:
                raise DataError(f"the picture {where} is empty")
            inputs = {self.decode.spec.name: self.decode(encoded[0], where)[None]}
        else:
            inputs = {n: _tensor(_found(features, n, where), s, where)[None] for n, s in self.specs.items()}
        return Batch(inputs, self._labels(features, where))

    def _labels(self, features: Mapping[str, Any], where: str) -> Array | None:
        """With a batch axis of 1; rows of objects are one object, because their number differs."""
        if self.objects:
            labels = np.empty(1, object)
            labels[0] = object_rows(features, where)
            return labels
        label = class_label(features, self.specs)
        return None if label is None else label[None]


def is_tfrecord(path: Path) -> bool:
    """Whether a file has a TFRecord file's name: `a.tfrecord`, `a.tfrecords.gz`, `a.record`, `train-00000-of-00010`."""
    return path.is_file() and (".tfrecord" in path.name or "-of-" in path.name or path.suffix == ".record")


def tfrecord(
    files: Sequence[Path], specs: Mapping[str, InputSpec], preprocess: str | None
) -> tuple[TFRecordSource, tuple[str, ...]]:
    """The records of `files`, and notes on what was decided.

    A record holds a picture (`image/encoded`), or one feature for each input: numbers, the tensor's bytes, or
    what `tf.io.serialize_tensor` makes. Labels are in `image/class/label`, `label` or `y`, taken as they are; or,
    where there is none of them, in `image/object/...`, as object detection has them: see `object_rows`. Pictures
    with such labels are resized whole, so that boxes stay where they are; others are cropped at the centre.

    Raises:
        DataError: a file is no TFRecord file, or its records lack what the model needs.
        MissingExtraError: there are pictures and Pillow is not installed.
    """
    first = next(records_from(files), None)
    if first is None:
        raise DataError(f"the data set is empty: {files[0]} has no records")
    features = _features(first[1], first[0])
    objects = has_objects(features, specs)
    if PICTURE not in features or PICTURE in specs:
        if preprocess not in (None, "raw"):
            raise DataError(f"preprocessing '{preprocess}' is for pictures, and the records have no {PICTURE}")
        for name in specs:
            _found(features, name, f"of the first record in {first[0]}")
        return TFRecordSource(files, specs, None, objects=objects), ()
    decode, notes = _sized(replace(decoder(specs, preprocess), crop=not objects))
    return TFRecordSource(files, specs, decode, objects=objects), notes


def _sized(decode: Decoder) -> tuple[Decoder, tuple[str, ...]]:
    """With a size where the input leaves it free; pictures that are not cropped keep their own."""
    if not decode.crop and decode.height is None and decode.width is None:
        return decode, ("the model takes any picture size: the pictures keep their own",)
    if decode.height is not None and decode.width is not None:
        return decode, ()
    decode = replace(decode, height=decode.height or DEFAULT_SIDE, width=decode.width or DEFAULT_SIDE)
    return decode, (f"the model takes any picture size: made {decode.width} x {decode.height} pixels",)


def _features(record: bytes, name: Path) -> Mapping[str, Any]:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features: Mapping[str, Any] = tf.train.Example.FromString(record).features.feature
    except DecodeError as error:
        raise DataError(f"a record of {name} is not a tf.train.Example: {error}") from error
    return features


def _found(features: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in features:
        raise DataError(f"the feature '{key}' {where} is missing; it has: {', '.join(sorted(features))}")
    return features[key]


def _tensor(feature: Any, spec: InputSpec, where: str) -> Array:
    """One example of the input, without batch axis."""
    array = values(feature)
    shape = [-1 if d is None else d for d in (spec.shape or (None, None))[1:]]
    if spec.dtype != "string" and array.dtype == object:
        array = _from_bytes(b"".join(array), spec, where)
    if shape.count(-1) > 1 or array.ndim > 1:
        return array
    try:
        return array.reshape(shape)
    except ValueError:
        raise DataError(f"the feature '{spec.name}' {where} has {array.size} values; expected {spec}") from None


def _from_bytes(data: bytes, spec: InputSpec, where: str) -> Array:
    """Bytes that are the values themselves, or a tensor as `tf.io.serialize_tensor` writes it."""
    import tensorflow as tf

    dims = (spec.shape or ())[1:]
    if None not in dims and len(data) == spec.numpy.itemsize * int(np.prod([d or 1 for d in dims])):
        return np.frombuffer(data, spec.numpy)
    try:
        array: Array = tf.io.parse_tensor(data, tf.as_dtype(spec.dtype)).numpy()
    except tf.errors.OpError:
        raise DataError(f"the feature '{spec.name}' {where} has {len(data)} bytes, which are no {spec}") from None
    return array
