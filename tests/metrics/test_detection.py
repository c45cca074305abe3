"""Average precision of detectors: by hand, and against pycocotools."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from eightfold.errors import DataError, MissingExtraError
from eightfold.metrics import CocoMAP, Metric, VocMAP, compare, metric
from eightfold.metrics.precision import average_precision

SQUARE = [0.0, 0.0, 1.0, 1.0]
CORNER = [0.0, 0.0, 0.1, 0.1]


def outputs(*images: list[tuple[list[float], float, int]], count: int | None = None) -> dict[str, Any]:
    """What a detector gives: (box, score, class) for each detection of each image, padded."""
    most = max([len(image) for image in images] + [count or 0])
    boxes, scores, classes = (
        np.zeros((len(images), most, 4)),
        np.zeros((len(images), most)),
        np.ones((len(images), most)),
    )
    for i, image in enumerate(images):
        for j, (box, score, label) in enumerate(image):
            boxes[i, j], scores[i, j], classes[i, j] = box, score, label
    arrays = {"detection_boxes": boxes, "detection_scores": scores, "detection_classes": classes}
    arrays["num_detections"] = np.array([len(image) for image in images], float)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def labels(*images: list[list[float]]) -> np.ndarray:
    """Rows of objects, as TFRecord files give them."""
    rows = np.empty(len(images), object)
    for i, image in enumerate(images):
        rows[i] = np.array(image, np.float32).reshape(len(image), -1 if image else 6)
    return rows


def value(made: Metric, found: dict[str, Any], there: np.ndarray) -> float:
    made.update(found, there)
    return made.result().value


EVERY = ["coco-map", "coco-map50", "voc-map", "voc07-map"]


class TestByHand:
    # One class, two objects. Best first: right, wrong, right: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    FOUND = outputs([(SQUARE, 0.9, 1), (CORNER, 0.8, 1)], [(SQUARE, 0.7, 1)])
    THERE = labels([[*SQUARE, 1]], [[*SQUARE, 1]])

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("voc-map", (1 + 2 / 3) / 2),
            ("voc07-map", (6 * 1 + 5 * 2 / 3) / 11),
            ("coco-map50", (51 * 1 + 50 * 2 / 3) / 101),
            ("coco-map", (51 * 1 + 50 * 2 / 3) / 101),  # the boxes are exact, so all thresholds agree
        ],
    )
    def test_two_images(self, name: str, expected: float) -> None:
        made = metric(name)
        assert value(made, self.FOUND, self.THERE) == pytest.approx(expected, abs=1e-9)
        result = made.result()
        assert (result.name, result.n, result.counts, result.higher_is_better) == (name, 2, "images", True)
        assert 0.0 <= result.interval[0] < result.value < result.interval[1] <= 1.0

    @pytest.mark.parametrize("name", EVERY)
    def test_the_second_finding_of_an_object_is_wrong(self, name: str) -> None:
        found = outputs([(SQUARE, 0.9, 1), (SQUARE, 0.8, 1), ([0.5, 0.5, 0.9, 0.9], 0.7, 1)])
        there = labels([[*SQUARE, 1], [0.5, 0.5, 0.9, 0.9, 1]])
        points = {"voc-map": (1 + 2 / 3) / 2, "voc07-map": (6 + 5 * 2 / 3) / 11}
        assert value(metric(name), found, there) == pytest.approx(points.get(name, (51 + 50 * 2 / 3) / 101))

    @pytest.mark.parametrize("name", EVERY)
    def test_ignored_objects_do_not_count(self, name: str) -> None:
        found = outputs([(CORNER, 0.9, 1), (SQUARE, 0.8, 1)])
        there = labels([[*CORNER, 1, 1], [*SQUARE, 1, 0], [0.8, 0, 0.9, 0.1, 1, 1]])
        assert value(metric(name), found, there) == pytest.approx(1.0)

    def test_a_crowd_takes_any_number_of_detections_in_coco(self) -> None:
        found = outputs([(CORNER, 0.9, 1), ([0.2, 0.2, 0.3, 0.3], 0.8, 1), ([0.6, 0.6, 0.9, 0.9], 0.7, 1)])
        there = labels([[0.0, 0.0, 0.5, 0.5, 1, 1], [0.6, 0.6, 0.9, 0.9, 1, 0]])
        assert value(CocoMAP(0.5), found, there) == pytest.approx(1.0)
        assert value(VocMAP(), found, there) == pytest.approx(1 / 3)  # for VOC they overlap it too little

    def test_voc_and_coco_differ_where_the_nearest_object_is_taken(self) -> None:
        # Both detections overlap the first object most; the second one overlaps the second object by half as well.
        there = labels([[0.0, 0.0, 1.0, 1.0, 1], [0.0, 0.0, 1.0, 0.6, 1]])
        found = outputs([(SQUARE, 0.9, 1), ([0.0, 0.0, 1.0, 0.9], 0.8, 1)])
        assert value(CocoMAP(0.5), found, there) == pytest.approx(1.0)
        assert value(VocMAP(), found, there) == pytest.approx(0.5)

    @pytest.mark.parametrize("name", EVERY)
    def test_classes_are_averaged_and_those_without_objects_left_out(self, name: str) -> None:
        found = outputs([(SQUARE, 0.9, 1), (SQUARE, 0.9, 3)])
        assert value(metric(name), found, labels([[*SQUARE, 1], [*SQUARE, 2]])) == pytest.approx(0.5)

    @pytest.mark.parametrize("name", EVERY)
    def test_the_unit_of_boxes_is_free(self, name: str) -> None:
        rng = np.random.default_rng(0)
        found, there = random_images(rng, 6)
        scale = np.array([300.0, 500.0, 300.0, 500.0])
        larger = labels(*[[[*(row[:4] * scale), *row[4:]] for row in rows] for rows in there])
        boxes = found["detection_boxes"] * scale.astype(np.float32)
        expected = value(metric(name), found, there)
        assert value(metric(name), {**found, "detection_boxes": boxes}, larger) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("name", EVERY)
    def test_first_label(self, name: str) -> None:
        there = labels([[*SQUARE, 1]], [[*SQUARE, 1]])
        found = {**self.FOUND, "detection_classes": self.FOUND["detection_classes"] - 1}
        assert value(metric(name, first_label=1), found, there) > 0.8
        assert value(metric(name), found, there) == 0.0


def random_images(rng: np.random.Generator, count: int, noise: float = 0.05) -> tuple[dict[str, Any], np.ndarray]:
    """Objects of three classes, crowds among them, and a detector that finds most and invents some."""
    found, there = [], []
    for _ in range(count):
        n = int(rng.integers(0, 6))
        corner, size = rng.random((n, 2)) * 0.6, rng.random((n, 2)) * 0.35 + 0.05
        boxes, classes = np.hstack([corner, corner + size]), rng.integers(1, 4, n)
        there.append([[*box, c, float(rng.random() < 0.1)] for box, c in zip(boxes, classes, strict=True)])
        seen = [
            ((box + rng.normal(0, noise, 4) * np.tile(s, 2)).tolist(), round(float(rng.random()), 1), int(c))
            for box, c, s in zip(boxes, classes, size, strict=True)
            if rng.random() < 0.9
        ]
        wrong = [([0.1, 0.2, *(rng.random(2) + 0.3)], round(float(rng.random()), 1), 2) for _ in range(2)]
        found.append([*seen, *wrong])
    return outputs(*found, count=1), labels(*there)


def pycocotools_stats(found: dict[str, Any], there: np.ndarray) -> Any:
    """The twelve numbers of COCOeval.summarize for all images at once."""
    truth: list[dict[str, Any]] = []
    for i, rows in enumerate(there):
        for y0, x0, y1, x1, c, crowd in rows.astype(float).tolist():
            box = [x0, y0, x1 - x0, y1 - y0]
            truth.append({"image_id": i, "bbox": box, "area": box[2] * box[3], "category_id": int(c), "iscrowd": crowd})
    answers = []
    for i, count in enumerate(found["num_detections"].astype(int)):
        for j in range(count):
            y0, x0, y1, x1 = found["detection_boxes"][i, j].astype(float).tolist()
            score, c = float(found["detection_scores"][i, j]), int(found["detection_classes"][i, j])
            answers.append({"image_id": i, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score, "category_id": c})
    with redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(there))],
            "categories": [{"id": c} for c in (1, 2, 3)],
            "annotations": [{**annotation, "id": k + 1} for k, annotation in enumerate(truth)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31), batch=st.integers(1, 20))
def test_equal_to_pycocotools(seed: int, batch: int) -> None:
    found, there = random_images(np.random.default_rng(seed), 20)
    stats = pycocotools_stats(found, there)
    for name, expected in (("coco-map", stats[0]), ("coco-map50", stats[1])):
        made = metric(name)
        for start in range(0, 20, batch):
            part = slice(start, start + batch)
            made.update({key: array[part] for key, array in found.items()}, there[part])
        assert made.result().value == pytest.approx(expected, abs=1e-12)


def voc_devkit(found: dict[str, Any], there: np.ndarray, label: int) -> float:
    """`VOCevaldet.m` as it reads, but for its extra pixel."""
    taken = [np.zeros(len(rows), bool) for rows in there]
    every = [
        (float(found["detection_scores"][i, j]), i, found["detection_boxes"][i, j].astype(float))
        for i, count in enumerate(found["num_detections"].astype(int))
        for j in range(count)
        if found["detection_classes"][i, j] == label
    ]
    wanted = sum(int(((rows[:, 4] == label) & (rows[:, 5] == 0)).sum()) for rows in there)
    right, wrong = [], []
    for _, i, box in sorted(every, key=lambda one: -one[0]):
        best, chosen = -np.inf, -1
        for k, row in enumerate(there[i].astype(float)):
            height, width = min(box[2], row[2]) - max(box[0], row[0]), min(box[3], row[3]) - max(box[1], row[1])
            if row[4] == label and height > 0 and width > 0:
                areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, row)]
                overlap = height * width / (sum(areas) - height * width)
                if overlap > best:
                    best, chosen = overlap, k
        difficult = best >= 0.5 and there[i][chosen, 5] != 0
        fresh = best >= 0.5 and not difficult and not taken[i][chosen]
        if fresh:
            taken[i][chosen] = True
        right.append(int(fresh))
        wrong.append(int(not fresh and not difficult))
    tp, fp = np.cumsum(right), np.cumsum(wrong)
    recall = np.concatenate([[0], tp / wanted, [1]])
    precision = np.concatenate([[0], tp / np.maximum(tp + fp, 1), [0]])
    for k in range(len(precision) - 2, -1, -1):
        precision[k] = max(precision[k], precision[k + 1])
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(((recall[steps] - recall[steps - 1]) * precision[steps]).sum())


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31))
def test_equal_to_the_voc_development_kit(seed: int) -> None:
    found, there = random_images(np.random.default_rng(seed), 20)
    every = np.concatenate(list(there))
    present = np.unique(every[every[:, 5] == 0][:, 4])
    expected = np.mean([voc_devkit(found, there, label) for label in present])
    assert value(VocMAP(), found, there) == pytest.approx(expected, abs=1e-9)


class TestAveragePrecision:
    RECALL, PRECISION = np.array([0.0, 0.5, 0.5]), np.array([0.0, 0.5, 1 / 3])

    def test_area_and_points(self) -> None:
        assert average_precision(self.RECALL, self.PRECISION, None) == 0.25
        assert average_precision(self.RECALL, self.PRECISION, np.linspace(0, 1, 11)) == pytest.approx(6 * 0.5 / 11)

    def test_nothing_found(self) -> None:
        for points in (None, np.linspace(0, 1, 11)):
            assert average_precision(np.empty(0), np.empty(0), points) == 0.0


class TestNoise:
    def test_a_weight_counts_an_image_as_often(self) -> None:
        found, there = random_images(np.random.default_rng(5), 10)
        once, often = VocMAP(), VocMAP()
        weights = np.array([2, 0, 1, 3, 1, 0, 1, 1, 2, 1])
        repeated = np.repeat(np.arange(10), weights)
        once.update(found, there)
        often.update({key: array[repeated] for key, array in found.items()}, there[repeated])
        # Equal scores within and across the copies may change places; here there are few of them.
        assert once.sample().weighted(weights) == pytest.approx(often.result().value, abs=0.02)

    @pytest.mark.parametrize("make", [VocMAP, CocoMAP])
    def test_a_worse_detector_is_told_from_an_equal_one(self, make: Any) -> None:
        good, same, bad = make(), make(), make()
        for made, noise in ((good, 0.02), (same, 0.0201), (bad, 0.3)):
            found, there = random_images(np.random.default_rng(7), 60, noise)
            made.update(found, there)
        assert compare(good, same).verdict == "within the noise"
        assert compare(good, bad).verdict == "worse"
        result = good.result()
        assert 0.01 < result.interval[1] - result.interval[0] < 0.4


@pytest.mark.parametrize(
    ("changes", "there", "message"),
    [
        ({"detection_boxes": None}, labels([]), "needs the outputs detection_boxes; the model has detection_scores"),
        ({"detection_boxes": np.zeros((1, 2, 5))}, labels([]), r"their shapes are \[1, 2, 5\], \[1, 2\], \[1, 2\]"),
        ({}, np.zeros((1, 3)), r"one row for each object: .* of an image are float64\[3\]"),
        ({}, np.zeros((2, 3, 5)), "1 images and labels of 2"),
        ({}, labels([]), "there are no objects in the 1 images"),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], there: np.ndarray, message: str) -> None:
    found = outputs([(SQUARE, 0.9, 1), (SQUARE, 0.8, 1)]) | changes
    with pytest.raises(DataError, match=message):
        value(VocMAP(), {name: array for name, array in found.items() if array is not None}, there)


def test_padded_labels_and_no_count() -> None:
    found = outputs([(SQUARE, 0.9, 1)], [(SQUARE, 0.8, 2), (CORNER, 0.7, 2)])
    del found["num_detections"]
    there = np.zeros((2, 3, 5))
    there[0, 0], there[1, 0] = [*SQUARE, 1], [*SQUARE, 2]
    assert value(VocMAP(), found, there) == 1.0


def test_detections_that_are_no_numbers_are_none() -> None:
    found = outputs([([np.nan] * 4, 0.9, 1), (SQUARE, 0.8, 1), (SQUARE, np.nan, 1)])
    assert value(VocMAP(), found, labels([[*SQUARE, 1]])) == 1.0


def test_without_pycocotools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingExtraError, match=r"coco-map needs .*'pycocotools'.*pip install 'eightfold\[metrics\]'"):
        metric("coco-map")


def test_pycocotools_is_not_heard(capsys: pytest.CaptureFixture[str]) -> None:
    value(CocoMAP(), *random_images(np.random.default_rng(0), 3))
    assert capsys.readouterr() == ("", "")
