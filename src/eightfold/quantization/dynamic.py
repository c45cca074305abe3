"""The 8-bit graph without calibration: its ranges are computed while it runs.

    x ─┬ Min, Max ─ range ─┐
       └────────────── QuantizeV2 ─ _FusedQuantizedConv2D ─ qint32 ─ Bitcast ─ Cast ─ Mul(s) ─ y

Only the products are done in 8 bits; what follows them (bias, activation, addition) stays float, so nothing can
saturate. The kernel gives its 32-bit sums in steps of s = s_in · max(s_w), one step for all channels, whatever its range
outputs say; these are therefore not read.
"""

from __future__ import annotations

import numpy as np

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, Attr, DType, Node, Ref
from eightfold.graph.model import Model
from eightfold.quantization.plan import Plan, Step
from eightfold.rewrites.kernels import CONV, DEPTHWISE
from eightfold.rewrites.weights import Weight, quantize_weight

__all__ = ["lower_dynamic"]

_FLOAT, _INT32 = DType("float32"), DType("int32")
_KERNELS = {"Conv2D": (CONV, (3,)), "DepthwiseConv2dNative": (DEPTHWISE, (2, 3))}
_POSITIVE = {"Relu", "Relu6", "Sigmoid", "Softmax", "Softplus", "Exp", "Square", "Abs"}
_KEEPS_SIGN = {"MaxPool", "AvgPool", "Reshape", "Squeeze", "Pad", "Mean", "Transpose", "ExpandDims"}


def lower_dynamic(model: Model, plan: Plan, *, weight_bits: int = 8) -> Model:
    """The model with the products of a plan in 8 bits and ranges computed at run time.

    Args:
        model: the exported float model that the plan was made for.
        plan: its steps that compute; those that only carry codes have nothing to carry here.
        weight_bits: 8, or 7 for CPUs whose 8-bit sums saturate.
    """
    edit = Edit(model)
    writer = _Writer(edit, plan, weight_bits)
    for step in plan.steps:
        if step.rewrite.role == "compute":
            writer.write(step)
    return edit.done()


