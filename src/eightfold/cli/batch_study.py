"""`eightfold train --batch-study`: what the batch size does to speed and accuracy."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

from rich.table import Table
from rich.text import Text

from eightfold.cli.quiet import import_tensorflow
from eightfold.cli.screen import Screen

if TYPE_CHECKING:
    from eightfold.training.study import Outcome, Study

__all__ = ["batch_study", "table"]


def batch_study(  # noqa: PLR0913  (one argument for each option)
    screen: Screen,
    *,
    data: str,
    model: str,
    output: Path,
    batch_sizes: list[int],
    image_size: int | None,
    epochs: int,
    weights: str,
    precision: Literal["auto", "fp32", "bf16"],
    validation: float | str,
    cache: Literal["auto", "memory", "disk"],
    augment: bool,
    flip: bool,
    seed: int,
) -> None:
    """Runs the study, and writes `study.json` and `study.png` beside its log; a second run goes on from that.

    Raises:
        EightfoldError: see `eightfold.training.study.batch_study`.
    """
    with screen.work() as tell:
        import_tensorflow()
        from eightfold.bench.cache import cache as cache_folder
        from eightfold.bench.machine import this_machine
        from eightfold.data.augment import Augment
        from eightfold.data.labelled import read_labelled
        from eightfold.data.training_data import training_data
        from eightfold.training.classifier import default_side
        from eightfold.training.curve import needs_matplotlib, write_study
        from eightfold.training.study import batch_study as studied

        def over(outcome: Outcome) -> None:
            if not screen.quiet:
                print(_line(outcome), file=sys.stderr, flush=True)

        needs_matplotlib()
        side = image_size or default_side(model)
        read = partial(read_labelled, size=side, cache=cache, cache_folder=cache_folder("pictures"), progress=tell)
        pictures = training_data(data, read, validation=validation, seed=seed)
        study = studied(
            pictures,
            model,
            batch_sizes,
            this_machine(),
            epochs=epochs,
            seeds=(seed,),
            weights=weights,
            precision=precision,
            augment=Augment(flip_horizontal=flip) if augment else False,
            output=output,
            tell=tell,
            on_outcome=over,
        )
        (output / "study.json").write_text(json.dumps(study.to_json(), indent=1) + "\n", encoding="utf-8")
        write_study(study, f"{model}, {epochs} epochs of {len(pictures.rows)} pictures", output / "study.png")
    screen.show(study.to_json(), table(study), Text(f"{output / 'study.png'}, and the figures in study.json"))


def table(study: Study) -> Table:
    """A line for each batch size."""
    made = Table(title=f"{study.epochs} epochs", title_justify="left")
    made.add_column("batch", justify="right")
    for heading in ("s an epoch", "images/s", "accuracy, plain", "accuracy, ours"):
        made.add_column(heading, justify="right")
    for size in study.batch_sizes:
        ours = study.of(size, "ours")
        made.add_row(
            str(size),
            f"{median(one.seconds_per_epoch for one in ours):.1f}",
            f"{median(one.images_per_second for one in ours):.1f}",
            f"{study.accuracy(size, 'plain'):.1%}",
            f"{study.accuracy(size, 'ours'):.1%}",
        )
    return made


def _line(outcome: Outcome) -> str:
    said = "diverged" if outcome.diverged else f"accuracy {outcome.accuracy:.1%}"
    return (
        f"batch {outcome.batch_size}, {outcome.how} ({outcome.optimizer}, rate {outcome.rate:.3g}): {said}, "
        f"{outcome.images_per_second:.1f} images/s"
    )
