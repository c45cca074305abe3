"""The 8-bit graph without calibration: its ranges are computed while it runs.

    x ─┬ Min, Max ─ range ─┐
       └────────────── QuantizeV2 ─ _FusedQuantizedConv2D ─ qint32 ─ Bitcast ─ Cast ─ Mul(s) ─ y

Depthwise convolutions stay float: their product is too small to pay for the ranges. Of the others only the product is
in 8 bits; what follows it (bias, activation, addition) stays float, so nothing can saturate. The kernel gives its
32-bit sums in steps of s = s_in · max(s_w), one step for all channels, whatever its range outputs say; these are
therefore not read.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from eightfold.graph.edit import Edit
from eightfold.graph.ir import Array, Attr, DType, Node, Ref
from eightfold.graph.model import Model
from eightfold.passes.bfloat16 import to_bfloat16
from eightfold.quantization.plan import Plan, Refusal, Step
from eightfold.rewrites.builder import QUANTIZE
from eightfold.rewrites.kernels import CONV, DEPTHWISE, conv_attrs
from eightfold.rewrites.matmul import FLOAT_PRODUCT, FLOAT_PRODUCT_ATTRS
from eightfold.rewrites.weights import Weight, quantize_weight

__all__ = ["dynamic_plan", "lower_dynamic"]

_FLOAT, _INT32 = DType("float32"), DType("int32")
_POSITIVE = {"Relu", "Relu6", "Sigmoid", "Softmax", "Softplus", "Exp", "Square", "Abs"}
_KEEPS_SIGN = {"MaxPool", "AvgPool", "Reshape", "Squeeze", "Pad", "Mean", "Transpose", "ExpandDims"}


def dynamic_plan(plan: Plan) -> Plan:
    """The steps of a plan that make sense without calibration; the others stay float and say so."""
    kept = [step for step in plan.steps if _computes(step)]
    names = {step.name for step in kept}
    reason = "without calibration only products of convolutions and matrices are in 8 bits"
    left = tuple(Refusal(step.name, step.match.node.op, reason) for step in plan.steps if step.name not in names)
    return replace(plan, steps=tuple(kept), refusals=(*plan.refusals, *left))


def _computes(step: Step) -> bool:
    return step.rewrite.role == "compute" and step.rewrite.int8_op != DEPTHWISE


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
        if _computes(step):
            writer.write(step)
    return to_bfloat16(edit.done(), plan.bfloat16)


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
        edit = self._edit
        weight = self._weight(node, step.match.value("filter"), (3,))
        codes, lo, hi = self._quantized(node.inputs[0])
        dtype = edit.node(codes).attrs["T"]
        filter_ref = edit.const(f"{node.name}/weight", weight.codes, DType("qint8"))
        low = edit.add("Neg", f"{node.name}/low", (hi,), {"T": _FLOAT}) if dtype == "qint8" else lo
        inputs = (codes, filter_ref, low, hi, *self._bounds(node, -weight.limit, weight.limit))
        attrs: dict[str, Attr] = {
            **conv_attrs(dtype, DType("qint32"), node.attrs),
            "Tdevice_inputs": (dtype, DType("qint8")),
            "Thost_inputs": (_FLOAT,) * 4,
            "fused_ops": (),
        }
        sums = edit.add(CONV, f"{node.name}/int8", inputs, attrs)
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
        product = edit.add(FLOAT_PRODUCT, f"{node.name}/int8", inputs, FLOAT_PRODUCT_ATTRS)
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
        """The codes, what the lowest of them stands for, and the largest magnitude."""
        name, positive = ref.node, self._is_positive(ref)
        lo, hi = self._extremes(name, ref, positive)
        if not positive and not unsigned:
            lo, hi = self._symmetric(name, lo, hi)
        attrs = {**QUANTIZE, "T": DType("quint8" if positive or unsigned else "qint8")}
        return self._edit.add("QuantizeV2", f"{name}/quantize", (ref, lo, hi), attrs), lo, hi

    def _symmetric(self, name: str, lo: Ref, hi: Ref) -> tuple[Ref, Ref]:
        """Bounds that put code 0 at the number 0: the magnitude above, 128/127 of it below."""
        minus = self._edit.add("Neg", f"{name}/minus", (lo,), {"T": _FLOAT})
        magnitude = self._edit.add("Maximum", f"{name}/magnitude", (minus, hi), {"T": _FLOAT})
        factor = self._edit.const(f"{name}/below", np.float32(-128 / 127))
        return self._edit.add("Mul", f"{name}/low", (magnitude, factor), {"T": _FLOAT}), magnitude

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

    def _zero(self, node: Node) -> Ref:
        return self._edit.const(f"{node.name}/zero", np.float32(0))

    def _span(self, node: Node, lo: Ref, hi: Ref) -> Ref:
        """What code 255 stands for to a kernel that knows no offset."""
        return self._edit.add("Sub", f"{node.name}/limit", (hi, lo), {"T": _FLOAT})

    def _bounds(self, node: Node, lo: npt.ArrayLike, hi: npt.ArrayLike) -> tuple[Ref, Ref]:
        return self._edit.const(f"{node.name}/min", lo), self._edit.const(f"{node.name}/max", hi)

    def _is_positive(self, ref: Ref) -> bool:
        graph = self._edit.graph
        node = graph[ref]
        while node.op in _KEEPS_SIGN:
            node = graph[node.inputs[0]]
        return node.op in _POSITIVE