class _Writer:
    def __init__(self, edit: Edit, plan: Plan, weight_bits: int) -> None:
        self._edit, self._plan, self._bits = edit, plan, weight_bits
        self._coded: dict[tuple[Ref, bool], tuple[Ref, Ref, Ref]] = {}

    def write(self, step: Step) -> None:
        node = step.match.named.get("conv") or step.match.named["matmul"]
        if node.op == "MatMul":
            self._matmul(node, step)
        else:
            self._conv(node, step)

    def _weight(self, node: Node, value: Array, axes: tuple[int, ...]) -> Weight:
        settings = self._plan.recipe.settings_for(node.name, node.op)
        return quantize_weight(value, axes, per_channel=settings.per_channel, bits=self._bits)

    def _conv(self, node: Node, step: Step) -> None:
        edit, (kernel, axes) = self._edit, _KERNELS[node.op]
        weight = self._weight(node, step.match.value("filter"), axes)
        codes, lo, hi = self._quantized(node.inputs[0])
        dtype = edit.node(codes).attrs["T"]
        filter_ref = edit.const(f"{node.name}/weight", weight.codes, DType("qint8"))
        inputs = (codes, filter_ref, lo, hi, *self._bounds(node, -weight.limit, weight.limit))
        attrs: dict[str, Attr] = {
            "Tinput": dtype,
            "Tfilter": DType("qint8"),
            "Tbias": _FLOAT,
            "Tsummand": DType("qint32"),
            "out_type": DType("qint32"),
            "Tdevice_inputs": (dtype, DType("qint8")),
            "Thost_inputs": (_FLOAT,) * 4,
            "Tdevice_outputs": (DType("qint32"),),
            "Thost_outputs": (_FLOAT, _FLOAT),
            "strides": node.attrs["strides"],
            "padding": node.attrs["padding"],
            "dilations": node.attrs.get("dilations", (1, 1, 1, 1)),
            "explicit_paddings": node.attrs.get("explicit_paddings", ()),
            "data_format": b"NHWC",
            "is_filter_const": True,
            "is_bias_const": True,
            "fused_ops": (),
        }
        sums = edit.add(kernel, f"{node.name}/int8", inputs, attrs)
        steps = 127 if dtype == "qint8" else 255
        unit = float(weight.scale.max()) / steps
        edit.redirect(node.ref, self._real(node.name, sums, hi, unit))

    def _real(self, name: str, sums: Ref, limit: Ref, unit: float) -> Ref:
        """32-bit sums as float numbers: times limit · unit."""
        edit = self._edit
        plain = edit.add("Bitcast", f"{name}/int32", (sums,), {"T": DType("qint32"), "type": _INT32})
        cast = edit.add("Cast", f"{name}/float", (plain,), {"SrcT": _INT32, "DstT": _FLOAT, "Truncate": False})
        factor = edit.const(f"{name}/unit", np.float32(unit))
        scale = edit.add("Mul", f"{name}/scale", (limit, factor), {"T": _FLOAT})
        return edit.add("Mul", f"{name}/real", (cast, scale), {"T": _FLOAT})

    def _matmul(self, node: Node, step: Step) -> None:
        edit = self._edit
        value = step.match.value("filter")
        weight = self._weight(node, value.T if node.attrs.get("transpose_b") else value, (1,))
        codes, lo, hi = self._quantized(node.inputs[0], unsigned=True)
        units = weight.codes.shape[1]
        inputs = (
            codes,
            edit.const(f"{node.name}/weight", np.ascontiguousarray(weight.codes), DType("qint8")),
            edit.const(f"{node.name}/no_bias", np.zeros(units, np.float32)),
            self._zero(node),
            self._span(node, lo, hi),
            *self._bounds(node, np.float32(-127), np.float32(127)),
            *self._bounds(node, np.float32(0), np.float32(1)),
        )
        attrs = {
            "T1": DType("quint8"),
            "T2": DType("qint8"),
            "Tbias": _FLOAT,
            "Toutput": _FLOAT,
            "transpose_a": False,
            "transpose_b": False,
            "input_quant_mode": b"SCALED",
        }
        product = edit.add("QuantizedMatMulWithBiasAndDequantize", f"{node.name}/int8", inputs, attrs)
        scale = edit.const(f"{node.name}/scale", np.broadcast_to(weight.scale, units).astype(np.float32))
        scaled = edit.add("Mul", f"{node.name}/scaled", (product, scale), {"T": _FLOAT})
        sums = edit.const(f"{node.name}/sums", weight.channel_sums().astype(np.float32))
        offset = edit.add("Mul", f"{node.name}/offset", (lo, sums), {"T": _FLOAT})
        edit.redirect(node.ref, edit.add("AddV2", f"{node.name}/real", (scaled, offset), {"T": _FLOAT}))

    # --- codes of the input -----------------------------------------------------------------------------------

    def _quantized(self, ref: Ref, *, unsigned: bool = False) -> tuple[Ref, Ref, Ref]:
        """Codes and their range: u8 from zero where the tensor cannot be negative, u8 from its minimum where an offset
        is allowed (`unsigned`), s8 otherwise."""
        if (ref, unsigned) not in self._coded:
            self._coded[ref, unsigned] = self._write_quantize(ref, unsigned)
        return self._coded[ref, unsigned]

    def _write_quantize(self, ref: Ref, unsigned: bool) -> tuple[Ref, Ref, Ref]:
        name, positive = ref.node, self._is_positive(ref)
        lo, hi = self._extremes(name, ref, positive)
        mode, dtype = (b"SCALED", "quint8") if positive else (b"SCALED", "qint8")
        if unsigned and not positive:
            mode, dtype = b"MIN_FIRST", "quint8"
            lo = self._whole_zero(name, lo, hi)
        elif not positive:
            magnitude = self._edit.add("Neg", f"{name}/minus", (lo,), {"T": _FLOAT})
            hi = self._edit.add("Maximum", f"{name}/magnitude", (magnitude, hi), {"T": _FLOAT})
            lo = self._edit.add("Neg", f"{name}/low", (hi,), {"T": _FLOAT})
        attrs: dict[str, Attr] = {
            "T": DType(dtype),
            "mode": mode,
            "round_mode": b"HALF_AWAY_FROM_ZERO" if mode == b"MIN_FIRST" else b"HALF_TO_EVEN",
            "narrow_range": dtype == "qint8",
            "axis": -1,
            "ensure_minimum_range": 0.0,
        }
        return self._edit.add("QuantizeV2", f"{name}/quantize", (ref, lo, hi), attrs), lo, hi

    def _extremes(self, name: str, ref: Ref, positive: bool) -> tuple[Ref, Ref]:
        """The smallest value, or zero, and the largest, a little above zero so that a scale exists."""
        edit = self._edit
        shape = edit.const(f"{name}/flat_shape", np.array([-1], np.int32))
        axis = edit.const(f"{name}/axis", np.array(0, np.int32))
        flat = edit.add("Reshape", f"{name}/flat", (ref, shape), {"T": _FLOAT, "Tshape": _INT32})
        attrs = {"T": _FLOAT, "Tidx": _INT32, "keep_dims": False}
        zero, tiny = (edit.const(f"{name}/{key}", np.float32(v)) for key, v in (("zero", 0.0), ("tiny", 1e-12)))
        largest = edit.add("Max", f"{name}/max", (flat, axis), attrs)
        hi = edit.add("Maximum", f"{name}/hi", (largest, tiny), {"T": _FLOAT})
        if positive:
            return zero, hi
        smallest = edit.add("Min", f"{name}/min", (flat, axis), attrs)
        return edit.add("Minimum", f"{name}/lo", (smallest, zero), {"T": _FLOAT}), hi

    def _whole_zero(self, name: str, lo: Ref, hi: Ref) -> Ref:
        """The minimum moved so that zero falls on a code: -ceil(-lo / step) · step with step = (hi - lo) / 254."""
        edit = self._edit
        span = edit.add("Sub", f"{name}/span", (hi, lo), {"T": _FLOAT})
        factor = edit.const(f"{name}/per_step", np.float32(1 / 254))
        step = edit.add("Mul", f"{name}/step", (span, factor), {"T": _FLOAT})
        ratio = edit.add("RealDiv", f"{name}/ratio", (lo, step), {"T": _FLOAT})
        whole = edit.add("Floor", f"{name}/whole", (ratio,), {"T": _FLOAT})
        return edit.add("Mul", f"{name}/lowest", (whole, step), {"T": _FLOAT})

    def _zero(self, node: Node) -> Ref:
        return self._edit.const(f"{node.name}/zero", np.float32(0))

    def _span(self, node: Node, lo: Ref, hi: Ref) -> Ref:
        """What code 255 stands for to a kernel that knows no offset."""
        return self._edit.add("Sub", f"{node.name}/limit", (hi, lo), {"T": _FLOAT})

    def _bounds(self, node: Node, lo: Array, hi: Array) -> tuple[Ref, Ref]:
        return self._edit.const(f"{node.name}/min", lo), self._edit.const(f"{node.name}/max", hi)

    def _is_positive(self, ref: Ref) -> bool:
        graph = self._edit.graph
        node = graph[ref]
        while node.op in _KEEPS_SIGN:
            node = graph[node.inputs[0]]
        return node.op in _POSITIVE
