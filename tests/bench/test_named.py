from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold.bench import named as names
from eightfold.bench.cache import cache
from eightfold.bench.named import Architecture, architectures, build, located, named, saved, unknown
from eightfold.bench.protocol import Job
from eightfold.bench.worker import load
from eightfold.data import PREPROCESSING
from eightfold.errors import ModelError, OutputError


@pytest.mark.parametrize(
    ("name", "keras"),
    [
        ("resnet50", "ResNet50"),
        ("ResNet50", "ResNet50"),
        ("resnet-50", "ResNet50"),
        ("resnet50_v2", "ResNet50V2"),
        ("inception_v3", "InceptionV3"),
        ("inception3", "InceptionV3"),
        ("vgg16", "VGG16"),
        ("mobilenet", "MobileNet"),
        ("mobilenet_v1", "MobileNet"),
        ("nasnet", "NASNetMobile"),
        ("nasnetlarge", "NASNetLarge"),
        ("EfficientNet V2-B0", "EfficientNetV2B0"),
    ],
)
def test_a_name_in_any_writing(name: str, keras: str) -> None:
    found = named(name)
    assert found is not None
    assert found.keras == keras
    assert named(found.name) is found


@pytest.mark.parametrize(
    "name", ["resnet", "resnet50_v1.5", "inception4", "ssd300", "models/resnet50", "resnet50.pb", ""]
)
def test_no_network_of_that_name(name: str) -> None:
    assert named(name) is None


def test_a_misspelt_name_is_told_what_is_near() -> None:
    assert "there is no model at reznet50; expected a SavedModel folder" in str(unknown("reznet50"))
    assert "keras.applications such as resnet50" in str(unknown("reznet50"))
    assert "inceptionv3" in str(unknown("Inception-3b"))
    assert str(unknown("out/model.pb")).endswith("keras.applications such as resnet50 or mobilenetv2")


def functions() -> dict[str, Callable[..., Any]]:
    """What Keras itself offers: the functions of keras.applications, by name."""
    import keras

    return {name: value for name, value in vars(keras.applications).items() if name[0].isupper() and callable(value)}


def test_all_networks_of_keras_are_found() -> None:
    assert {one.keras for one in architectures().values()} == set(functions())


SIZED = [one for one in architectures().values() if not one.keras.startswith("MobileNetV3")]  # whose default is open


@pytest.mark.parametrize("architecture", SIZED, ids=lambda one: one.name)
def test_size_is_what_keras_takes_by_default(architecture: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    from keras.src.applications import imagenet_utils

    class Asked(Exception):
        pass

    def asked(input_shape: object, default_size: int, **_: object) -> None:
        raise Asked(default_size)

    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", asked)
    with pytest.raises(Asked, match=rf"^{architecture.side}$"):
        build(architecture, input_shape=None)


@pytest.mark.parametrize("architecture", architectures().values(), ids=lambda one: one.name)
def test_preprocessing_is_that_of_its_module(architecture: Architecture) -> None:
    import sys

    module = sys.modules[functions()[architecture.keras].__module__]
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, 4, 3)).astype(np.float32)
    expected = module.preprocess_input(pixels.copy(), data_format="channels_last")
    np.testing.assert_allclose(PREPROCESSING[architecture.preprocess](pixels), expected, atol=1e-4)


def test_a_path_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "resnet50").mkdir()
    monkeypatch.chdir(tmp_path)
    assert located("resnet50") == Path("resnet50")
    with pytest.raises(ModelError, match="there is no model at resnet51; .* such as resnet50"):
        located("resnet51")


def test_the_cache_is_where_the_user_keeps_such_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache("models") == tmp_path / "eightfold" / "models"
    for ignored in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache("models") == Path.home() / ".cache" / "eightfold" / "models"


def test_a_network_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = located("MobileNet")
    versions, name = path.relative_to(cache("models")).parts
    assert name == "mobilenet"
    assert versions.startswith("keras-3.")
    run, _ = load(Job(str(path), 2))
    (scores,) = run()  # type: ignore[misc]
    assert scores.shape == (2, 1000)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)  # so nothing in it is NaN or endless
    assert sorted(one.name for one in path.parent.iterdir()) == [".mobilenet.lock", "mobilenet"]

    monkeypatch.setattr(names, "_write_elsewhere", pytest.fail)
    assert located("mobile_net") == path


def test_sides_are_never_open() -> None:
    assert build(architectures()["mobilenetv3small"]).input_shape == (None, 224, 224, 3)


def test_weights_are_the_same_every_time() -> None:
    mobilenet = architectures()["mobilenet"]
    first, second = (build(mobilenet, alpha=0.25, input_shape=(32, 32, 3)) for _ in range(2))
    for one, other in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Keras could not make LeNet5 \(exit code 1\): .*no model at LeNet5"):
        saved(Architecture("LeNet5", 32, "raw"), tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".lenet5.lock"]


def test_one_that_two_ask_for_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def write(architecture: Architecture, place: Path) -> None:
        made.append(architecture.name)
        time.sleep(0.2)
        place.mkdir()

    monkeypatch.setattr(names, "_write_elsewhere", write)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: saved(architectures()["mobilenet"], tmp_path), range(2))
    assert first == second
    assert made == ["mobilenet"]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(command: list[str], **_: object) -> None:
        Path(command[-1]).mkdir()
        Path(command[-1], "saved_model.pb").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        saved(architectures()["mobilenet"], tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".mobilenet.lock"]


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written to"):
        saved(architectures()["mobilenet"], tmp_path / "file")
