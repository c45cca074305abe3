"""Pictures: the learning curve of a run, and what a study of batch sizes found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eightfold.errors import MissingExtraError
from eightfold.quantization.placement import written_beside
from eightfold.training.history import Epoch

if TYPE_CHECKING:
    from eightfold.training.study import How, Study

__all__ = ["needs_matplotlib", "write_curve", "write_study"]

COLOURS = ("#7a8b99", "#c0392b")
HOWS: tuple[How, How] = ("plain", "ours")


def needs_matplotlib() -> None:
    """Says at once what drawing would only say after hours of training.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtraError("matplotlib", "train", "Drawing the learning curve") from None


def write_curve(epochs: Sequence[Epoch], title: str, file: Path) -> None:
    """Draws loss and accuracy over the epochs, of training and validation; an older picture is replaced at once.

    Args:
        epochs: one or more.
        title: above the picture.
        file: a `.png`, 1200 x 450 pixels.

    Raises:
        MissingExtraError: Matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    numbers = [one.epoch for one in epochs]
    with _drawing(title, file) as (left, right):
        for axes, name in ((left, "loss"), (right, "accuracy")):
            _lines(
                axes,
                "epoch",
                name,
                numbers,
                {
                    "training": [getattr(one, name) for one in epochs],
                    "validation": [getattr(one, f"val_{name}") for one in epochs],
                },
            )
        left.set_ylim(bottom=0)
        _percent(right)


def write_study(study: Study, title: str, file: Path) -> None:
    """Draws accuracy and time over the batch size, of the plain recipe and of ours; see `write_curve`.

    Raises:
        MissingExtraError: Matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    sizes = study.batch_sizes
    with _drawing(title, file) as (left, right):
        accuracy = {how: [study.accuracy(size, how) for size in sizes] for how in HOWS}
        seconds = {how: [study.seconds_per_epoch(size, how) for size in sizes] for how in HOWS}
        _lines(left, "batch size", "accuracy", sizes, accuracy)
        _lines(right, "batch size", "seconds an epoch", sizes, seconds)
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [str(size) for size in sizes])
        _percent(left)
        right.set_ylim(bottom=0)


@contextmanager
def _drawing(title: str, file: Path) -> Iterator[Any]:
    """Two sets of axes side by side, written to a file after the block."""
    needs_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot, which keeps figures and looks for a screen

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    yield figure.subplots(1, 2)
    with written_beside(file, overwrite=True) as place:
        figure.savefig(place, format="png", dpi=100)


def _lines(axes: Any, x: str, y: str, at: Sequence[int], lines: Mapping[Any, Sequence[float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for (label, values), colour in zip(lines.items(), COLOURS, strict=True):
        axes.plot(at, values, marker="o" if len(at) < 30 else None, markersize=4, color=colour, label=label)
    axes.set(xlabel=x, ylabel=y)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()


def _percent(axes: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
