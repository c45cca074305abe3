"""What stands around a tensor in bands: outputs, ranges, control edges, signatures, summands, readers of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from banded import Layer, Net, assert_equal, bands_of, cut, net

from eightfold.graph.ir import DType, Graph, Node, Ref, Shape
from eightfold.graph.model import Model, Signature, TensorSpec
from eightfold.graph.reference import evaluate
from lowering import Lowered, lowered, outputs_of


def kernels(graph: Graph) -> list[Node]:
    return [node for node in graph if node.op == "_FusedQuantizedConv2D"]


def of(*layers: Layer) -> Lowered:
    return lowered(net(layers))


def with_outputs(model: Model, *refs: Ref) -> Model:
    """The model with more outputs."""
    more = {f"more{k}": TensorSpec(ref, DType("quint8"), Shape.UNKNOWN) for k, ref in enumerate(refs)}
    signature = model.default
    return model.but(signatures={signature.name: signature.but(outputs={**signature.outputs, **more})})


@pytest.mark.parametrize("rows_from", [6, 20])
def test_codes_and_ranges_that_are_outputs(rows_from: int) -> None:
    case = of(Layer("conv"), Layer("average", 2), Layer("reshape"), Layer("conv"))
    ports = {"_FusedQuantizedConv2D": 3, "QuantizedAvgPool": 3, "QuantizeV2": 3, "Reshape": 1}
    refs = [Ref(node.name, port) for node in case.int8.graph for port in range(ports.get(node.op, 0))]
    model = with_outputs(case.int8, *refs)
    banded = cut(model, rows_from=rows_from)
    assert_equal(model, banded, case.feeds)
    for key, spec in model.default.outputs.items():  # tensors keep their names, and are joined, not computed again
        if key != "y" and not spec.ref.port:
            assert banded.default.outputs[key].ref == spec.ref
            op = model.graph[spec.ref].op
            whole = rows_from == 20 and op in ("QuantizeV2", "Reshape")
            assert banded.graph[spec.ref].op == (op if whole else "ConcatV2")


@pytest.mark.parametrize("rows_from", [6, 20])
def test_ranges_that_are_read_off_a_kernel(rows_from: int) -> None:
    case = of(Layer("conv"), Layer("max", 2), Layer("conv"))
    pool = next(node for node in case.int8.graph if node.op == "QuantizedMaxPool")
    before = pool.inputs[0].node
    reading = pool.but(inputs=(pool.inputs[0], Ref(before, 1), Ref(before, 2)))
    model = case.int8.but(graph=case.int8.graph.mapped(lambda node: reading if node is pool else node))
    banded = cut(model, rows_from=rows_from)
    assert banded.graph[f"{pool.name}/band_1"].inputs[1:] == (Ref(f"{before}/band_0", 1), Ref(f"{before}/band_0", 2))
    assert_equal(model, banded, case.feeds)


def test_a_band_waits_for_its_own_part() -> None:
    case = of(Layer("shortcut"))
    waiting = next(node for node in case.int8.graph if node.control)
    (first,) = waiting.control
    banded = cut(case.int8)
    for part in range(2):
        assert banded.graph[f"{waiting.name}/band_{part}"].control == (f"{first}/band_{part}",)
    assert_equal(case.int8, banded, case.feeds)


def test_what_is_whole_waits_for_all_parts() -> None:
    case = of(Layer("conv"), Layer("conv"))
    first, end = kernels(case.int8.graph)[0], case.int8.graph[outputs_of(case.int8)[0]]
    model = case.int8.but(
        graph=case.int8.graph.mapped(lambda node: node.but(control=(first.name,)) if node is end else node)
    )
    assert cut(model).graph[end.name].control == (f"{first.name}/band_0", f"{first.name}/band_1")


def test_rows_wait_for_all_channels() -> None:
    case = of(Layer("conv"), Layer("conv", stride=2))
    graph = case.int8.graph
    large, small = kernels(graph)[0], next(node for node in graph if node.attrs.get("strides") == (1, 2, 2, 1))
    model = case.int8.but(graph=graph.mapped(lambda node: node.but(control=(large.name,)) if node is small else node))
    banded = cut(model, rows_from=12)
    assert banded.graph[f"{small.name}/band_1"].control == (f"{large.name}/band_0", f"{large.name}/band_1")


def test_signatures_that_share_a_part() -> None:
    case = lowered(net([Layer("conv"), Layer("add"), Layer("conv", stride=2), Layer("conv")], taps=[2]))
    default = case.int8.default
    signatures = {name: Signature(name, default.inputs, {name: spec}) for name, spec in default.outputs.items()}
    model = case.int8.but(signatures=signatures)
    banded = cut(model, rows_from=7)
    assert set(banded.signatures) == {"y", "tap2"}
    for name, signature in banded.signatures.items():
        ref = signature.outputs[name].ref
        wanted = evaluate(model.graph, [model.signatures[name].outputs[name].ref], case.feeds)
        np.testing.assert_array_equal(evaluate(banded.graph, [ref], case.feeds), wanted)
        alone = banded.but(signatures={name: signature}).pruned()
        before = model.but(signatures={name: model.signatures[name]}).pruned()
        assert len(kernels(alone.graph)) == 2 * len(kernels(before.graph))


@pytest.mark.parametrize("rows_from", [6, 20])
def test_a_tensor_that_is_also_read_whole(rows_from: int) -> None:
    made = Net(12, 6)
    made.add(Layer("conv"))
    w = made.writer
    mean = w.node("Mean", made.last, w.const([1, 2]), attrs={"Tidx": DType("int32"), "keep_dims": False})
    made.add(Layer("conv"))
    y = made.conv(made.last, Layer("conv", 1))
    case = lowered(w.model(y=y, mean=w.node("Tanh", mean)))
    banded = cut(case.int8, rows_from=rows_from)
    assert bands_of(banded)["_FusedQuantizedConv2D"] == 8
    assert_equal(case.int8, banded, case.feeds)


def test_a_piece_is_written_once_for_all_its_readers() -> None:
    made = Net(12, 6)
    made.last = made.conv(made.last, Layer("conv"))
    parts = [made.conv(made.last, Layer("conv")) for _ in range(3)]
    case = lowered(made.writer.model(**{f"y{k}": made.conv(part, Layer("conv", 1)) for k, part in enumerate(parts)}))
    banded = cut(case.int8)
    ops = [node.op for node in banded.graph]
    assert_equal(case.int8, banded, case.feeds)
    joined, outputs = 2 * 2, 3  # two tensors are read beyond the cut, by each band; the last ones whole
    assert ops.count("ConcatV2") == joined + outputs
    assert ops.count("Slice") == 2 * 2 + 2  # of each, a row of each band; and the rows of the picture


def copied(model: Model) -> list[bool]:
    """For each fused sum, whether it adds into a copy of its summand."""
    sums = [node for node in model.graph if b"Sum" in node.attrs.get("fused_ops", ())]
    return [model.graph[node.inputs[3]].op == "QuantizedMaxPool" for node in sums]


@pytest.mark.parametrize(("window", "expected"), [(3, [True, True]), (1, [False, False])])
def test_a_summand_whose_rows_the_other_band_still_reads_is_copied(window: int, expected: list[bool]) -> None:
    """The kernel adds into its summand; the window of the other band's convolution may reach into that."""
    case = of(Layer("add", window))
    assert copied(case.int8) == [False]  # what reads the summand is done before the sum
    banded = cut(case.int8)
    assert copied(banded) == expected
    assert_equal(case.int8, banded, case.feeds)


