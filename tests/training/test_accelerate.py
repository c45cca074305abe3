"""`accelerate`: the same model, faster; what it says of it; a trial that leaves no trace."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import NETS, compiled, data, made

import eightfold.training.accelerate as accelerating
from eightfold.errors import ModelError, PlatformError, RecipeError
from eightfold.running.notices import SettingsWarning
from eightfold.system import onednn
from eightfold.training import batch_norm
from eightfold.training.accelerate import accelerate, decelerate
from eightfold.training.layers import batch_norms, layers
from eightfold.training.trial import Trial, example_inputs, trial

BFLOAT16 = pytest.mark.skipif(not accelerating.has_bfloat16(), reason="the CPU has no bfloat16")


@pytest.fixture(autouse=True)
def a_cpu_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decided is tested everywhere; TensorFlow computes bfloat16 on every CPU."""
    monkeypatch.setattr(accelerating, "has_bfloat16", lambda: True)


def tried(monkeypatch: pytest.MonkeyPatch, speedup: float) -> list[Any]:
    """Stands a trial with this result in for the timed one, and notes what it was given."""
    given: list[Any] = []

    def stand_in(model: Any, inputs: Any) -> Trial:
        given.append(inputs)
        return Trial(len(inputs), fp32=0.2, bf16=0.2 / speedup, speedup=speedup, rounds=5)

    monkeypatch.setattr(accelerating, "trial", stand_in)
    return given


@pytest.mark.parametrize("kind", NETS)
def test_training_goes_as_it_did(kind: str) -> None:
    pictures, labels = data()
    histories, outputs, weights = [], [], []
    for fast in (False, True):
        model = compiled(made(kind))
        if fast:
            assert accelerate(model, "fp32") is model
            assert len(model.acceleration.fused) == len(batch_norms(model)) > 0
        history = model.fit(pictures, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)
        histories.append(history.history["loss"])
        outputs.append(model.predict(pictures, verbose=0))
        weights.append([one.numpy() for one in model.variables])
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-4)
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1e-4)
    for before, now in zip(*weights, strict=True):
        np.testing.assert_allclose(now, before, rtol=0, atol=2e-4 * max(1, np.abs(before).max()))


@pytest.mark.parametrize("kind", NETS)
def test_weights_and_config_stay(kind: str) -> None:
    model = made(kind)
    weights, config = model.get_weights(), model.to_json()
    accelerate(model, "fp32")
    assert model.to_json() == config
    assert all(map(np.array_equal, weights, model.get_weights()))


def test_functions_that_fit_has_compiled_are_compiled_anew() -> None:
    model = compiled(made("sequential"))
    pictures, labels = data(16)
    model.fit(pictures, labels, verbose=0)
    slots = [one.numpy() for one in model.optimizer.variables]
    accelerate(model, "fp32")
    assert model.train_function is None
    assert all(map(np.array_equal, slots, [one.numpy() for one in model.optimizer.variables]))
    model.fit(pictures, labels, verbose=0)


def test_again_changes_nothing_and_can_be_undone() -> None:
    model = accelerate(made("functional"), "fp32")
    before = model.acceleration
    assert accelerate(model, "fp32").acceleration == before
    assert decelerate(model) is model
    assert not any(map(batch_norm.is_fused, batch_norms(model)))
    assert not hasattr(model, "acceleration")


def test_copies_are_models_of_keras() -> None:
    """A clone has layers of its own, which nobody asked to change."""
    model = accelerate(made("nested"), "fp32")
    pictures, _ = data(8)
    for twin in (keras.models.clone_model(model), copy.deepcopy(model)):
        assert not any(map(batch_norm.is_fused, batch_norms(twin)))
        twin.set_weights(model.get_weights())
        np.testing.assert_allclose(twin.predict(pictures, verbose=0), model.predict(pictures, verbose=0), atol=1e-5)
        assert len(accelerate(twin, "fp32").acceleration.fused) == 1


def test_other_models_are_left_alone() -> None:
    bystander = made("sequential")
    accelerate(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.BatchNormalization()]), "fp32")
    assert not any(map(batch_norm.is_fused, batch_norms(bystander)))


def test_the_report_says_what_was_left_and_why() -> None:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.BatchNormalization(name="good"),
            keras.layers.BatchNormalization(axis=2, name="odd"),
            keras.layers.BatchNormalization(axis=2, name="odder"),
        ],
        name="net",
    )
    done = accelerate(model, "fp32").acceleration
    assert done.fused == ("net/good",)
    assert [one.layer for one in done.unfused] == ["net/odd", "net/odder"]
    assert str(done) == (
        "batch norms fused: 1 of 3\n"
        "  net/odd and 1 more: its channels are axis 2 of 4: the kernel takes them first or last\n"
        "precision: fp32; as asked for"
    )
    assert json.loads(json.dumps(done.document()))["unfused"][0]["layer"] == "net/odd"


