"""What users hold, as checked batches: arrays, `tf.data`, iterables, pictures, `.npz`, TFRecord files."""

from __future__ import annotations

from eightfold.data.batch import Batch, Source
from eightfold.data.dataset import Dataset
from eightfold.data.load import load
from eightfold.data.photos import sample_photos
from eightfold.data.preprocess import PREPROCESSING, Preprocess, preprocessing
from eightfold.data.spec import InputSpec, fixed_batch

__all__ = [
    "PREPROCESSING",
    "Batch",
    "Dataset",
    "InputSpec",
    "Preprocess",
    "Source",
    "fixed_batch",
    "load",
    "preprocessing",
    "sample_photos",
]
