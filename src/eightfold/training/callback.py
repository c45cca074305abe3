"""A Keras callback that recomputes the statistics of batch normalizations before every evaluation and save."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from eightfold.errors import DataError
from eightfold.training.statistics import Recorder

__all__ = ["RecomputeStatistics"]

WRITERS = ("save", "save_weights", "export")


class RecomputeStatistics(keras.callbacks.Callback):  # type: ignore[misc]
    """Recomputes them when training steps have been made since the last time, and the model is about to be used:

    before validation, before `evaluate` and `predict` that are given this callback, at the end of each epoch, and
    before the model is saved or exported by whatever callback (ModelCheckpoint, BackupAndRestore). Put it first in the
    list, so that callbacks which read the weights at the end of an epoch find the new ones.

        train = tf.data.Dataset....batch(512)
        model.fit(train, validation_data=test, callbacks=[RecomputeStatistics(train, limit=2)])

    To know of saves, `save`, `save_weights` and `export` of this one model are replaced while `fit` runs.
    """

    def __init__(self, batches: Iterable[Any], limit: int | None = None) -> None:
        """See `recompute_statistics`; the batches are read again each time.

        Raises:
            DataError: they can be read only once.
        """
        super().__init__()
        if isinstance(batches, Iterator):
            raise DataError(
                f"a {type(batches).__name__} gives its batches once; expected something to be read before each "
                "evaluation: a tf.data.Dataset or a list"
            )
        self._batches, self._limit = batches, limit
        self._recorder: Recorder | None = None
        self._stale = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Replaces the methods that write the model."""
        self._unwrap()
        self._recorder, self._stale = None, False
        for name in WRITERS:
            _Written(self.model, name, self._refresh)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """The step that begins changes the weights."""
        self._stale = True

    def on_test_begin(self, logs: Any = None) -> None:
        """Before validation and evaluation."""
        self._refresh()

    def on_predict_begin(self, logs: Any = None) -> None:
        """Before prediction."""
        self._refresh()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """For callbacks after this one, which may read the weights."""
        self._refresh()

    def on_train_end(self, logs: Any = None) -> None:
        """The model's own methods again."""
        self._unwrap()

    def _refresh(self) -> None:
        if not self._stale:
            return
        if self._recorder is None:
            self._recorder = Recorder(self.model)
        self._recorder.recompute(self._batches, self._limit)
        self._stale = False

    def _unwrap(self) -> None:
        for name in WRITERS:
            now = vars(self.model).get(name)
            if isinstance(now, _Written):
                now.undo()


class _Written:
    """A method of one model that writes it, with something done before."""

    def __init__(self, model: Any, name: str, before: Callable[[], None]) -> None:
        self._model, self._name, self._before = model, name, before
        self._own = vars(model).get(name)
        self._write = getattr(model, name)
        setattr(model, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._before()
        return self._write(*args, **kwargs)

    def undo(self) -> None:
        """The method is again what it was."""
        delattr(self._model, self._name)
        if self._own is not None:
            setattr(self._model, self._name, self._own)
