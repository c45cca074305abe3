"""A small float model on disk, data for it, and the program itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from eightfold.cli.app import app
from eightfold.graph.ir import DType
from eightfold.graph.model import Model
from eightfold.graph.writer import Writer

COLUMNS = "160"
Run = Callable[..., Any]


def small_net() -> Model:
    """Two convolutions with an op between them that has no 8-bit kernel, and a classifier of 5 classes."""
    w = Writer()
    x = w.input("image", (None, 12, 12, 8))
    y = w.node("Relu", w.bias(w.conv(x, w.normal(3, 3, 8, 16, scale=0.2)), w.normal(16)), name="stem/relu")
    y = w.node("Softplus", y, name="middle/softplus")
    y = w.node("Relu", w.conv(y, w.normal(3, 3, 16, 16, scale=0.1), strides=2), name="tail/relu")
    y = w.node("Mean", y, w.const([1, 2]), attrs={"Tidx": DType("int32"), "keep_dims": False}, name="mean")
    return w.model(scores=w.bias(w.matmul(y, w.normal(16, 5)), w.normal(5)))


@pytest.fixture(scope="session")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from eightfold.tf.savedmodel import write_saved_model

    folder = tmp_path_factory.mktemp("models") / "net"
    write_saved_model(small_net(), folder)
    return folder


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((40, 12, 12, 8), dtype=np.float32)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> Path:
    file = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(file, image=images)
    return file


@pytest.fixture(scope="session")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe under which nothing goes back to float, however the clock runs."""
    file = tmp_path_factory.mktemp("recipe") / "steady.toml"
    file.write_text("fallback = false\n")
    return file


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the program in this process; standard output and standard error are kept apart."""
    monkeypatch.setenv("COLUMNS", COLUMNS)

    def invoke(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture(scope="session")
def int8_model(
    float_model: Path, data: Path, steady: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    """The small model as `eightfold quantize` saves it, and what that printed."""
    output = tmp_path_factory.mktemp("int8") / "net-int8"
    arguments = ["quantize", float_model, "-d", data, "-o", output, "--recipe", steady]
    runner = CliRunner(env={"COLUMNS": COLUMNS})
    result = runner.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return output, result
