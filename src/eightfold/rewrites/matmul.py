"""MatMul with a constant matrix.

    x ─ MatMul(w) ─ [BiasAdd]                              =>   QuantizedMatMulWithBiasAndDequantize ─ Mul ─ AddV2
    x ─ MatMul(w) ─ [BiasAdd] ─ Relu, Gelu, Sigmoid ...    =>   _QuantizedMatMul(... Requantize)

The first runs on every TensorFlow since 2.16 and gives float. Its kernel has one scale for all of w; the scales of the
channels follow as a float `Mul`, which costs nothing measurable beside the product. The second stays in 8 bits and
needs 2.17.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from eightfold.graph.encoding import Code
from eightfold.graph.ir import Array, Attr, DType
from eightfold.graph.model import Model
from eightfold.graph.pattern import Match, Pattern, any_, const, either, op
from eightfold.graph.writer import Writer
from eightfold.rewrites.activations import cap_of, clipped
from eightfold.rewrites.builder import FLOAT, Builder, Coded
from eightfold.rewrites.conditions import bias_per_channel, finite_weight, zero_floor
from eightfold.rewrites.gelu import gelu_constants, gelu_erf, gelu_tanh, write_gelu
from eightfold.rewrites.rewrite import Facts, Reads, Rewrite
from eightfold.rewrites.weights import Weight

__all__ = ["FLOAT_PRODUCT", "FLOAT_PRODUCT_ATTRS", "MATMULS"]

FLOAT_PRODUCT = "QuantizedMatMulWithBiasAndDequantize"
FLOAT_PRODUCT_ATTRS: Mapping[str, Attr] = {
    "T1": DType("quint8"),
    "T2": DType("qint8"),
    "Tbias": FLOAT,
    "Toutput": FLOAT,
    "transpose_a": False,
    "transpose_b": False,
    "input_quant_mode": b"SCALED",
}

_MATMUL = op("MatMul", any_("x"), const("filter"), name="matmul")
_BIASED = either(op("BiasAdd|Add|AddV2", _MATMUL, const("bias")), _MATMUL)

_ACTIVATIONS: dict[str, tuple[Pattern, bytes]] = {
    "relu": (clipped(_BIASED), b"Relu"),
    "elu": (op("Elu", _BIASED), b"Elu"),
    "leaky_relu": (op("LeakyRelu", _BIASED, name="leaky"), b"LeakyRelu"),
    "sigmoid": (op("Sigmoid", _BIASED), b"Sigmoid"),
    "tanh": (op("Tanh", _BIASED), b"Tanh"),
    "gelu_erf": (gelu_erf(_BIASED), b"GeluExact"),
    "gelu_tanh": (gelu_tanh(_BIASED), b"GeluApproximate"),
}


def _weight(b: Builder, match: Match) -> Weight:
    """The weight as [in, out]."""
    value = match.value("filter")
    if match.named["matmul"].attrs.get("transpose_b"):
        value = np.ascontiguousarray(value.T)
    return b.weight(match.root.node, match.named["matmul"].name, value, (1,))


def _bias(b: Builder, match: Match, weight: Weight, x: Coded) -> Array:
    """float64 [out]: the bias, corrected, less what the input's offset adds."""
    bias = match.get("bias")
    total = np.zeros(weight.codes.shape[1]) + (0.0 if bias is None else bias.reshape(-1))
    if (learned := b.correction(match.root.node).bias) is not None:
        total = total + learned
    result: Array = total - x.encoding.offset * weight.channel_sums()
    return result


def _emit_float(b: Builder, match: Match) -> None:
    name = match.root.node
    x = b.coded(match.refs["x"], Code.BYTE)
    weight = _weight(b, match)
    units = weight.codes.shape[1]
    inputs = (
        x.ref,
        b.const(f"{name}/weight", weight.codes, DType("qint8")),
        b.const(f"{name}/no_bias", np.zeros(units, np.float32)),
        *b.kernel_range(x.encoding),
        *b.bounds(-127.0, 127.0),  # one step of w is 1: the channels' scales follow
        *b.bounds(0.0, 1.0),  # not read
    )
    product = b.add(FLOAT_PRODUCT, f"{name}/product", inputs, FLOAT_PRODUCT_ATTRS)
    scale = b.const(f"{name}/scale", np.broadcast_to(weight.scale, units).astype(np.float32))
    scaled = b.add("Mul", f"{name}/scaled", (product, scale), {"T": FLOAT})
    bias = b.const(f"{name}/bias", _bias(b, match, weight, x).astype(np.float32))
    b.give_real(match.root, b.add("AddV2", name, (scaled, bias), {"T": FLOAT}))


