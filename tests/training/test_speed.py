from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold.bench import Runtime, Settings, compare
from eightfold.bench.protocol import Figures, Job, Refusal, Told
from eightfold.errors import ModelError, RecipeError
from eightfold.graph.ir import Array
from eightfold.training.speed import STOCK, WORKER, How, accelerated, stock
from eightfold.training.speed_worker import LEARNING_RATE, MOMENTUM, load, our_step, train_step

QUICK = Settings(mode="throughput", batches=3, rounds=1, warm_up_batches=1)


HERE = Path(__file__).parent


def test_a_subject_by_name() -> None:
    subject = accelerated("ResNet-50", Runtime(batch_size=32), precision="fp32")
    assert (subject.name, str(subject.model)) == ("resnet50", "resnet50")
    assert subject.command == (*WORKER, "--how", "fp32", "--image-size", "224")
    assert subject.runtime == Runtime(batch_size=32)


def test_a_subject_by_function() -> None:
    subject = accelerated("nets:small", Runtime(), side=64)
    assert (subject.name, str(subject.model)) == ("nets:small", "nets:small")
    assert subject.command == (*WORKER, "--how", "auto", "--image-size", "64")


def test_stock_is_the_same_network_with_onednn() -> None:
    subject = stock("xception", Runtime(batch_size=32, intra=2))
    assert (subject.name, str(subject.model)) == (STOCK, "xception")
    assert subject.command == (*WORKER, "--how", "stock", "--image-size", "299")
    assert subject.runtime == Runtime(32, intra=2, env={"TF_ENABLE_ONEDNN_OPTS": "1"})


def test_what_cannot_be_trained_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model at resnet51; .* such as resnet50"):
        accelerated("resnet51", Runtime())
    with pytest.raises(ModelError, match="there is no model at .*lost.keras; expected a .keras or .h5 file"):
        accelerated(str(tmp_path / "lost.keras"), Runtime())
    with pytest.raises(ModelError, match="a SavedModel holds no way to train it"):
        accelerated(str(tmp_path), Runtime())
    with pytest.raises(RecipeError, match="not of the compiled functions that train"):
        stock("resnet50", Runtime(layout="NCHW"))
    (tmp_path / "net.keras").touch()
    with pytest.raises(RecipeError, match="net.keras has inputs of its own size; --image-size is for"):
        accelerated(str(tmp_path / "net.keras"), Runtime(), side=64)


def dense(activation: str | None = "softmax", regularizer: str | None = None) -> Any:
    import keras

    layer = keras.layers.Dense(3, activation=activation, kernel_regularizer=regularizer)
    return keras.Sequential([keras.Input((4,), name="x"), layer])


@pytest.fixture
def data() -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(5, 4)).astype(np.float32), rng.integers(0, 3, 5)


def softmax(logits: Array) -> Array:
    powers: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("activation", ["softmax", None])
def test_a_step_is_gradient_descent_with_momentum_on_the_cross_entropy(
    activation: str | None, data: tuple[Array, Array]
) -> None:
    """Beside the same two steps in NumPy, whether the network ends in a softmax or before it."""
    model, (x, y) = dense(activation), data
    kernel, bias = (np.asarray(one) for one in model.weights)
    moved = [np.zeros_like(kernel), np.zeros_like(bias)]
    step = train_step(model)
    for _ in range(2):
        scores = softmax(x @ kernel + bias)
        assert float(step([x], y)) == pytest.approx(-np.log(scores[np.arange(5), y]).mean(), rel=1e-5)
        wrong = (scores - np.eye(3)[y]) / 5
        for place, gradient in enumerate((x.T @ wrong, wrong.sum(axis=0))):
            moved[place] = MOMENTUM * moved[place] - LEARNING_RATE * gradient
        kernel, bias = kernel + moved[0], bias + moved[1]
    np.testing.assert_allclose(model.weights[0], kernel, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.weights[1], bias, rtol=1e-4, atol=1e-6)


def test_what_layers_add_to_the_loss_counts(data: tuple[Array, Array]) -> None:
    model, (x, y) = dense(regularizer="l2"), data
    kernel = np.asarray(model.weights[0])
    cross_entropy = -np.log(softmax(x @ kernel)[np.arange(5), y]).mean()
    assert float(train_step(model)([x], y)) == pytest.approx(cross_entropy + 0.01 * (kernel**2).sum(), rel=1e-5)


