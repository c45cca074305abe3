"""The options of `eightfold benchmark`, under the names that tf_cnn_benchmarks and launch scripts give them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from eightfold.running.settings import Allocator, Layout, Mode

__all__ = [
    "AllocatorName",
    "BFloat16",
    "Baseline",
    "BaselineBatchSize",
    "Batch",
    "Compare",
    "CoresPerInstance",
    "DataFormat",
    "DisplayEvery",
    "ForwardOnly",
    "ImageSize",
    "InstanceCount",
    "Inter",
    "Intra",
    "KmpAffinity",
    "KmpBlocktime",
    "KmpSettings",
    "ModeName",
    "Models",
    "NumBatches",
    "NumWarmupBatches",
    "Numa",
    "Output",
    "Peers",
    "Precision",
    "RealData",
    "Rounds",
    "RuntimeFrom",
    "Seconds",
    "SignatureName",
    "SocketId",
]

_HOW, _LENGTH, _AGAINST = "How models are run", "How long", "What they are compared with"
_TRAINING = "Training"

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL",
        help="SavedModel folders, frozen .pb files, or networks of keras.applications by name (resnet50), with random "
        "weights; with --train networks by name, .keras files, or module:function. The first is what the others are "
        "compared with.",
        show_default=False,
    ),
]

# --- how models are run -------------------------------------------------------------------------------------------

ModeName = Annotated[
    Mode | None,
    typer.Option(
        metavar="MODE",
        help="What counts: latency, the time of a batch; throughput, the images per second of all instances. Sets the "
        "default batch size and what auto instances are.",
        show_default="latency; throughput for batches or instances above 1",
        rich_help_panel=_HOW,
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        "-b",
        min=1,
        metavar="N",
        help="Examples in a batch.",
        show_default="1, or 32 for throughput",
        rich_help_panel=_HOW,
    ),
]
Intra = Annotated[
    int | None,
    typer.Option(
        "--num-intra-threads",
        "--intra",
        min=1,
        metavar="N",
        help="Threads inside one operation.",
        show_default="left to TensorFlow",
        rich_help_panel=_HOW,
    ),
]
Inter = Annotated[
    int | None,
    typer.Option(
        "--num-inter-threads",
        "--inter",
        min=1,
        metavar="N",
        help="Operations at a time.",
        show_default="left to TensorFlow",
        rich_help_panel=_HOW,
    ),
]
InstanceCount = Annotated[
    str | None,
    typer.Option(
        "--instances",
        metavar="N|auto",
        help="Processes that run the model at the same time, each on cores of its own. auto: one on each NUMA node; "
        "for latency one on every four cores.",
        show_default="1",
        rich_help_panel=_HOW,
    ),
]
CoresPerInstance = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Physical cores of each instance.",
        show_default="an equal share; all, unpinned, for a single instance",
        rich_help_panel=_HOW,
    ),
]
SocketId = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="S", help="Use the cores of this socket only.", show_default="all", rich_help_panel=_HOW
    ),
]
Numa = Annotated[
    bool,
    typer.Option(
        "--numa",
        help="Bind each instance to one NUMA node; one instance for each node if --instances does not say how many.",
        rich_help_panel=_HOW,
    ),
]
DataFormat = Annotated[
    Layout | None,
    typer.Option(
        help="Bring the images of float graphs to this order of axes. On CPUs that is NHWC.",
        show_default="as in the model",
        rich_help_panel=_HOW,
    ),
]
BFloat16 = Annotated[
    bool,
    typer.Option(
        "--bf16",
        help="Float convolutions and products in bfloat16; with --train as --precision bf16.",
        rich_help_panel=_HOW,
    ),
]
AllocatorName = Annotated[
    Allocator | None,
    typer.Option(
        "--allocator",
        metavar="NAME",
        help="What gives out memory: system, tcmalloc or jemalloc.",
        show_default="system",
        rich_help_panel=_HOW,
    ),
]
KmpBlocktime = Annotated[
    int | None,
    typer.Option(
        "--kmp-blocktime",
        min=0,
        metavar="MS",
        help="KMP_BLOCKTIME, for TensorFlow builds with OpenMP.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
KmpAffinity = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="KMP_AFFINITY, likewise.", show_default=False, rich_help_panel=_HOW),
]
KmpSettings = Annotated[
    int | None,
    typer.Option(min=0, max=1, metavar="0|1", help="KMP_SETTINGS, likewise.", show_default=False, rich_help_panel=_HOW),
]
RuntimeFrom = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="tuned|PATH",
        help="Run with what eightfold tune has found: for each model itself (tuned), or for the model at PATH, which "
        "may be a runtime.json. Other options win over it.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]

# --- training -----------------------------------------------------------------------------------------------------

ForwardOnly = Annotated[
    bool,
    typer.Option(
        "--forward-only/--train",
        help="Inference, or steps of training as eightfold train makes them: fused batch norms, the faster precision.",
        rich_help_panel=_TRAINING,
    ),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"] | None,
    typer.Option(
        help="Of training; auto: bfloat16 where a short trial says that it is faster.",
        show_default="auto",
        rich_help_panel=_TRAINING,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        min=8,
        metavar="N",
        help="Height and width of the pictures that a network by name, or module:function, is trained with.",
        show_default="what the network is made for",
        rich_help_panel=_TRAINING,
    ),
]

# --- how long -----------------------------------------------------------------------------------------------------

Rounds = Annotated[
    int, typer.Option(min=1, metavar="N", help="How often each model has its turn.", rich_help_panel=_LENGTH)
]
Seconds = Annotated[float, typer.Option(min=0, metavar="S", help="Least time of a turn.", rich_help_panel=_LENGTH)]
NumBatches = Annotated[
    int | None,
    typer.Option(
        "--num-batches",
        min=1,
        metavar="N",
        help="So many batches of each instance, over all rounds, in place of --seconds.",
        show_default=False,
        rich_help_panel=_LENGTH,
    ),
]
NumWarmupBatches = Annotated[
    int | None,
    typer.Option(
        "--num-warmup-batches",
        min=0,
        metavar="N",
        help="Batches before the first that counts.",
        show_default="until times no longer fall",
        rich_help_panel=_LENGTH,
    ),
]
DisplayEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Show the speed so far at every Nth batch.",
        show_default="10 with --num-batches, else a tenth of them",
        rich_help_panel=_LENGTH,
    ),
]

# --- input --------------------------------------------------------------------------------------------------------

RealData = Annotated[
    str | None,
    typer.Option(
        "--data",
        "-d",
        metavar="DATA",
        help="An .npz or .npy file, a folder of images, TFRecord files, or module:function. Its first batches are held "
        "in memory.",
        show_default="random numbers",
    ),
]
SignatureName = Annotated[str, typer.Option(metavar="NAME", help="The signature to call.")]

# --- compared with ------------------------------------------------------------------------------------------------

Compare = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Say how many times faster each model is than: baseline, the float model in a default environment "
        "(oneDNN off, default threads); stock, with --train, the network as Keras trains it, with oneDNN and the same "
        "threads.",
        show_default=False,
        rich_help_panel=_AGAINST,
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="The float model for that.",
        show_default="the first MODEL that is not in 8 bits",
        rich_help_panel=_AGAINST,
    ),
]
BaselineBatchSize = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Its batch size.", show_default="as the first MODEL", rich_help_panel=_AGAINST
    ),
]
Peers = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Measure the first float MODEL on openvino, onnxruntime, litert too, in 8 bits or as NAME:fp32; each in "
        "an environment of its own, which is installed into the cache folder the first time (minutes; 0.2 to 2 GB).",
        show_default=False,
        rich_help_panel=_AGAINST,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        dir_okay=False,
        metavar="FILE.json",
        help="Write the JSON document here too.",
        show_default=False,
    ),
]