def _emit_fused(activation: bytes) -> Callable[[Builder, Match], None]:
    def emit(b: Builder, match: Match) -> None:
        name, out = match.root.node, b.encodings[match.root]
        x = b.coded(match.refs["x"])
        weight = _weight(b, match)
        inputs = (
            x.ref,
            b.const(f"{name}/weight", weight.codes, DType("qint8")),
            b.const(f"{name}/bias", _bias(b, match, weight, x).astype(np.float32)),
            *b.kernel_range(x.encoding),
            *b.bounds(-weight.limit, weight.limit),
            *(b.bounds(out.range.lo, out.range.hi) if out.code is Code.OFFSET else b.kernel_range(out)),
        )
        attrs: dict[str, Attr] = {
            "T1": x.encoding.dtype,
            "T2": DType("qint8"),
            "Tbias": FLOAT,
            "Tout": out.dtype,
            "U": FLOAT,
            "Tdevice_inputs": (),
            "Tdevice_outputs": (),
            "Thost_inputs": (x.encoding.dtype, DType("qint8"), *(FLOAT,) * (len(inputs) - 2)),
            "Thost_outputs": (out.dtype, FLOAT, FLOAT),
            "transpose_a": False,
            "transpose_b": False,
            "is_weight_const": True,
            "is_bias_const": True,
            "fused_ops": (b"BiasAdd", activation, b"Requantize"),
            "input_quant_mode": b"SCALED",
            "output_quant_mode": b"MIN_FIRST" if out.code is Code.OFFSET else b"SCALED",
        }
        if "leaky" in match:
            attrs["leakyrelu_alpha"] = match.named["leaky"].attrs.get("alpha", 0.2)
        b.give(match.root, b.add("_QuantizedMatMul", name, inputs, attrs))

    return emit


def _reads_byte(match: Match) -> Reads:
    return ((match.refs["x"], Code.BYTE),)


def _reads_any(match: Match) -> Reads:
    return ((match.refs["x"], Code.ANY),)


def _gives(match: Match) -> Code:
    del match
    return Code.ANY


def _bias_per_unit(match: Match, facts: Facts) -> str | None:
    """An addition that makes the product larger is no bias."""
    bias, weight = match.get("bias"), match.value("filter")
    units = weight.shape[0 if match.named["matmul"].attrs.get("transpose_b") else 1]
    if bias is None or bias.size in (1, units):
        return None
    return f"it adds a constant of shape {bias.shape} to {units} units, expected one number a unit"


def _rank_two(match: Match, facts: Facts) -> str | None:
    attrs = match.named["matmul"].attrs
    return "it transposes its first operand" if attrs.get("transpose_a") else None


def _example(activation: str) -> Callable[[], Model]:
    ops = {"relu": "Relu", "elu": "Elu", "leaky_relu": "LeakyRelu", "sigmoid": "Sigmoid", "tanh": "Tanh"}

    def example() -> Model:
        w = Writer()
        x = w.input("x", (4, 16))
        y = w.bias(w.matmul(x, w.normal(16, 8, scale=0.3)), w.normal(8))
        if activation in ops:
            y = w.node(ops[activation], y, attrs={"alpha": 0.2} if activation == "leaky_relu" else {})
        elif activation:
            y = write_gelu(w, y, tanh=activation == "gelu_tanh")
        return w.model(y=w.matmul(y, w.normal(8, 4)) if activation else y)

    return example


_WHEN = (_rank_two, finite_weight, bias_per_channel, _bias_per_unit)

_FLOAT_RESULT = Rewrite(
    name="matmul",
    pattern=_BIASED,
    int8_op=FLOAT_PRODUCT,
    emit=_emit_float,
    reads=_reads_byte,
    gives=lambda match: Code.NONE,
    when=_WHEN,
    example=_example(""),
)

_FUSED = tuple(
    Rewrite(
        name=f"matmul_{name}",
        pattern=pattern,
        int8_op="_QuantizedMatMul",
        emit=_emit_fused(activation),
        reads=_reads_any,
        gives=_gives,
        cap=cap_of,
        when=(*_WHEN, zero_floor, gelu_constants),
        tensorflow=(2, 17),
        example=_example(name),
    )
    for name, (pattern, activation) in _ACTIVATIONS.items()
)

MATMULS: tuple[Rewrite, ...] = (*_FUSED, _FLOAT_RESULT)
