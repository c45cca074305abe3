"""An explanation written by hand, with everything that the page can show."""

from __future__ import annotations

from eightfold.quantization.analysis import Analysis, Distribution, StepStats, TensorStats, WeightStats
from eightfold.quantization.chart import Chart, ChartNode
from eightfold.quantization.explain import Explanation
from eightfold.quantization.plan import Refusal
from eightfold.quantization.report import Fidelity, Speed, StepRecord
from eightfold.quantization.search_record import SearchRecord, Sensitivity, Trial

__all__ = ["explained", "searched"]


def explained() -> Explanation:
    """x ─ a ─ </script> ─ b, in the scope net/; a was measured."""
    names = ("net/a", "net/b")
    blocks = tuple(StepRecord(name, "conv", "Q", (name,)) for name in names)
    spread = Distribution(-1.0, 1.0, (1,) * 64)
    weight = WeightStats(spread, 3, (2.0, 1.0, 0.01), True, 12.5, 44.0)
    steps = {"net/a": StepStats(31.0, 30.0, 4.0, 1.0, ("net/x:0",), "net/a:0", weight)}
    tensors = {"net/x:0": TensorStats(spread, -1.0, 1.0, "signed"), "net/a:0": TensorStats(spread, 0, 1, "unsigned")}
    chart = Chart(
        (
            ChartNode("net/x", "input", "Placeholder", ()),
            ChartNode("net/a", "int8", "conv", (0,)),
            ChartNode("net/</script>", "fp32", "Erf", (1,), ("net/more",)),
            ChartNode("net/b", "int8", "conv", (2,)),
        )
    )
    return Explanation(
        "net",
        "calibrated",
        blocks,
        (Refusal("net/</script>", "Erf", "no kernel"),),
        (1, 1),
        ("between net/a and net/b: net/more (Erf), no kernel",),
        fidelity=Fidelity(26.5, 0.98, 64, True),
        speed=(Speed(32, 600.0, 150.0),),
        float_bytes=4_000_000,
        int8_bytes=1_000_000,
        chart=chart,
        analysis=Analysis(8, steps, tensors, 10.0, 3.0, {"net/more": (0.5, 0.7)}),
    )


def searched() -> SearchRecord:
    trials = (
        Trial("all", {}, (), (), 0.70, 0.06, 20.0, 4.0, 1.0),
        Trial("some", {"observer": "mse"}, ("net/a",), (), 0.755, 0.005, 25.0, 3.0, 1.0),
    )
    ranking = (Sensitivity("net/a", "Q", 20.0, 35.0, 0.01, 1.5),)
    return SearchRecord("top1", 0.76, 0.01, True, "done", "some", trials, ranking)