def test_batch_norms_learn_their_averages(data: tuple[Array, Array]) -> None:
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dense(3)])
    train_step(model)([data[0]], data[1])
    np.testing.assert_allclose(model.layers[0].moving_mean, 0.5 * data[0].mean(axis=0), rtol=1e-5, atol=1e-6)


def keras_file(folder: Path, model: Any) -> str:
    path = folder / "net.keras"
    model.save(path)
    return str(path)


def npz(folder: Path, **arrays: Array) -> str:
    path = folder / "data.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


@pytest.mark.parametrize("how", ["stock", "fp32"])
def test_a_run_is_a_step_on_synthetic_data(tmp_path: Path, how: How) -> None:
    run, versions = load(Job(keras_file(tmp_path, dense()), 8), how)
    losses = [run() for _ in range(20)]
    assert all(isinstance(one, Figures) for one in losses)
    assert losses[-1]["loss"] < losses[0]["loss"]  # type: ignore[index]
    assert {"tensorflow", "keras"} <= set(versions)


def test_given_batches_are_used_in_turn(tmp_path: Path, data: tuple[Array, Array]) -> None:
    """Five examples make two batches of two; the fifth is left out, and the third step sees the first batch again."""
    model, (x, y) = dense(), data
    run, _ = load(Job(keras_file(tmp_path, model), 2, feeds=npz(tmp_path, x=x, y=y)), "stock")
    step = train_step(model)
    for at in (0, 2, 0):
        assert run() == {"loss": pytest.approx(float(step([x[at : at + 2]], y[at : at + 2])), rel=1e-6)}


def test_data_of_less_than_a_batch_is_repeated(tmp_path: Path, data: tuple[Array, Array]) -> None:
    model, (x, y) = dense(), data
    run, _ = load(Job(keras_file(tmp_path, model), 7, feeds=npz(tmp_path, x=x, y=y[:, None])), "stock")
    again = [0, 1, 2, 3, 4, 0, 1]
    assert run() == {"loss": pytest.approx(float(train_step(model)([x[again]], y[again])), rel=1e-6)}


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (None, "the data has no labels; training needs whole class numbers as `y`"),
        (np.array([0, 1, 3, 0, 0]), "the classes 0 to 2, and the labels go from 0 to 3"),
        (np.array([0, -1, 2, 0, 0]), "the labels go from -1 to 2"),
        (np.zeros(5, np.float32), r"the labels are float32 of shape \(5,\); expected one whole number"),
        (np.eye(5, 3, dtype=np.int64), r"the labels are int64 of shape \(5, 3\); expected one whole number"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, data: tuple[Array, Array], labels: Array | None, why: str
) -> None:
    feeds = npz(tmp_path, x=data[0]) if labels is None else npz(tmp_path, x=data[0], y=labels)
    with pytest.raises(Refusal, match=why):
        load(Job(keras_file(tmp_path, dense()), 5, feeds=feeds))


def test_inputs_that_do_not_fit_are_refused(tmp_path: Path, data: tuple[Array, Array]) -> None:
    with pytest.raises(Refusal, match="the data does not fit the input"):
        load(Job(keras_file(tmp_path, dense()), 5, feeds=npz(tmp_path, x=data[0][:, :3], y=data[1])))


def test_models_that_cannot_be_trained_are_refused(tmp_path: Path) -> None:
    import keras

    x = keras.Input((4,))
    with pytest.raises(
        Refusal, match=r"expected one output of scores \(batch, classes\), found \(None, 2\), \(None, 3"
    ):
        load(Job(keras_file(tmp_path, keras.Model(x, [keras.layers.Dense(2)(x), keras.layers.Dense(3)(x)])), 2))
    with pytest.raises(Refusal, match=r"found \(None, 1\)"):
        load(Job(keras_file(tmp_path, keras.Model(x, keras.layers.Dense(1)(x))), 2))
    with pytest.raises(Refusal, match="has no weights that can be trained"):
        load(Job(keras_file(tmp_path, keras.Sequential([x, keras.layers.Softmax()])), 2))
    (tmp_path / "net.keras").write_bytes(b"PK")
    with pytest.raises(Refusal, match="net.keras is damaged: a .keras file is a zip archive"):
        load(Job(str(tmp_path / "net.keras"), 2))
    with pytest.raises(Refusal, match="there is no model at resnet51"):
        load(Job("resnet51", 2))