@pytest.mark.parametrize("kind", NETS)
def test_bfloat16_is_keras_policy_with_weights_in_float32(kind: str) -> None:
    model = compiled(accelerate(made(kind), "bf16"))
    assert model.acceleration.precision == "bf16"
    assert {one.dtype for one in model.trainable_variables} == {"float32"}
    norms = batch_norms(model)
    assert {one.compute_dtype for one in norms} == {"bfloat16"}
    pictures, labels = data(192)
    history = model.fit(pictures, labels, batch_size=32, epochs=6, verbose=0).history
    assert history["accuracy"][-1] > 0.9
    if kind != "own":  # of a class with a call of its own, nobody knows what gives the outputs
        assert model.predict(pictures[:1], verbose=0).dtype == np.float32


def test_raw_input_and_output_stay_in_float32() -> None:
    inputs = keras.Input((8, 8, 3))
    whole = keras.layers.Rescaling(1 / 255, name="rescale")(inputs)
    whole = keras.layers.Conv2D(4, 3, name="conv")(whole)
    whole = keras.layers.Conv2D(4, 3, dtype="float64", name="double")(whole)
    model = accelerate(keras.Model(inputs, keras.layers.Flatten(name="last")(whole)), "bf16")
    policies = {layer.name: layer.dtype_policy.name for layer in layers(model) if layer is not model}
    assert policies["rescale"] == policies["last"] == "float32"
    assert policies["conv"] == "mixed_bfloat16"
    assert policies["double"] == "float64"
    assert [one.layer for one in model.acceleration.float32] == ["rescale", "last"]
    assert "float32: rescale: it takes raw input" in str(model.acceleration)


def test_a_model_in_bfloat16_can_be_brought_back() -> None:
    model = accelerate(made("nested"), "bf16")
    weights = model.get_weights()
    accelerate(model, "fp32")
    assert model.acceleration.precision == "fp32"
    assert {layer.compute_dtype for layer in layers(model)} == {"float32"}
    assert all(map(np.array_equal, weights, model.get_weights()))


@pytest.mark.parametrize(("speedup", "precision"), [(1.6, "bf16"), (1.02, "fp32"), (0.7, "fp32")])
def test_auto_takes_what_the_trial_says(monkeypatch: pytest.MonkeyPatch, speedup: float, precision: str) -> None:
    given = tried(monkeypatch, speedup)
    done = accelerate(made("sequential"), batch_size=4).acceleration
    assert done.precision == precision
    assert f"({speedup:.2f}x, median of 5 rounds, batch 4)" in done.why
    assert given[0].shape == (4, 8, 8, 3)


def test_a_batch_may_be_given_with_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    given = tried(monkeypatch, 2)
    pictures, labels = data(6)
    accelerate(made("own"), batch=(pictures, labels))
    assert given[0] is pictures


def test_without_bfloat16_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    given = tried(monkeypatch, 2)
    monkeypatch.setattr(accelerating, "has_bfloat16", lambda: False)
    done = accelerate(made("sequential")).acceleration
    assert (done.precision, done.why, given) == ("fp32", "this CPU does not multiply bfloat16 numbers", [])
    model = made("sequential")
    with pytest.raises(PlatformError, match="expected avx512_bf16 or amx_bf16"):
        accelerate(model, "bf16")
    assert not any(map(batch_norm.is_fused, batch_norms(model)))


def test_where_no_batch_can_be_made_up_the_precision_stays() -> None:
    inputs = keras.Input((None, None, 3))
    open_sizes = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    assert "leaves sizes open; expected a batch" in accelerate(open_sizes).acceleration.why
    assert "its inputs are not known" in accelerate(made("own")).acceleration.why
    frozen = made("sequential")
    frozen.trainable = False
    assert "no weights to train" in accelerate(frozen).acceleration.why


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ModelError, match="expected a model of Keras 3 \\(keras.Model\\), received builtins.str"):
        accelerate("resnet50")
    with pytest.raises(ModelError, match="has no weights yet; expected a model that has been built"):
        accelerate(keras.Sequential([keras.layers.BatchNormalization()]))
    with pytest.raises(RecipeError, match="there is no precision 'int8'; expected one of auto, fp32, bf16"):
        accelerate(made("sequential"), "int8")


