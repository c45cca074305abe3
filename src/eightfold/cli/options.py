"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eightfold.running.settings import Mode

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
    "RunMode",
    "Samples",
    "Tunable",
]

MODEL = "a SavedModel folder, a .keras or .h5 file, a frozen .pb, or a checkpoint with its .meta"
NO_SIGNATURE = "For a graph without a signature"

Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL[0].upper() + MODEL[1:] + ".", show_default=False)]
BatchSize = Annotated[int, typer.Option("--batch-size", "-b", min=1, metavar="N", help="Examples in a batch.")]
Samples = Annotated[
    int | None,
    typer.Option("--samples", "-n", min=1, metavar="N", help="Use the first N examples.", show_default=False),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What is done to the pixels of image files (0..255): raw, tf, torch, caffe or module:function.",
        show_default="raw",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--inputs",
        metavar="TENSOR",
        help="Name of an input tensor; repeat for more.",
        rich_help_panel=NO_SIGNATURE,
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--outputs",
        metavar="TENSOR",
        help="Name of an output tensor; repeat for more.",
        rich_help_panel=NO_SIGNATURE,
    ),
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
Tunable = Annotated[
    str,
    typer.Argument(
        metavar="MODEL_OR_CONFIG",
        help="A model that was tuned (a SavedModel folder or a frozen .pb), or a runtime.json.",
        show_default=False,
    ),
]
RunMode = Annotated[
    Mode | None,
    typer.Option(
        "--mode",
        help="Which settings: for a batch as soon as possible, or for as many as possible in a second. Where the "
        "model was tuned for one, that one; where for both, latency.",
        show_default=False,
    ),
]
