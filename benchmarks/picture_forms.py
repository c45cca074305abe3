"""Pictures in the forms in which they are kept for a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eightfold.data import InputSpec, load

__all__ = ["BYTES", "JPEGS", "RECORDS", "in_form"]

JPEGS, RECORDS, BYTES = "JPEG files", "JPEGs in TFRecord files", "bytes in an .npy file"
SIDE = 224
RECORDS_IN_A_FILE = 1000


def in_form(form: str, images: Path, work_dir: Path) -> Path:
    """Where the pictures of a folder are in a form; made there the first time."""
    if form == JPEGS:
        return images
    place = Path(work_dir, {RECORDS: "records", BYTES: "bytes.npy"}[form])
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f"unfinished-{place.name}")
        (_write_records if form == RECORDS else _write_bytes)(images, beside)
        beside.rename(place)
    return place


def _write_bytes(images: Path, file: Path) -> None:
    specs = {"image": InputSpec("image", "uint8", (None, SIDE, SIDE, 3))}
    dataset = load(images, inputs=specs)
    assert dataset.size is not None
    rows = np.lib.format.open_memmap(file, "w+", np.uint8, (dataset.size, SIDE, SIDE, 3))
    at = 0
    for batch in dataset:
        rows[at : at + batch.size] = batch.inputs["image"]
        at += batch.size
    rows.flush()


def _write_records(images: Path, folder: Path) -> None:
    import tensorflow as tf

    folder.mkdir(exist_ok=True)
    files = sorted(images.rglob("*.jpg"))
    for at in range(0, len(files), RECORDS_IN_A_FILE):
        with tf.io.TFRecordWriter(str(folder / f"part-{at // RECORDS_IN_A_FILE:05}.tfrecord")) as writer:
            for file in files[at : at + RECORDS_IN_A_FILE]:
                picture = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file.read_bytes()]))
                features = tf.train.Features(feature={"image/encoded": picture})
                writer.write(tf.train.Example(features=features).SerializeToString())
