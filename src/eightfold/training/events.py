"""What TensorBoard shows: event files, written by TensorFlow itself, without the package tensorboard."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import tensorflow as tf

from eightfold.training.history import Epoch

__all__ = ["Events"]


class Events:
    """The event files of one run: `tensorboard --logdir OUTPUT/logs`. Use it as a context manager.

    Args:
        folder: for the files; a resumed run adds one.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))
        self._metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        )

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, epoch: Epoch) -> None:
        """All figures of an epoch, each as a curve over the epochs."""
        with self._writer.as_default():
            for one in fields(epoch):
                if one.name not in ("epoch", "step"):
                    self._write(one.name, getattr(epoch, one.name), epoch.epoch)
        self._writer.flush()

    def _write(self, name: str, value: float, at: int) -> Any:
        tf.summary.write(f"epoch/{name}", tf.constant(value, tf.float32), step=at, metadata=self._metadata)
