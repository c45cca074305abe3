"""What is saved of an accelerated model is a file of Keras: a process that cannot import eightfold reads it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import NETS, compiled, data, made

import eightfold.training.accelerate as accelerating
from eightfold.quantization.export import export
from eightfold.training.accelerate import accelerate

SCRIPT = """
import os, pathlib, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
sys.modules["eightfold"] = None  # importing it fails
import keras, numpy as np, tensorflow as tf
sys.path.insert(0, sys.argv[1])
import nets  # knows the class of one of the models
pictures, results = np.load("pictures.npy"), {}
for file in sorted(pathlib.Path().glob("*")):
    if file.suffix in (".keras", ".h5"):
        model = keras.saving.load_model(file)
        assert not [one for one in model._flatten_layers() if "call" in vars(one)]
        results[file.name] = model.predict(pictures, verbose=0)
    elif file.suffix == ".exported":
        loaded = tf.saved_model.load(str(file))
        results[file.name] = loaded.serve(pictures).numpy()
np.savez("results.npz", **results)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Any]:
    """What the model in each file should compute; all kinds in float32, one of them in bfloat16 too."""
    outputs = {}
    pictures, labels = data(16)
    np.save(folder / "pictures.npy", pictures)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(accelerating, "has_bfloat16", lambda: True)
        for kind, precision in [*((kind, "fp32") for kind in NETS), ("functional", "bf16")]:
            model = compiled(accelerate(made(kind), precision))
            model.fit(pictures, labels, verbose=0)
            computed = model.predict(pictures, verbose=0)
            name = f"{kind}-{precision}"
            model.save(folder / f"{name}.keras")
            outputs[f"{name}.keras"] = computed
            if kind == "functional":
                model.save_weights(folder / f"{name}.weights.h5")
                (folder / f"{name}.weights.h5").rename(folder / f"{name}.weights")
                model.export(folder / f"{name}.exported", verbose=False)
                outputs[f"{name}.exported"] = computed
    return outputs


@pytest.fixture(scope="module")
def results(expected: dict[str, Any], folder: Path) -> Any:
    """What another process computed with these files."""
    here = str(Path(__file__).parent)
    run = subprocess.run([sys.executable, "-c", SCRIPT, here], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return np.load(folder / "results.npz")


def test_a_process_without_eightfold_loads_it_and_computes_the_same(expected: Any, results: Any) -> None:
    assert set(results) == set(expected)
    for name, outputs in expected.items():
        np.testing.assert_allclose(results[name], outputs, atol=2e-2 if "bf16" in name else 1e-5, err_msg=name)


def test_the_file_names_classes_of_keras_alone(expected: Any, folder: Path) -> None:
    for file in folder.glob("*.keras"):
        with zipfile.ZipFile(file) as archive:
            config = archive.read("config.json").decode()
        assert "eightfold" not in config
        norms = [one for one in _objects(json.loads(config)) if one.get("class_name") == "BatchNormalization"]
        assert bool(norms) == (not file.name.startswith("own"))  # a class with a call of its own saves its arguments
        assert {(one["module"], one["registered_name"]) for one in norms} <= {("keras.layers", None)}


def test_weights_alone_fit_the_stock_model(expected: Any, folder: Path) -> None:
    pictures = np.load(folder / "pictures.npy")
    stock = made("functional")
    weights = folder / "functional-fp32.weights.h5"
    (folder / "functional-fp32.weights").rename(weights)
    stock.load_weights(weights)
    weights.unlink()
    np.testing.assert_allclose(stock.predict(pictures, verbose=0), expected["functional-fp32.keras"], atol=1e-5)


def test_eightfold_itself_reads_it(expected: Any, folder: Path) -> None:
    """And folds the batch norms away; `export` itself proves that both compute the same."""
    ops = {node.op for node in export(folder / "functional-fp32.exported").graph}
    assert "Conv2D" in ops
    assert "FusedBatchNormV3" not in ops


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    if isinstance(config, list):
        for one in config:
            yield from _objects(one)
