"""`eightfold benchmark`."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from eightfold.cli.benchmark_options import (
    AllocatorName,
    Baseline,
    BaselineBatchSize,
    Batch,
    BFloat16,
    Compare,
    CoresPerInstance,
    DataFormat,
    DisplayEvery,
    ForwardOnly,
    ImageSize,
    InstanceCount,
    Inter,
    Intra,
    KmpAffinity,
    KmpBlocktime,
    KmpSettings,
    Models,
    ModeName,
    Numa,
    NumBatches,
    NumWarmupBatches,
    Output,
    Peers,
    Precision,
    RealData,
    Rounds,
    RuntimeFrom,
    Seconds,
    SignatureName,
    SocketId,
)
from eightfold.cli.failures import reported
from eightfold.cli.options import Json, Preprocess, Quiet, Samples
from eightfold.cli.screen import Screen, Tell, finite
from eightfold.errors import RecipeError

if TYPE_CHECKING:
    from eightfold.bench import Comparison
    from eightfold.cli.benchmark_lineup import Against, Lineup

__all__ = ["benchmark"]


@reported
def benchmark(  # noqa: PLR0913  (one argument for each option)
    models: Models,
    *,
    mode: ModeName = None,
    batch_size: Batch = None,
    intra: Intra = None,
    inter: Inter = None,
    instances: InstanceCount = None,
    cores_per_instance: CoresPerInstance = None,
    socket_id: SocketId = None,
    numa: Numa = False,
    data_format: DataFormat = None,
    bf16: BFloat16 = False,
    allocator: AllocatorName = None,
    kmp_blocktime: KmpBlocktime = None,
    kmp_affinity: KmpAffinity = None,
    kmp_settings: KmpSettings = None,
    runtime: RuntimeFrom = None,
    forward_only: ForwardOnly = True,
    precision: Precision = None,
    image_size: ImageSize = None,
    rounds: Rounds = 5,
    seconds: Seconds = 1.0,
    num_batches: NumBatches = None,
    num_warmup_batches: NumWarmupBatches = None,
    display_every: DisplayEvery = None,
    data: RealData = None,
    samples: Samples = None,
    preprocess: Preprocess = None,
    signature: SignatureName = "serving_default",
    compare: Compare = None,
    baseline: Baseline = None,
    baseline_batch_size: BaselineBatchSize = None,
    peers: Peers = None,
    output: Output = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure models side by side: in turns, in one run, each in its own processes.

    The input is synthetic and fits the signature, unless --data gives some.
    Ratios are formed within each round, where all models met the same machine.
    For each model the speed is told as tf_cnn_benchmarks tells it; the table
    below has latency percentiles, CPU use and memory.

    \b
    [bold]Examples[/]
      $ eightfold benchmark resnet50/ resnet50-int8/
      $ eightfold benchmark resnet50/ resnet50-int8/ --mode throughput --instances auto
      $ eightfold benchmark resnet50/ resnet50-int8/ --compare baseline --runtime tuned
      $ eightfold benchmark resnet50 mobilenetv2 -b 32 --num-intra-threads 4 --num-inter-threads 1
      $ eightfold benchmark resnet50/ resnet50-int8/ --peers openvino,onnxruntime,litert
      $ eightfold benchmark resnet50 --train --compare baseline,stock
      $ eightfold benchmark net-int8/ -d photos/ --rounds 10 --json > result.json
    """
    from eightfold.bench.shares import Placement, on_socket
    from eightfold.cli.benchmark_effect import idle_options
    from eightfold.cli.benchmark_lineup import Against, Input, Lineup, Training
    from eightfold.cli.benchmark_settings import Wanted, instances_of
    from eightfold.quantization.placement import written_beside

    kmp = {"KMP_BLOCKTIME": kmp_blocktime, "KMP_AFFINITY": kmp_affinity, "KMP_SETTINGS": kmp_settings}
    wanted = Wanted(
        mode,
        batch_size,
        intra,
        inter,
        Placement(instances_of(instances), cores_per_instance, numa),
        data_format,
        allocator,
        bf16,
        {name: str(value) for name, value in kmp.items() if value is not None},
        runtime,
    )
    compared = _compared(compare)
    against = Against(
        baseline="baseline" in compared or baseline is not None,
        stock="stock" in compared,
        model=baseline,
        batch_size=baseline_batch_size,
        peers=_listed(peers),
    )
    given = Input(data, samples, preprocess, signature)
    screen = Screen(json, quiet)
    with screen.work() as tell, on_socket(socket_id), ExitStack() as stack:
        target = stack.enter_context(written_beside(output, overwrite=True)) if output else None
        lineup = Lineup(tuple(models), wanted, given, against, Training(not forward_only, precision, image_size))
        idle = idle_options(lineup)
        for one in idle:
            print(f"note: {one}", file=sys.stderr)
        length = {"rounds": rounds, "seconds": seconds, "batches": num_batches, "warm_up_batches": num_warmup_batches}
        comparison = _measured(lineup, length, tell)
        every = display_every or (10 if num_batches else None)
        document = _document(comparison, every, data, against)
        document["without_effect"] = [asdict(one) for one in idle]
        if target is not None:
            target.write_text(_as_json(document), encoding="utf-8")
    screen.show(document, *_page(comparison, every, data, against, numa=numa))


def _listed(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(name.strip() for name in text.split(","))


def _compared(text: str | None) -> tuple[str, ...]:
    """The names of `--compare`.

    Raises:
        RecipeError: one is unknown.
    """
    names = _listed(text)
    for name in names:
        if name not in ("baseline", "stock"):
            raise RecipeError(f"--compare is {text!r}; expected baseline, stock or both: baseline,stock")
    return names


def _measured(lineup: Lineup, length: Mapping[str, Any], tell: Tell) -> Comparison:
    from eightfold import bench

    subjects, feeds = lineup.subjects(tell)
    how = bench.Settings(mode=lineup.mode, signature=lineup.input.signature, **length)
    return bench.compare(subjects, how, feeds=feeds, progress=lambda _, done, total: tell("benchmark", done, total))


def _document(comparison: Comparison, every: int | None, data: str | None, against: Against) -> dict[str, Any]:
    """All figures; with a baseline, which is the first model, the speedups are over that."""
    from eightfold.bench import steps

    models = [{**one.document(), **steps.document(one, every)} for one in comparison.measurements]
    over = comparison.measurements[0].name if against.references else None
    return {"models": models, "input": data or "synthetic", "baseline": over, **comparison.context()}


def _page(
    comparison: Comparison, every: int | None, data: str | None, against: Against, *, numa: bool
) -> Iterator[RenderableType]:
    from eightfold.bench import render, steps

    for one in comparison.measurements:
        yield steps.log(one, every, data=data, numa=numa) + "\n"
    yield render(comparison)
    for place, reference in enumerate(against.references):
        for one in comparison.measurements[place + 1 :]:
            ratio = comparison.ratio(one.name, comparison.measurements[place].name) if place else one.speedup
            yield Text(f"{one.name}: speedup over {reference}: {ratio} ({ratio.low:.2f}-{ratio.high:.2f})")


def _as_json(document: Mapping[str, Any]) -> str:
    return json_format.dumps(finite(document), indent=1, allow_nan=False) + "\n"