def test_copies_of_summands_are_cut() -> None:
    made = Net(12, 6)
    y = made.conv(made.last, Layer("conv"), relu=False)
    made.last = made.writer.node("Relu", made.writer.node("AddV2", y, made.last))
    case = lowered(made.model())
    assert copied(case.int8) == [True]  # the convolution itself reads it
    banded = cut(case.int8)
    assert copied(banded) == [True, True]
    assert bands_of(banded)["QuantizedMaxPool"] == 2
    assert_equal(case.int8, banded, case.feeds)


def test_the_constants_of_a_channel_go_with_it() -> None:
    case = of(Layer("conv", window=2), Layer("conv"))
    node = kernels(case.int8.graph)[1]
    banded = cut(case.int8, rows_from=20)
    wanted = [case.int8.graph.constant(node.inputs[place]) for place in (1, 2, 6)]
    for part in range(2):
        inputs = banded.graph[f"{node.name}/band_{part}"].inputs
        span = slice(3 * part, 3 * part + 3)
        for place, whole in zip((1, 2, 6), wanted, strict=True):
            assert whole is not None
            np.testing.assert_array_equal(banded.graph.constant(inputs[place]), whole[..., span])
        assert banded.graph[inputs[1]].attrs["dtype"] == "qint8"


def test_a_window_over_all_rows_reads_the_whole() -> None:
    case = lowered(net([Layer("conv", 5), Layer("conv", 1)], height=4))
    first, second = kernels(case.int8.graph)[:2]
    banded = cut(case.int8, rows_from=4)
    assert {banded.graph[f"{second.name}/band_{part}"].inputs[0] for part in range(2)} == {first.ref}
    assert_equal(case.int8, banded, case.feeds)


def test_a_concat_reads_bands_of_channels_directly() -> None:
    case = of(Layer("concat"), Layer("conv"))
    banded = cut(case.int8, rows_from=20)
    (concat,) = [n for n in banded.graph if n.op == "ConcatV2" and n.attrs["N"] == 4]
    assert all("/band_" in ref.node for ref in concat.inputs[:-1])
    assert_equal(case.int8, banded, case.feeds)