class Noisy(keras.layers.Layer):
    """Draws from every source of random numbers, and counts in a variable that Keras does not know."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.calls = tf.Variable(0.0, trainable=False)

    def call(self, inputs: Any) -> Any:
        self.calls.assign_add(1.0)
        noise = random.random() + np.random.rand() + tf.random.uniform([])
        return inputs * tf.cast(1 + 1e-3 * noise, inputs.dtype)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def everything(model: Any) -> list[Any]:
    """All the state that steps of training can change."""
    states = [one.numpy() for one in (*model.variables, *model.optimizer.variables, *model.metrics_variables)]
    noisy = next(layer for layer in model.layers if isinstance(layer, Noisy))
    return [*states, noisy.calls.numpy(), *(layer.dtype_policy.name for layer in layers(model))]


@pytest.mark.parametrize("fails", [False, True])
def test_the_trial_leaves_no_trace(fails: bool) -> None:
    keras.utils.set_random_seed(5)
    parts = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), Noisy()]
    ending = [keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *parts, *ending])
    model.compile("adam", "mse")
    model.fit(np.ones((4, 8, 8, 3)), np.ones((4, 3)), verbose=0)
    before = everything(model)

    def drawn() -> list[float]:
        return [random.random(), np.random.rand(), float(tf.random.uniform([])), float(keras.random.uniform([]))]

    keras.utils.set_random_seed(6)
    expected = drawn()
    keras.utils.set_random_seed(6)
    inputs = np.ones((3, 8, 8, 3), "float32")
    if fails:
        inputs[0] = np.nan
        with pytest.raises(tf.errors.InvalidArgumentError, match="nan"):
            trial(failing(model), inputs)
    else:
        result = trial(model, inputs, rounds=2)
        assert result.batch_size == 3
        assert result.rounds == 2
        assert min(result.fp32, result.bf16, result.speedup) > 0
    assert drawn() == expected
    for now, then in zip(everything(model), before, strict=True):
        np.testing.assert_array_equal(now, then)


def failing(model: Any) -> Any:
    """The model, which checks what it computes after its batch norms have been updated."""
    last = model.layers[-1]
    of_keras = last.call
    last.call = lambda inputs, training=None: tf.debugging.check_numerics(of_keras(inputs), "nan")
    return model


class Determinant(keras.layers.Layer):
    def call(self, inputs: Any) -> Any:
        return tf.linalg.det(inputs)  # TensorFlow has it in float32 alone

    def compute_output_shape(self, shape: Any) -> Any:
        return shape[:-2]


def test_a_model_that_bfloat16_cannot_train_stays_in_float32() -> None:
    parts = [keras.layers.Dense(4), Determinant(), keras.layers.Reshape((1,)), keras.layers.Dense(1)]
    done = accelerate(keras.Sequential([keras.Input((4, 4)), *parts])).acceleration
    assert done.precision == "fp32"
    assert done.why.startswith("a step in bfloat16 fails: ")


def test_a_slow_trial_ends_after_two_rounds() -> None:
    model = made("sequential")
    assert trial(model, example_inputs(model, 2), rounds=50, seconds=0).rounds == 2


def test_example_inputs_have_the_structure_of_the_inputs() -> None:
    inputs = {"tokens": keras.Input((5,), dtype="int32", name="tokens")}
    inputs["picture"] = keras.Input((4, 4, 1), name="picture")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(7, 2)(inputs["tokens"]))
    outputs = keras.layers.Concatenate()([embedded, keras.layers.Flatten()(inputs["picture"])])
    model = keras.Model(inputs, keras.layers.Dense(2)(outputs))
    made_up = example_inputs(model, 3)
    assert {name: (value.shape, value.dtype.name) for name, value in made_up.items()} == {
        "tokens": ((3, 5), "int32"),
        "picture": ((3, 4, 4, 1), "float32"),
    }
    assert trial(model, made_up, rounds=2).batch_size == 3


@BFLOAT16
def test_a_real_trial_decides() -> None:
    done = accelerate(made("sequential"), batch_size=2).acceleration
    assert done.trial is not None
    assert done.precision == ("bf16" if done.trial.speedup >= accelerating.GAIN else "fp32")


def test_tensorflow_without_onednn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setattr(onednn, "left_off", lambda *_: True)
    with pytest.warns(SettingsWarning, match="set TF_ENABLE_ONEDNN_OPTS=1 before TensorFlow is imported"):
        accelerate(made("functional"), "fp32")
