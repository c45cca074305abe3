"""What `eightfold train` can be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "Augmented",
    "Balance",
    "BatchSize",
    "BatchStudy",
    "Cache",
    "Cluster",
    "Data",
    "Epochs",
    "Flip",
    "Freeze",
    "GrowFrom",
    "ImageSize",
    "MicroBatch",
    "Network",
    "Optimizer",
    "Output",
    "Overwrite",
    "Precision",
    "Rate",
    "Resizing",
    "Resume",
    "Seed",
    "Smoothing",
    "Target",
    "Validation",
    "Weights",
    "WorkerIndex",
    "Workers",
]

RECIPE = "How it learns"
WORKERS = "Several workers"

Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        metavar="DATA",
        help="A folder with a folder of pictures for each class (or with train and val folders that have these), "
        "TFRecord files, an .npz with x and y, or module:function.",
        show_default=False,
    ),
]
Network = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A network of keras.applications by name (resnet50), a .keras file, or module:function, which is called "
        "with input_shape= and classes=.",
        show_default=False,
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        file_okay=False,
        metavar="FOLDER",
        help="For the model, its report and learning curve, and checkpoints on the way.",
        show_default=False,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        min=8, metavar="N", help="Height and width of the pictures.", show_default="what the network is made for"
    ),
]
Epochs = Annotated[str, typer.Option(metavar="N|auto", help="Passes over the data; auto: until it gains no more.")]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="accuracy=X", help="Stop as soon as so much of the validation pictures is right.", show_default=False
    ),
]
Weights = Annotated[
    str,
    typer.Option("--from", metavar="WEIGHTS", help="scratch, imagenet, or a file of weights to begin with."),
]
BatchSize = Annotated[str, typer.Option("--batch-size", "-b", metavar="N|auto", help="Pictures for each step.")]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(help="auto: bfloat16 where a short trial says that it is faster."),
]
Optimizer = Annotated[
    Literal["auto", "sgd", "adam", "adamw", "lars", "lamb", "muon"],
    typer.Option(help="auto: by the batch size and the number of steps.", rich_help_panel=RECIPE),
]
Rate = Annotated[
    float | None,
    typer.Option(
        min=0.0, metavar="X", help="The highest learning rate.", show_default="by the batch", rich_help_panel=RECIPE
    ),
]
Smoothing = Annotated[
    float, typer.Option(min=0.0, max=0.9, metavar="X", help="Label smoothing.", rich_help_panel=RECIPE)
]
MicroBatch = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Pictures that the network sees at once; a larger batch is made of several, for less memory.",
        show_default="the batch",
        rich_help_panel=RECIPE,
    ),
]
GrowFrom = Annotated[
    str,
    typer.Option(
        metavar="N|auto|none",
        help="The batch size of the first epochs, from which it doubles; auto: 64 for batches of 128 and more.",
        rich_help_panel=RECIPE,
    ),
]
Resizing = Annotated[
    str,
    typer.Option(
        "--progressive-resizing",
        metavar="N|auto|none",
        help="Begin with pictures N pixels high and wide that grow to --image-size; auto: half of it. Faster, and as "
        "good where what matters shows in small pictures.",
        rich_help_panel=RECIPE,
    ),
]
Validation = Annotated[
    str,
    typer.Option(metavar="X|DATA", help="The share of each class to validate with, or data of its own."),
]
Cache = Annotated[
    Literal["auto", "memory", "disk"],
    typer.Option(help="Where decoded pictures are kept; auto: by how much memory they need."),
]
BatchStudy = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="Train once for each batch size with a plain recipe and once with ours, and compare speed and accuracy.",
        show_default=False,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="Processes on this machine, each on cores of its own.", rich_help_panel=WORKERS
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT,...",
        help="Workers on several machines: start the same command on each of them.",
        show_default=False,
        rich_help_panel=WORKERS,
    ),
]
WorkerIndex = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Which of --cluster this machine is.",
        show_default="the one with its address",
        rich_help_panel=WORKERS,
    ),
]
Freeze = Annotated[
    bool,
    typer.Option(
        "--freeze",
        help="Train the last layer only, on features that are computed once for each picture (transfer learning).",
    ),
]
Augmented = Annotated[bool, typer.Option(help="Change pictures at random: flips, crops, brightness.")]
Flip = Annotated[bool, typer.Option(help="Let left and right be exchanged; not for text.")]
Balance = Annotated[bool, typer.Option("--balance", help="Let classes with few pictures count as much as the others.")]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of weights, order, parting and changes.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that has not ended.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what another run left there.")]
