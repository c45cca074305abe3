"""What `tune` found, on one screen."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from eightfold.running.settings import counted
from eightfold.tuning.result import Trial, Tuning

__all__ = ["effort", "in_words", "tuning_page", "verdict"]

SHOWN = 6
WIDTH, HEIGHT = 60, 11
"""Of the plot, in characters."""


def tuning_page(result: Tuning) -> Iterator[RenderableType]:
    """The table, the plot, the outcome and what to do with it."""
    yield _table(result)
    if len([trial for trial in result.trials if trial.sample]) > 2:
        yield _plot(result)
    yield Text(verdict(result), style="bold" if result.reached else "bold yellow")
    for sentence in _notes(result):
        yield Text(sentence)
    yield Text("\nTo use it", style="bold")
    for command in _uses(result):
        yield Text(f"  {command}")


def verdict(result: Tuning) -> str:
    """The outcome in a sentence or two."""
    best = result.best
    assert best.sample is not None
    figures = f"{best.sample.images_per_second:.4g} images/s, {best.sample.p50_ms:.3g} ms a batch"
    said = f"Best: {in_words(best)}: {figures}"
    if best.ratio is not None and result.default is not None and best.settings != result.default.settings:
        low, high = f"{best.ratio.low:.2f}", f"{best.ratio.high:.2f}"
        said += f"; {best.ratio} ({low}-{high}) what TensorFlow's own settings reach"
    if not result.reached:
        said += f". No candidate keeps to {result.max_latency_ms:g} ms: this one misses it least"
    return f"{said} ({effort(result)})."


def in_words(trial: Trial) -> str:
    """The settings of a trial for people."""
    form = "" if trial.variant in ("fp32", trial.settings.precision) else f"{trial.variant}, "
    return form + str(trial.settings)


def effort(result: Tuning) -> str:
    """What the search took, and why it ended."""
    ended = {
        "tie": "nothing else is more than 3 % better",
        "rounds": "others are close",
        "budget": "the budget was spent; --resume goes on",
        "interrupted": "interrupted; --resume goes on",
    }.get(result.ended, "the winner is clear")
    return f"{counted(len(result.trials), 'candidate')} in {result.seconds:.0f} s; {ended}"


def _table(result: Tuning) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), title=f"{result.model}, {result.mode}", title_justify="left")
    for heading in ("", "settings", "images/s", "p50 ms", "p90 ms", "over default"):
        table.add_column(heading, justify="left" if heading in ("", "settings") else "right")
    for mark, trial in _shown(result):
        if trial.sample is None:
            continue
        figures = (trial.sample.images_per_second, trial.sample.p50_ms, trial.sample.p90_ms)
        ratio = f"{trial.ratio} ({trial.ratio.low:.2f}-{trial.ratio.high:.2f})" if trial.ratio else ""
        table.add_row(mark, escape(in_words(trial)), *(f"{figure:.4g}" for figure in figures), ratio)
    return table


def _shown(result: Tuning) -> Iterator[tuple[str, Trial]]:
    """The best few, and TensorFlow as it comes."""
    others = [trial for trial in result.trials if not result.default or trial.settings != result.default.settings]
    best_is_default = result.default is not None and result.best.settings == result.default.settings
    yield "*", result.best
    for trial in [one for one in others if one is not result.best][: SHOWN - 1]:
        yield "", trial
    if result.default is not None and not best_is_default:
        yield "TF", result.default


def _plot(result: Tuning) -> Text:
    """Latency of a batch against throughput, both on logarithmic axes: the upper right is best."""
    points = [(trial, trial.sample.images_per_second, trial.sample.p50_ms) for trial in result.trials if trial.sample]
    across, up = _scale([rate for _, rate, _ in points]), _scale([ms for _, _, ms in points])
    front = {id(trial) for trial in result.front}
    default = result.default.settings if result.default else None
    cells = [[" "] * WIDTH for _ in range(HEIGHT)]
    for trial, rate, ms in sorted(points, key=lambda point: (point[0] is result.best, id(point[0]) in front)):
        mark = "*" if trial is result.best else "T" if trial.settings == default else "o" if id(trial) in front else "."
        cells[round(up(ms) * (HEIGHT - 1))][round(across(rate) * (WIDTH - 1))] = mark
    low, high = min(ms for _, _, ms in points), max(ms for _, _, ms in points)
    labels = {0: f"{low:.3g} ms", HEIGHT - 1: f"{high:.3g} ms"}
    lines = [f"{labels.get(row, ''):>9} |{''.join(line).rstrip()}" for row, line in enumerate(cells)]
    least, most = (f"{pick(rate for _, rate, _ in points):.4g}" for pick in (min, max))
    axis = f"{'':>9} +{'-' * WIDTH}\n{'':>11}{least}{f'{most} images/s':>{WIDTH - len(least)}}"
    legend = "* best   o best of its kind: nothing else is better in both   T TensorFlow as it comes   . others"
    return Text("\n".join([*lines, axis, f"{'':>11}{legend}\n"]))


def _scale(values: Sequence[float]) -> _Scale:
    return _Scale(math.log(min(values)), math.log(max(values)))


class _Scale:
    """A logarithmic axis: gives the place of a value on it, from 0 to 1."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._length = low, max(high - low, 1e-9)

    def __call__(self, value: float) -> float:
        return (math.log(value) - self._low) / self._length


def _notes(result: Tuning) -> Iterator[str]:
    failed = [trial for trial in result.trials if trial.sample is None]
    if failed:
        reason = (failed[0].failure or "").splitlines()[0]
        yield f"{len(failed)} of the candidates could not be measured, the first because {reason}"
    if result.settings.precision == "bf16":
        yield "bfloat16 changes the numbers: compare the results before you use it."
    if result.best.variant == "int8" and result.int8:
        yield f"The settings are for the 8-bit model, {result.int8}."


def _uses(result: Tuning) -> Iterator[str]:
    elsewhere = _elsewhere(result)
    place = shlex.quote(str(result.file if elsewhere else result.model))
    if result.file:
        yield f"# the settings are in {result.file}"
    yield f"eightfold run {place} --mode {result.mode} -- python app.py"
    yield f"eightfold env {place} --mode {result.mode}"
    if not elsewhere:  # `ef.load` reads what is with the model
        yield f'run = ef.load("{result.model}", mode="{result.mode}")   # in Python'


def _elsewhere(result: Tuning) -> bool:
    """Whether the settings were not written to the model's own file."""
    from eightfold.running.file import place

    return result.file is not None and result.file != place(result.model)
