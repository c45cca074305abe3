"""`eightfold explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eightfold.cli.failures import reported
from eightfold.cli.options import Exclude, Inputs, Json, Model, Outputs, Quiet, RecipeFile
from eightfold.cli.screen import Screen, Tell

if TYPE_CHECKING:
    from eightfold.quantization.explain import Explanation
    from eightfold.quantization.recipe import Recipe

__all__ = ["explain"]


@reported
def explain(
    model: Model,
    node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show the block of this node: its float and 8-bit graphs."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write everything as one HTML page.")
    ] = None,
    view: Annotated[bool, typer.Option("--view", help="Open the graph in Netron (pip install 'eightfold[view]').")] = False,
    recipe: RecipeFile = None,
    exclude: Exclude = None,
    inputs: Inputs = None,
    outputs: Outputs = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Show what became 8-bit, what did not and why, and where the 8-bit flow breaks.

    A model that eightfold saved carries its report. For a float model this shows what would happen, without
    data; --recipe and --exclude say what to plan for.

    \b
    [bold]Examples[/]
      $ eightfold explain resnet50-int8/
      $ eightfold explain resnet50/ --exclude '^predictions'
      $ eightfold explain resnet50-int8/ --node conv1_relu/Relu
      $ eightfold explain resnet50-int8/ --html resnet50.html
    """
    screen = Screen(json, quiet)
    with screen.work() as tell:
        explanation = explained(model, recipe, exclude or [], inputs, outputs, tell)
        found = explanation.find(node) if node else None
        if html:
            from eightfold.cli.page import write_page

            write_page(explanation, html)
    from eightfold.cli.explanation import block_page, overview

    document = explanation.to_dict()
    if found is not None:
        from dataclasses import asdict

        document = {"origin": explanation.origin, "mode": explanation.mode, "node": node, **asdict(found)}
    screen.show(document, overview(explanation) if found is None else block_page(found))
    if view:
        from eightfold.cli.view import view_graph

        view_graph(model)


def explained(
    model: str,
    recipe: Path | None,
    exclude: list[str],
    inputs: list[str] | None,
    outputs: list[str] | None,
    tell: Tell,
) -> Explanation:
    """From the report of a quantized model, or from a plan for a float one."""
    from eightfold.cli.quantize import build_recipe
    from eightfold.quantization.explain import explain_report
    from eightfold.quantization.report import read_report

    if has_report(Path(model)):
        return explain_report(read_report(model))
    chosen = build_recipe(recipe, None, exclude, per_tensor=False)
    return _planned(model, chosen, inputs, outputs, tell)


def has_report(path: Path) -> bool:
    """Whether eightfold has left its report with a model."""
    from eightfold.quantization.report import REPORT_FILE

    beside = path.suffix == ".pb" and path.is_file() and path.with_suffix(".json").is_file()
    return beside or (path / REPORT_FILE).is_file()


def _planned(
    model: str, recipe: Recipe, inputs: list[str] | None, outputs: list[str] | None, tell: Tell
) -> Explanation:
    import eightfold as ef
    from eightfold.quantization.dynamic import lower_dynamic
    from eightfold.quantization.explain import explain_plan

    exported = ef.export(model, inputs=inputs, outputs=outputs, progress=tell)
    plan = ef.plan(exported, recipe)
    return explain_plan(exported, plan, dynamic=lower_dynamic(exported, plan).graph)
