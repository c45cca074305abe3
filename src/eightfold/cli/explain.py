"""`eightfold explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eightfold.cli.failures import reported
from eightfold.cli.options import (
    Exclude,
    Inputs,
    Json,
    Model,
    Outputs,
    Preprocess,
    Quiet,
    RecipeFile,
    Samples,
)
from eightfold.cli.quantize import build_recipe
from eightfold.cli.quiet import import_tensorflow
from eightfold.cli.screen import Screen, Tell
from eightfold.cli.view import require_netron, view_graph
from eightfold.errors import ModelError, RecipeError

if TYPE_CHECKING:
    from eightfold.quantization.explain import Explanation
    from eightfold.quantization.recipe import Recipe

__all__ = ["explain"]


@reported
def explain(  # noqa: PLR0913  (one argument for each option)
    model: Model,
    *,
    node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show the block of this node: its float and 8-bit graphs."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="FILE", help="Write everything as one HTML page.")
    ] = None,
    view: Annotated[
        bool, typer.Option("--view", help="Open the graph in Netron (pip install 'eightfold\\[view]').")
    ] = False,
    recipe: RecipeFile = None,
    exclude: Exclude = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            metavar="DATA",
            help="A sample of a float model's input, as for quantize: shows the calibrated graphs too.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The float model that an 8-bit model was made from: with --data, measures anew where its error is "
            "made and its time goes.",
            show_default=False,
        ),
    ] = None,
    samples: Samples = None,
    preprocess: Preprocess = None,
    inputs: Inputs = None,
    outputs: Outputs = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Show what became 8-bit, what did not and why, and where the 8-bit flow breaks.

    A model that eightfold saved carries its report. For a float model this
    shows what would happen: without data, or in full with --data. The page of
    --html needs no network: it shows the graph of the model, the error and
    time of each block, and the ranges chosen.

    \b
    [bold]Examples[/]
      $ eightfold explain resnet50-int8/
      $ eightfold explain resnet50/ --exclude '^predictions'
      $ eightfold explain resnet50-int8/ --node conv1_relu/Relu
      $ eightfold explain resnet50-int8/ --html page.html
      $ eightfold explain resnet50/ -d photos/ --preprocess caffe --html page.html
    """
    from eightfold.quantization.explain import explain_report
    from eightfold.quantization.report import read_report

    if view:
        require_netron()
    screen = Screen(json, quiet)
    with screen.work() as tell:
        chosen = build_recipe(recipe, None, exclude or (), per_tensor=False)
        sample = {"data": data, "samples": samples, "preprocess": preprocess}
        tensors = {"inputs": inputs, "outputs": outputs}
        if not has_report(Path(model)):
            explanation = _planned(model, chosen, tensors, sample, tell, measured=html is not None)
        elif reference is not None:
            explanation = _measured_anew(model, reference, tensors, sample, tell)
        else:
            explanation = explain_report(read_report(model))
        found = explanation.find(node) if node else None
        if html:
            from eightfold.cli.page import write_page

            write_page(explanation, html)
    from eightfold.cli.explanation import block_page, overview

    document = explanation.to_dict()
    if found is not None:
        from dataclasses import asdict

        document = {"origin": explanation.origin, "mode": explanation.mode, "node": node, **asdict(found)}
    screen.show(document, overview(explanation) if found is None else block_page(found, explanation.scope))
    if view:
        view_graph(model)


def has_report(path: Path) -> bool:
    """Whether eightfold has left its report with a model."""
    from eightfold.quantization.report import REPORT_FILE

    beside = path.suffix == ".pb" and path.is_file() and path.with_suffix(".json").is_file()
    return beside or (path / REPORT_FILE).is_file()


def _planned(
    model: str,
    recipe: Recipe,
    tensors: Mapping[str, Any],
    sample: Mapping[str, Any],
    tell: Tell,
    *,
    measured: bool,
) -> Explanation:
    """What would become of a float model; with a sample of its input, in full."""
    import_tensorflow()
    import eightfold as ef
    from eightfold.quantization.analyze import analyze, sample_of
    from eightfold.quantization.calibrate import open_data
    from eightfold.quantization.dynamic import lower_dynamic
    from eightfold.quantization.explain import explain_plan

    exported = ef.export(model, **tensors, progress=tell)
    plan = ef.plan(exported, recipe)
    dynamic = lower_dynamic(exported, plan).graph
    if sample["data"] is None:
        return explain_plan(exported, plan, dynamic)
    ranges = ef.calibrate(exported, plan, **sample, progress=tell)
    result = ef.lower(exported, plan, ranges)
    explanation = explain_plan(exported, plan, dynamic, result.model.graph)
    if not (measured and plan.steps):
        return explanation
    tell("analyze", 0, None)
    return replace(explanation, analysis=analyze(result, sample_of(open_data(exported, **sample))))


def _measured_anew(
    model: str,
    reference: str,
    tensors: Mapping[str, Any],
    sample: Mapping[str, Any],
    tell: Tell,
) -> Explanation:
    """An 8-bit model with what is measured when its recipe is followed once more.

    Raises:
        RecipeError: there is no data to measure with.
        ModelError: the reference is not what the model was made from.
    """
    from eightfold.quantization.explain import explain_report
    from eightfold.quantization.recipe import Recipe
    from eightfold.quantization.report import RECIPE_FILE, read_report

    if sample["data"] is None:
        raise RecipeError("measuring needs a sample of the model's real input: give it with --data")
    report = read_report(model)
    saved = Path(model) / RECIPE_FILE
    import_tensorflow()
    import eightfold as ef

    recipe = replace(Recipe.load(saved) if saved.is_file() else Recipe(), fallback=False)
    planned = ef.plan(ef.export(reference, **tensors, progress=tell), recipe)
    missing = {step.name for step in report.steps} - {step.name for step in planned.steps}
    if missing:
        raise ModelError(f"{model} was not made from {reference}, which has no block {sorted(missing)[0]}")
    again = ef.quantize(reference, recipe=recipe, **sample, **tensors, progress=tell).report
    return replace(explain_report(report), analysis=again.analysis, chart=report.chart or again.chart)
