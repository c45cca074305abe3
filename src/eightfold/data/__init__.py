"""What users hold, as checked batches: arrays, `tf.data`, iterables, pictures, `.npz`, TFRecord files."""

from __future__ import annotations

from eightfold.data.augment import Augment
from eightfold.data.batch import Batch, Source
from eightfold.data.class_folder import ImageFolder, image_folder
from eightfold.data.dataset import Dataset
from eightfold.data.labelled import Labelled, read_labelled
from eightfold.data.load import load
from eightfold.data.photos import sample_photos
from eightfold.data.preprocess import PREPROCESSING, Preprocess, preprocessing
from eightfold.data.spec import InputSpec, fixed_batch
from eightfold.data.split import stratified, subsets

__all__ = [
    "PREPROCESSING",
    "Augment",
    "Batch",
    "Dataset",
    "ImageFolder",
    "InputSpec",
    "Labelled",
    "Preprocess",
    "Source",
    "fixed_batch",
    "image_folder",
    "load",
    "preprocessing",
    "read_labelled",
    "sample_photos",
    "stratified",
    "subsets",
]
