"""`eightfold predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from eightfold.cli.evaluate import Data
from eightfold.cli.failures import reported
from eightfold.cli.options import Json, Model, Preprocess, Quiet, Samples
from eightfold.cli.quiet import import_tensorflow
from eightfold.cli.screen import Screen
from eightfold.errors import ModelError, RecipeError

if TYPE_CHECKING:
    from eightfold.prediction.predict import Predictions
    from eightfold.prediction.settings import Settled
    from eightfold.running.settings import Mode

__all__ = ["predict"]

RUNNING = "How it is run"
MODES: tuple[Mode, ...] = ("throughput", "latency")
SHOWN = 5
"""Skipped rows that the summary names; --json and the output name all."""

Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        dir_okay=False,
        metavar="FILE",
        help="What to write: a .parquet or an .npz file.",
        show_default=False,
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="K",
        help="Keep the K highest classes and their scores in place of whole outputs.",
        show_default=False,
    ),
]
Instances = Annotated[
    str,
    typer.Option(
        metavar="N|auto",
        help="Processes, each pinned to cores of its own; auto takes all cores.",
        rich_help_panel=RUNNING,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        "-b",
        min=1,
        metavar="N",
        help="Rows in a batch.",
        show_default="as tuned, else 8",
        rich_help_panel=RUNNING,
    ),
]
TunedFor = Annotated[
    str | None,
    typer.Option(
        "--mode",
        metavar="MODE",
        help="Which settings of eightfold tune to use: throughput or latency.",
        show_default="throughput, where tuned",
        rich_help_panel=RUNNING,
    ),
]
RuntimeFile = Annotated[
    Path | None,
    typer.Option(
        "--runtime",
        metavar="FILE",
        help="A runtime.json, or a model that has one, in place of the model's own.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Compute on a Ray cluster: its address, or auto.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
OutputNames = Annotated[
    list[str] | None,
    typer.Option("--outputs", metavar="NAME", help="An output to keep; repeat for more.", show_default="all"),
]


@reported
def predict(  # noqa: PLR0913  (one argument for each option)
    model: Model,
    *,
    data: Data,
    output: Output,
    outputs: OutputNames = None,
    top: Top = None,
    signature: Annotated[
        str | None, typer.Option(metavar="NAME", help="The signature to call.", show_default="serving_default")
    ] = None,
    preprocess: Preprocess = None,
    samples: Samples = None,
    skip_errors: Annotated[
        bool, typer.Option("--skip-errors", help="Leave rows empty that cannot be read, and say so in a column error.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that did not finish.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output; without --resume, start anew.")
    ] = False,
    instances: Instances = "auto",
    batch_size: BatchSize = None,
    mode: TunedFor = None,
    runtime: RuntimeFile = None,
    cluster: Cluster = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run a model over a large data set on all cores, or on a cluster.

    Writes a table with a row for each row of the data, in their order; of
    pictures, with the names of their files. The file is the same whatever
    the number of instances. A worker that dies is replaced, and loses no row.

    A run that was killed has its parts in FILE.partial/: --resume goes on.

    \b
    [bold]Examples[/]
      $ eightfold predict net-int8/ -d photos/ -o answers.parquet --top 5
      $ eightfold predict net-int8/ -d rows.npz -o answers.npz --instances 4
      $ eightfold predict net-int8/ -d 'in/part-*' -o out.parquet --resume
      $ eightfold predict net-int8/ -d photos/ -o out.npz --cluster auto
    """
    screen = Screen(json, quiet)
    with _telling_of_parts(output), screen.work() as tell:
        _check_trained(model)
        count, wanted = _count(instances), _mode(mode)
        named = _settings(runtime, wanted)
        if not Path(data).is_dir() and Path(data).suffix not in (".npz", ".npy"):
            import_tensorflow()  # quietly: reading records needs it
        from eightfold.prediction.predict import predict as run

        done = run(
            model,
            data,
            output,
            signature=signature,
            outputs=outputs or (),
            top=top,
            preprocess=preprocess,
            samples=samples,
            batch_size=batch_size,
            instances=count,
            mode=wanted,
            runtime=None if named is None else named.runtime,
            cluster=cluster,
            skip_errors=skip_errors,
            resume=resume,
            overwrite=overwrite,
            progress=tell,
        )
    if named is not None:
        done = replace(done, notes=(*named.notes, *done.notes))
    screen.show(_document(done), *_lines(done))


@contextmanager
def _telling_of_parts(output: Path) -> Iterator[None]:
    """Says after a Ctrl-C that what is computed by then is not lost."""
    from eightfold.prediction.journal import folder_of

    try:
        yield
    except KeyboardInterrupt:
        if folder_of(output).exists():
            print(f"The parts so far are in {folder_of(output)}: --resume goes on.", file=sys.stderr, flush=True)
        raise


def _check_trained(model: str) -> None:
    """What other commands take for a network with random weights.

    Raises:
        ModelError: it is the name of a network, and of no file.
    """
    from eightfold.bench.named import named

    path, network = Path(model), named(model)
    if network is not None and not path.exists() and not any(path.parent.glob(f"{path.name}.*")):
        raise ModelError(
            f"there is no model at {model}; {network.keras} of keras.applications can be benchmarked by its name, "
            "since random weights do for that, but answers need trained ones: save your model by model.export(folder)"
        )


def _count(instances: str) -> int | None:
    if instances == "auto":
        return None
    if not instances.isdecimal() or int(instances) < 1:
        raise RecipeError(f"--instances is {instances!r}; expected a whole number from 1, or auto")
    return int(instances)


def _mode(name: str | None) -> Mode | None:
    for known in MODES:
        if name == known:
            return known
    if name is not None:
        raise RecipeError(f"--mode is {name!r}; expected one of {', '.join(MODES)}")
    return None


def _settings(file: Path | None, mode: Mode | None) -> Settled | None:
    """The settings in a file that is named; None leaves the choice to what was found for the model."""
    if file is None:
        return None
    from eightfold.prediction.settings import settled

    return settled(file, mode=mode or "throughput")


def _document(done: Predictions) -> dict[str, Any]:
    document = asdict(done)
    return {**document, "output": str(done.output), "rows_per_second": done.rows_per_second}


def _lines(done: Predictions) -> Iterator[Text]:
    for note in done.notes:
        yield Text(f"note: {note}")
    before = f", {done.rows - done.computed} of them by an earlier run" if done.computed < done.rows else ""
    yield Text(
        f"{done.output}: {done.rows} rows{before}: " + ", ".join(f"{n} {kind}" for n, kind in done.columns.items())
    )
    if done.computed:
        steady = f"{done.computed - done.first} rows in {done.seconds.compute:.1f} s, once all instances had begun"
        rate = f"{done.rows_per_second:.1f} rows/s ({steady}); " if done.rows_per_second else ""
        yield Text(f"{rate}{done.seconds.whole:.1f} s in all; {done.instances} instances, batch {done.batch_size}")
    if done.deaths:
        yield Text(f"workers that died and were replaced: {done.deaths}; no row was lost")
    if done.skipped:
        yield Text(f"rows that could not be read and are empty: {len(done.skipped)}; the column error says why:")
        for one in done.skipped[:SHOWN]:
            yield Text(f"  row {one.row}: {one.why}")
