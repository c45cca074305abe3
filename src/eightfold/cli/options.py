"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BatchSize",
    "Exclude",
    "Inputs",
    "Json",
    "Model",
    "Outputs",
    "Preprocess",
    "Quiet",
    "RecipeFile",
    "Samples",
]

MODEL = "a SavedModel folder, a .keras or .h5 file, a frozen .pb, or a checkpoint with its .meta"
TENSORS = "for a graph without a signature: name of an {} tensor; repeat for more"

Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL[0].upper() + MODEL[1:] + ".", show_default=False)]
BatchSize = Annotated[int, typer.Option("--batch-size", "-b", min=1, metavar="N", help="Examples in a batch.")]
Samples = Annotated[
    int | None,
    typer.Option("--samples", "-n", min=1, metavar="N", help="Use the first N examples.", show_default=False),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="raw|tf|torch|caffe|module:function",
        help="What is done to the pixels of image files (0..255) before the model sees them.",
        show_default="raw",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--inputs", metavar="TENSOR", help=TENSORS.format("input").capitalize() + "."),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option("--outputs", metavar="TENSOR", help=TENSORS.format("output").capitalize() + "."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="REGEX",
        help="Keep nodes in float whose name this finds; repeat for more. Added to those of the recipe.",
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", metavar="FILE.toml", help="What is wanted, as a TOML file; options given here win."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no summary.")]
Json = Annotated[bool, typer.Option("--json", help="Write the result to standard output as one JSON document.")]
