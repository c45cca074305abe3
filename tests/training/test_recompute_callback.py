"""The callback: statistics are new whenever the model is evaluated or saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from nets import compiled, data, made

from eightfold.errors import DataError
from eightfold.training.callback import RecomputeStatistics
from eightfold.training.layers import batch_norms
from eightfold.training.statistics import recompute_statistics


def statistics(model: Any) -> list[Any]:
    return [one.numpy() for layer in batch_norms(model) for one in (layer.moving_mean, layer.moving_variance)]


def fresh(model: Any, batches: Any) -> bool:
    """Whether recomputing the statistics changes nothing."""
    before = statistics(model)
    recompute_statistics(model, batches)
    return all(
        np.allclose(now, then, rtol=1e-5, atol=1e-7) for now, then in zip(statistics(model), before, strict=True)
    )


class Counted(list[Any]):
    """Batches, and how often they were read."""

    reads = 0

    def __iter__(self) -> Any:
        self.reads += 1
        return super().__iter__()


class Watch(keras.callbacks.Callback):
    """Looks at the statistics whenever validation begins."""

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches, self.seen = batches, []

    def on_test_begin(self, logs: Any = None) -> None:
        self.seen.append(fresh(self.model, self.batches))


def test_validation_sees_new_statistics_and_they_are_computed_once_an_epoch() -> None:
    pictures, labels = data(32)
    batches = Counted([pictures[:16], pictures[16:]])
    watch = Watch([pictures[:16], pictures[16:]])
    model = compiled(made("sequential"))
    model.fit(
        pictures,
        labels,
        validation_data=(pictures, labels),
        epochs=2,
        callbacks=[RecomputeStatistics(batches), watch],
        verbose=0,
    )
    assert watch.seen == [True, True]
    assert batches.reads == 2
    assert fresh(model, [*batches])


def test_files_saved_by_callbacks_before_it_have_them_too(tmp_path: Path) -> None:
    pictures, labels = data(32)
    model = compiled(made("sequential"))
    each = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    often = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}-{batch}.weights.h5", save_freq=1, save_weights_only=True
    )
    callback = RecomputeStatistics([pictures])
    model.fit(pictures, labels, batch_size=16, callbacks=[each, often, callback], verbose=0)
    assert fresh(keras.saving.load_model(tmp_path / "1.keras"), [pictures])
    weights = sorted(tmp_path.glob("*.h5"))
    assert len(weights) == 2
    for file in weights:
        twin = made("sequential")
        twin.load_weights(file)
        assert fresh(twin, [pictures])


def test_the_model_has_its_own_methods_afterwards() -> None:
    pictures, labels = data(16)
    model = compiled(made("sequential"))
    callback = RecomputeStatistics([pictures])
    model.fit(pictures, labels, callbacks=[callback], verbose=0)
    assert not {"save", "save_weights", "export"} & set(vars(model))


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        raise KeyboardInterrupt


def test_after_an_interruption_the_model_is_still_saved_with_new_statistics(tmp_path: Path) -> None:
    pictures, labels = data(16)
    model = compiled(made("sequential"))
    own = model.export = lambda path: None
    with pytest.raises(KeyboardInterrupt):
        model.fit(pictures, labels, callbacks=[RecomputeStatistics([pictures]), Stop()], verbose=0)
    model.save(tmp_path / "stopped.keras")
    assert fresh(keras.saving.load_model(tmp_path / "stopped.keras"), [pictures])
    model.fit(pictures, labels, callbacks=[RecomputeStatistics([pictures])], verbose=0)
    assert "save" not in vars(model)
    assert model.export is own


def test_batches_that_can_be_read_once_are_refused() -> None:
    with pytest.raises(DataError, match="a generator gives its batches once"):
        RecomputeStatistics(batch for batch in [np.zeros((1, 3))])
