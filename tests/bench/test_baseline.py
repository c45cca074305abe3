from __future__ import annotations

from pathlib import Path

import pytest

from eightfold.bench import Runtime, Subject
from eightfold.bench.baseline import NAME, default_environment, float_model
from eightfold.errors import ModelError


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def float_net(tmp_path: Path) -> Path:
    return written(tmp_path / "float" / "saved_model.pb", b"\x12\x06Conv2D\x12\x06MatMul").parent


@pytest.fixture
def int8_net(tmp_path: Path) -> Path:
    return written(tmp_path / "int8.pb", b"..\x12\x15_FusedQuantizedConv2D..")


def test_the_first_float_model_is_taken(float_net: Path, int8_net: Path) -> None:
    both = [Subject("int8", int8_net), Subject("float", float_net)]
    assert float_model(both).name == "float"
    with pytest.raises(ModelError, match="no float model to measure the default environment with"):
        float_model(both[:1])


def test_nothing_is_tuned_in_the_default_environment(float_net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuning = ("TF_NUM_INTRAOP_THREADS", "TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD", "OMP_NUM_THREADS", "KMP_BLOCKTIME")
    for name in tuning:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LD_PRELOAD", "/lib/libtcmalloc.so.4:/lib/libother.so")
    tuned = Subject("net", float_net, runtime=Runtime(8, instances=4, cores=1, env={"A": "1"}, allocator="tcmalloc"))
    found = default_environment(tuned, 8)
    assert found.name == NAME
    assert found.runtime == Runtime(8, env={"TF_ENABLE_ONEDNN_OPTS": "0"})
    assert [found.env[name] for name in tuning] == [None] * 4
    assert found.env["LD_PRELOAD"] == "/lib/libother.so"
    assert "PATH" not in found.env
    assert "TF_CPP_MIN_LOG_LEVEL" not in found.env


def test_an_8_bit_model_cannot_be_the_baseline(int8_net: Path) -> None:
    with pytest.raises(ModelError, match="is in 8 bits, which TensorFlow without oneDNN cannot run"):
        default_environment(Subject("int8", int8_net), 1)
