"""TFRecord files with the feature names of ImageNet and COCO, through to the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_files import encoded, picture, write

from eightfold.data import Batch, InputSpec, load
from eightfold.errors import DataError
from eightfold.metrics import evaluate, metric

IMAGE = {"image": InputSpec("image", "uint8", (None, 8, 8, 3))}
ANY_SIZE = {"image": InputSpec("image", "uint8", (1, None, None, 3))}


def coco(pixels: bytes, number: int, *objects: tuple[list[float], int, int]) -> dict[str, Any]:
    """A record as TensorFlow's create_coco_tf_record.py writes it: box, class and is_crowd of each object."""
    record: dict[str, Any] = {
        "image/encoded": pixels,
        "image/source_id": str(number).encode(),
        "image/height": 8,
        "image/width": 8,
    }
    if objects:  # pictures without annotations have none of these features
        sides = np.array([box for box, _, _ in objects], np.float32).T
        record |= {
            f"image/object/bbox/{side}": v for side, v in zip(("ymin", "xmin", "ymax", "xmax"), sides, strict=True)
        }
        record["image/object/class/label"] = [label for _, label, _ in objects]
        record["image/object/class/text"] = [b"cat" for _ in objects]
        record["image/object/is_crowd"] = [crowd for _, _, crowd in objects]
    return record


BOX, OTHER = [0.0, 0.25, 0.5, 1.0], [0.5, 0.5, 1.0, 0.75]


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Pictures with no, two and one object."""
    first, second = coco(picture(2), 2, (BOX, 17, 0), (OTHER, 18, 1)), coco(picture(3), 3, (BOX, 18, 0))
    return write(tmp_path / "coco_val.record-00000-of-00001", coco(picture(1), 1), first, second)


def test_objects_of_coco(three: Path) -> None:
    (batch,) = load(three, inputs=IMAGE)
    assert batch.labels is not None
    assert [rows.shape for rows in batch.labels] == [(0, 6), (2, 6), (1, 6)]
    np.testing.assert_array_equal(batch.labels[1], [[*BOX, 17, 0], [*OTHER, 18, 1]])
    assert batch.inputs["image"][:, 0, 0, 0].tolist() == [1, 2, 3]


def perfect(batches: list[Batch]) -> Any:
    """A detector that finds what is there, in the order of the batches."""
    labels = iter(batches)

    def run(inputs: Any) -> dict[str, Any]:
        rows = next(labels).labels
        assert rows is not None
        found = {"detection_boxes": np.zeros((len(rows), 2, 4)), "num_detections": np.array([len(r) for r in rows])}
        found["detection_scores"] = np.full((len(rows), 2), 0.9)
        found["detection_classes"] = np.zeros((len(rows), 2))
        for i, objects in enumerate(rows):
            found["detection_boxes"][i, : len(objects)] = objects[:, :4]
            found["detection_classes"][i, : len(objects)] = objects[:, 4]
        return found

    return run


@pytest.mark.parametrize("name", ["coco-map", "voc-map"])
def test_from_records_to_average_precision(three: Path, name: str) -> None:
    data = load(three, inputs=IMAGE, batch_size=2)
    result = evaluate(perfect(list(data)), data, metric(name))
    assert (result.value, result.n) == (pytest.approx(1.0), 3)


def test_difficult_objects_of_voc(tmp_path: Path) -> None:
    record = coco(picture(1), 1, (BOX, 1, 0), (OTHER, 2, 0))
    del record["image/object/is_crowd"]
    plain = write(tmp_path / "a.tfrecord", record)
    (batch,) = load(plain, inputs=IMAGE)
    assert batch.labels is not None
    assert batch.labels[0][:, 5].tolist() == [0, 0]
    (batch,) = load(write(plain, {**record, "image/object/difficult": [0, 1]}), inputs=IMAGE)
    assert batch.labels is not None
    assert batch.labels[0][:, 5].tolist() == [0, 1]


def test_pictures_with_boxes_are_stretched_not_cropped(tmp_path: Path) -> None:
    wide = np.zeros((10, 40, 3))
    wide[:, 20:] = 200  # the right half, in every size
    write(tmp_path / "a.tfrecord", coco(encoded(wide), 1, ([0, 0.5, 1, 1], 1, 0)))
    (batch,) = load(tmp_path, inputs=IMAGE)
    assert batch.inputs["image"][0, :, 2, 0].tolist() == [0] * 8
    assert batch.inputs["image"][0, :, 5, 0].tolist() == [200] * 8


def test_a_free_size_keeps_each_pictures_own(tmp_path: Path) -> None:
    sizes = ((10, 40), (12, 6))
    records = [coco(encoded(np.zeros((*size, 3))), i, (BOX, 1, 0)) for i, size in enumerate(sizes)]
    data = load(write(tmp_path / "pascal_val.record", *records), inputs=ANY_SIZE)
    assert [batch.inputs["image"].shape for batch in data] == [(1, 10, 40, 3), (1, 12, 6, 3)]
    assert data.notes == ("the model takes any picture size: the pictures keep their own",)


def test_imagenets_boxes_do_not_make_it_detection(tmp_path: Path) -> None:
    record = coco(picture(1), 1, (BOX, 1, 0)) | {"image/class/label": 1000, "image/class/synset": b"n15075141"}
    (batch,) = load(write(tmp_path / "train-00000-of-01024", record), inputs=IMAGE)
    assert batch.labels is not None
    assert batch.labels.tolist() == [1000]


def test_imagenets_labels_count_from_1(tmp_path: Path) -> None:
    records = [{"image/encoded": picture(i), "image/class/label": i + 1} for i in range(3)]
    data = load(write(tmp_path / "validation-00000-of-00001", *records), inputs=IMAGE)

    def run(inputs: Any) -> dict[str, Any]:  # a model of 3 classes whose class is the grey of the picture
        return {"scores": np.eye(3)[inputs["image"][:, 0, 0, 0]]}

    with pytest.raises(DataError, match=r"run from 1 to 3, and the model has the classes 0 to 2; .*--first-label"):
        evaluate(run, data, metric("top1"))
    assert evaluate(run, data, metric("top1", first_label=1)).value == 1.0


def test_objects_beside_tensors(tmp_path: Path) -> None:
    record = coco(b"", 1, (BOX, 3, 0)) | {"x": np.ones(6)}
    del record["image/encoded"]
    (batch,) = load(write(tmp_path / "a.tfrecord", record), inputs={"x": InputSpec("x", "float32", (None, 6))})
    assert batch.labels is not None
    np.testing.assert_array_equal(batch.labels[0], [[*BOX, 3, 0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image/object/class/label": None},
            r"of record 0 in .* have no image/object/class/label; names \(image/object/class/text\) are no numbers",
        ),
        ({"image/object/bbox/xmax": None}, "have no image/object/bbox/xmax"),
        ({"image/object/class/label": [1, 2]}, "features of different lengths: 1, 1, 1, 1, 2, 1"),
    ],
)
def test_objects_that_lack_something(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    record = coco(picture(1), 1, (BOX, 1, 0)) | change
    kept = {name: value for name, value in record.items() if value is not None}
    with pytest.raises(DataError, match=message):
        list(load(write(tmp_path / "a.tfrecord", kept), inputs=IMAGE))
