"""The options by which `quantize` is told what to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eightfold.cli.evaluate import maker, opened
from eightfold.errors import RecipeError

if TYPE_CHECKING:
    from eightfold.graph.ir import Array
    from eightfold.search.judge import Runnable

__all__ = ["NOT_REACHED", "Budget", "EvalData", "Goal", "MaxDrop", "Metric", "MetricOutput", "Resume", "goal_of"]

NOT_REACHED = 3
"""The exit code when the model that was saved loses more than allowed."""

PANEL = "To hold an accuracy"
EvalData = Annotated[
    str | None,
    typer.Option(
        "--eval-data",
        metavar="DATA",
        help="Labelled data to judge models on, in the forms of --data: search for the fastest that holds --max-drop.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        "-m",
        metavar="METRIC",
        help="What is to be held, see eightfold evaluate; module:function for your own.",
        show_default="top1",
        rich_help_panel=PANEL,
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        metavar="X",
        help="How much of the metric may be lost: 0.005 is half a point of a share.",
        show_default="0.005",
        rich_help_panel=PANEL,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="How long to search at most: 30m, 1.5h, 90s.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with a search that was ended before: with OUTPUT.trials.jsonl. Replaces OUTPUT.",
        rich_help_panel=PANEL,
    ),
]


MetricOutput = Annotated[
    str | None,
    typer.Option(
        "--metric-output",
        metavar="NAME",
        help="The output to measure, where the model has several.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True)
class Goal:
    """What the user wants to hold.

    Attributes:
        data: what models are judged on, as the user named it.
        metric: its name.
        output: of the model, to be measured; `None` where it has one.
        max_drop: how much may be lost; `None` for the default.
        budget: how long the search may take; `None` for as long as it takes.
        resume: whether to go on with the trials beside the output.

    Raises:
        RecipeError: a value makes no sense.
    """

    data: str
    metric: str
    output: str | None
    max_drop: float | None
    budget: str | None
    resume: bool

    def __post_init__(self) -> None:
        from eightfold.bench.budget import seconds_of

        if self.max_drop is not None and not self.max_drop >= 0:
            raise RecipeError(f"--max-drop is how much may be lost: expected 0 or more, received {self.max_drop:g}")
        if self.budget is not None:
            seconds_of(self.budget)
        maker(self.metric)()

    def options(self, batch_size: int, preprocess: str | None, result: Path) -> dict[str, Any]:
        """The arguments of `eightfold.quantize`."""
        from eightfold.search.judge import Judge

        examples = _Examples(self, batch_size, preprocess)
        judge = Judge(
            examples.value,
            self.metric,
            f"{_fingerprint(self.data)} {preprocess} {self.output}",
            of_reference=maker(self.metric)().against != "labels",
        )
        return {
            "evaluate": judge,
            "max_drop": self.max_drop,
            "budget": self.budget,
            "trials": result.with_name(f"{result.name}.trials.jsonl"),
            "resume": self.resume,
        }


def goal_of(data: str | None, metric: str | None, *, dynamic: bool, **options: Any) -> Goal | None:
    """What the options say; `None` where nothing is to be held.

    Args:
        data: of `--eval-data`.
        metric: its name.
        dynamic: whether ranges are computed while the model runs.
        options: the other attributes of a `Goal`.

    Raises:
        RecipeError: an option makes no sense, or is given without data to judge on.
    """
    if data is not None and dynamic:
        raise RecipeError("--eval-data searches among calibrated models: leave --dynamic away")
    if data is not None:
        return Goal(data, metric or "top1", **options)
    given = [name for name, value in {"metric": metric, **options}.items() if value not in (None, False)]
    if given:
        option = {"output": "metric-output"}.get(given[0], given[0]).replace("_", "-")
        raise RecipeError(f"--{option} is for holding an accuracy: say what to judge on with --eval-data DATA")
    return None


class _Examples:
    """The user's data, judged by a metric. Metrics against a model expect what the first model gives: the float one."""

    def __init__(self, goal: Goal, batch_size: int, preprocess: str | None) -> None:
        self._goal, self._batch_size, self._preprocess = goal, batch_size, preprocess
        self._expected: list[Mapping[str, Array]] | None = None

    def value(self, run: Runnable) -> float:
        """The metric of a model, turned so that higher is better."""
        from eightfold.metrics import evaluate

        metric = maker(self._goal.metric)()
        batches = opened(self._goal.data, run.signature, self._batch_size, None, self._preprocess)
        if metric.against == "labels":
            result = evaluate(run, batches, metric, output=self._goal.output)
        else:
            if self._expected is None:
                self._expected = [run(batch.inputs) for batch in batches]
            expected = iter(self._expected)
            result = evaluate(run, batches, metric, reference=lambda _: next(expected), output=self._goal.output)
        return result.value if result.higher_is_better else -result.value


def _fingerprint(data: str) -> str:
    """Names, sizes and times of the files that data is read from; the name itself where it is no path."""
    path = Path(data).expanduser()
    files = sorted(path.rglob("*")) if path.is_dir() else sorted(path.parent.glob(path.name)) or [path]
    found = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return f"{data} {found}"
