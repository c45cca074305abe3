"""What the bytes of a model say about its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from eightfold.tf import prepared
from eightfold.tf.graph_file import all_quantized, graph_file, is_quantized


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "op",
    [
        "_FusedQuantizedConv2D",
        "_FusedQuantizedDepthwiseConv2D",
        "_QuantizedMatMul",
        "QuantizedConv2DWithBiasAndReluAndRequantize",
        "QuantizedMatMulWithBiasAndDequantize",
        "QuantizedDepthwiseConv2DWithBias",
    ],
)
def test_8_bit_products_are_found(tmp_path: Path, op: str) -> None:
    assert is_quantized(written(tmp_path / "net.pb", b"conv" + op.encode() + b"x"))


def test_float_models_are_not_in_8_bits(tmp_path: Path) -> None:
    assert not is_quantized(written(tmp_path / "net.pb", b"\x12\x06Conv2D\x12\x06MatMul"))
    assert not is_quantized(tmp_path / "nowhere")
    assert not is_quantized(written(tmp_path / "empty.pb", b""))


def test_where_the_graph_lies(tmp_path: Path) -> None:
    assert graph_file(tmp_path) is None
    text = written(tmp_path / "saved_model.pbtxt", b"")
    assert graph_file(tmp_path) == text
    binary = written(tmp_path / "saved_model.pb", b"")
    assert graph_file(tmp_path) == binary
    assert graph_file(binary) == binary


def int8_net(*others: str, named: str = "x") -> tf.compat.v1.GraphDef:
    """An 8-bit product, and other ops; none of them would run."""
    graph = tf.compat.v1.GraphDef()
    for op in ("_QuantizedMatMul", "Identity", *others):
        graph.node.add(op=op, name=f"{named}{len(graph.node)}")
    return graph


@pytest.mark.parametrize("text", [False, True])
def test_what_is_left_in_float_is_seen(tmp_path: Path, text: bool) -> None:
    def quantized(graph: Any) -> bool:
        content = str(graph).encode() if text else graph.SerializeToString()
        return all_quantized(written(tmp_path / "net.pb", content))

    assert quantized(int8_net())
    assert quantized(int8_net("Softmax", named="Conv2D"))  # that is only its name
    for op in ("Conv2D", "MatMul", "DepthwiseConv2dNative", "Sigmoid"):
        assert not quantized(int8_net(op))


def test_a_float_graph_is_not_all_quantized(tmp_path: Path) -> None:
    graph = tf.compat.v1.GraphDef()
    graph.node.add(op="Identity", name="x")
    assert not all_quantized(written(tmp_path / "net.pb", graph.SerializeToString()))


@pytest.mark.parametrize(
    ("in_8_bits", "options", "off"), [(True, {}, True), (True, {"layout": "NHWC"}, False), (False, {}, False)]
)
def test_rewrites_are_spared_where_they_find_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_8_bits: bool, options: dict[str, Any], off: bool
) -> None:
    made: list[Any] = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        made.append(config(*args, **kwargs))
        return made[-1]

    config = prepared.session_config
    monkeypatch.setattr(prepared, "session_config", noted)
    monkeypatch.setattr(prepared, "all_quantized", lambda path: in_8_bits)
    with tf.Graph().as_default() as graph:
        tf.identity(tf.compat.v1.placeholder(tf.float32, (2,), "x"), "y")
    net = written(tmp_path / "net.pb", graph.as_graph_def().SerializeToString())
    with prepared.Prepared(net, **options) as model:
        assert model(np.ones(2, np.float32))[0].tolist() == [1, 1]
    assert made[0].graph_options.rewrite_options.disable_meta_optimizer == off