@pytest.mark.parametrize("how", ["stock", "auto"])
def test_two_inputs_are_told_apart_by_name(tmp_path: Path, how: How) -> None:
    """Both structures that Keras has for several inputs, with inputs of one shape in another order than in the file."""
    import keras

    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    scores = keras.layers.Dense(2, use_bias=False)(keras.layers.Concatenate()([a, b]))
    values = {name: np.full((1, 2), value, np.float32) for name, value in (("b", 7), ("a", 3))}
    feeds = npz(tmp_path, **values, y=np.array([1]))
    for inputs in ([b, a], {"b": b, "a": a}):
        model = keras.Model(inputs, scores)
        logits = np.concatenate([values["a"], values["b"]], axis=1) @ np.asarray(model.weights[0])
        run, _ = load(Job(keras_file(tmp_path, model), 1, feeds=feeds), how)
        assert run() == {"loss": pytest.approx(-np.log(softmax(logits)[0, 1]), rel=1e-4, abs=1e-5)}


def test_our_step_is_that_of_eightfold_train() -> None:
    """Fused batch norms, and the optimizer that the recipe has for the batch."""
    import keras

    def normed() -> Any:
        body = [keras.layers.Conv2D(16, 3), keras.layers.BatchNormalization(), keras.layers.GlobalAveragePooling2D()]
        return keras.Sequential([keras.Input((8, 8, 3)), *body, keras.layers.Dense(3)])

    for size, optimizer in ((4, "sgd"), (128, "muon")):
        batch = [np.random.default_rng(0).random((size, 8, 8, 3), np.float32)], np.zeros(size, np.int32)
        model = normed()
        step, about = our_step(model, "fp32", batch)
        assert about == {"optimizer": optimizer, "precision": "fp32; as asked for", "batch norms": "1 of 1 fused"}
        assert float(step(*batch)) > 0
        assert not np.array_equal(model.layers[1].moving_mean, np.zeros(16))


def test_what_a_worker_says_of_a_step(tmp_path: Path) -> None:
    path = keras_file(tmp_path, dense())
    run, _ = load(Job(path, 2), "fp32")
    assert isinstance(run, Told)
    assert run.about["batch norms"] == "0 of 0 fused"
    run, _ = load(Job(path, 2), "stock")
    assert isinstance(run, Told)
    assert run.about["optimizer"] == "momentum"


def test_bfloat16_needs_a_cpu_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eightfold.training import accelerate

    monkeypatch.setattr(accelerate, "has_bfloat16", lambda: False)
    with pytest.raises(Refusal, match="this CPU does not multiply bfloat16 numbers"):
        load(Job(keras_file(tmp_path, dense()), 2), "bf16")


def test_measures_ours_beside_stock(tmp_path: Path, data: tuple[Array, Array]) -> None:
    model = keras_file(tmp_path, dense())
    subjects = [made(model, Runtime(batch_size=2, intra=1, inter=1)) for made in (stock, accelerated)]
    feeds = {"x": data[0], "y": data[1]}
    first, ours = compare(subjects, QUICK, feeds=feeds).measurements
    for one in (first, ours):
        (turn,) = one.turns
        (figures,) = turn.figures
        assert len(figures) == len(turn.times[0]) == 3
        assert all(0 < figure["loss"] < 10 for figure in figures)
        assert one.images_per_second > 0
    assert (first.name, first.about["optimizer"]) == (STOCK, "momentum")
    assert ours.about["optimizer"] == ours.document()["about"]["optimizer"] == "sgd"


def test_trains_a_network_by_name() -> None:
    subject = stock("MobileNet", Runtime(batch_size=1), side=32)
    (measurement,) = compare([subject], QUICK).measurements
    (losses,) = measurement.turns[0].figures
    assert all(np.isfinite(one["loss"]) for one in losses)
    assert losses[-1]["loss"] < losses[0]["loss"]  # one example, seen again and again


def test_trains_what_a_function_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    (measurement,) = compare([accelerated("pictures:net", Runtime(batch_size=2), side=16)], QUICK).measurements
    assert measurement.name == "pictures:net"
    assert measurement.about["batch norms"] == "2 of 2 fused"
