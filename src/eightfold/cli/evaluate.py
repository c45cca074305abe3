"""`eightfold evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from eightfold.cli.failures import reported
from eightfold.cli.options import BatchSize, Inputs, Json, Model, Outputs, Preprocess, Quiet, Samples
from eightfold.cli.quiet import import_tensorflow
from eightfold.cli.screen import Screen, Tell
from eightfold.errors import DataError, ModelError, RecipeError

if TYPE_CHECKING:
    from eightfold.data import Batch, Dataset
    from eightfold.graph.ir import Array
    from eightfold.graph.model import Model as FloatModel
    from eightfold.graph.model import Signature
    from eightfold.metrics import Comparison, Metric, MetricResult, Run

__all__ = ["evaluate"]


Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        metavar="DATA",
        help="An .npz or .npy file with arrays named like the inputs (or x) and labels in y, a folder of images with "
        "a sub-folder for each class, TFRecord files, or module:function.",
        show_default=False,
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="The model to compare with: what it gives is what agreement and mse expect; for other metrics both "
        "models are measured, and the difference is judged.",
        show_default=False,
    ),
]
MetricName = Annotated[
    str,
    typer.Option(
        "--metric",
        "-m",
        metavar="METRIC",
        help="What to measure: top1, top5, mse, agreement, auc, hr@10, ndcg@10 (or another number), coco-map, "
        "coco-map50, voc-map, voc07-map, or module:function.",
    ),
]
FirstLabel = Annotated[
    int,
    typer.Option(metavar="N", help="What the labels call the model's class 0: 1 where they count from 1."),
]

MeasuredOutput = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The output to measure, where there are several. For a metric of all of them: what it calls those that "
        "the model names otherwise, NAME=OUTPUT,...",
    ),
]


@reported
def evaluate(  # noqa: PLR0913  (one argument for each option)
    model: Model,
    *,
    data: Data,
    metric: MetricName = "top1",
    reference: Reference = None,
    first_label: FirstLabel = 0,
    batch_size: BatchSize = 32,
    samples: Samples = None,
    preprocess: Preprocess = None,
    signature: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The signature to call.", show_default="serving_default"),
    ] = None,
    output: MeasuredOutput = None,
    inputs: Inputs = None,
    outputs: Outputs = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure a model on labelled data, or against another model.

    Works for float and 8-bit models alike. The figure comes with its 95 %
    confidence interval; with --reference, so does the difference between the
    two models, and one that the data cannot tell from 0 is called noise.

    \b
    [bold]Examples[/]
      $ eightfold evaluate resnet50-int8/ -d imagenet/val/ --preprocess caffe
      $ eightfold evaluate net-int8/ -d t.npz --reference net.keras
      $ eightfold evaluate ssd-int8/ -d 'coco/val-*' -m coco-map
      $ eightfold evaluate ncf-int8/ -d pairs.npz -m my_metrics:recall --json
    """
    screen = Screen(json, quiet)
    with screen.work() as tell, ExitStack() as stack:
        make = maker(metric, first_label)
        if make().against == "reference" and reference is None:
            raise RecipeError(f"{metric} compares two models: name the second with --reference MODEL")
        import_tensorflow()
        from eightfold.tf.read import read_model

        tell("read", 0, None)
        tensors = {"inputs": inputs, "outputs": outputs}
        subject = read_model(model, **tensors)
        call = chosen(subject, signature)
        dataset = opened(data, call, batch_size, samples, preprocess)
        other = None
        if reference is not None:
            second = read_model(reference, **tensors)
            other = _runner(second, chosen(second, signature), stack)
        run, batches = _runner(subject, call, stack), _counted(dataset, tell)
        result, comparison = _measured(run, other, batches, make, output)
    document = {"model": model, "data": data, "reference": reference, **asdict(result)}
    document["metric"] = document.pop("name")
    if comparison is not None:
        document["comparison"] = _compared(comparison)
    screen.show(document, *_lines(model, reference, result, comparison))


def maker(name: str, first_label: int = 0) -> Callable[[], Metric]:
    """What gives a new metric of that name, or of the user's own `module:function`.

    Raises:
        DataError: the user's own cannot be imported. What is wrong with a name is raised by what is given back.
    """
    from eightfold.data.imported import imported, names_function
    from eightfold.metrics import metric

    return partial(metric, imported(name) if names_function(name) else name, first_label)


def _measured(
    run: Run, other: Run | None, batches: Iterable[Batch], make: Callable[[], Metric], output: str | None
) -> tuple[MetricResult, Comparison | None]:
    """What the model gives, and, where the metric is against labels and there is another model, how they compare."""
    from eightfold.metrics import evaluate as measure
    from eightfold.metrics import evaluate_both

    if other is None or make().against != "labels":
        return measure(run, batches, make(), reference=other, output=output), None
    comparison = evaluate_both(run, other, batches, make, output=output)
    return comparison.candidate, comparison


def _compared(comparison: Comparison) -> dict[str, Any]:
    reference = comparison.reference
    return {
        "reference": {"value": reference.value, "n": reference.n, "interval": reference.interval},
        "difference": comparison.difference,
        "interval": comparison.interval,
        "drop": comparison.drop,
        "verdict": comparison.verdict,
    }


def _lines(model: str, reference: str | None, result: MetricResult, comparison: Comparison | None) -> Iterator[Text]:
    yield Text(sentence(model, result))
    if result.note:
        yield Text(f"note: {result.note}")
    if comparison is not None and reference is not None:
        yield Text(sentence(reference, comparison.reference))
        yield Text(verdict(comparison))


def chosen(model: FloatModel, name: str | None) -> Signature:
    """The signature of that name, or the default one.

    Raises:
        ModelError: there is none of that name.
    """
    if name is None:
        return model.default
    if name not in model.signatures:
        raise ModelError(f"{model.origin} has no signature {name!r}; expected one of {', '.join(model.signatures)}")
    return model.signatures[name]


def opened(data: str, signature: Signature, batch_size: int, samples: int | None, preprocess: str | None) -> Dataset:
    """The user's data for a signature."""
    from eightfold.data import InputSpec, load

    specs = {name: InputSpec.of(name, spec) for name, spec in signature.inputs.items()}
    return load(data, inputs=specs, batch_size=batch_size, samples=samples, preprocess=preprocess)


def _runner(
    model: FloatModel, signature: Signature, stack: ExitStack
) -> Callable[[Mapping[str, Array]], Mapping[str, Array]]:
    """The model as a function of inputs by name."""
    import tensorflow as tf

    from eightfold.tf.session import Runner

    run = stack.enter_context(Runner.of(model))
    fetches = [spec.ref for spec in signature.outputs.values()]

    def call(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        lacking = [name for name in signature.inputs if name not in arrays]
        if lacking:
            raise DataError(f"{model.origin} has an input {lacking[0]!r}, and the data has {', '.join(arrays)}")
        try:
            values = run(fetches, {spec.ref: arrays[name] for name, spec in signature.inputs.items()})
        except (tf.errors.InvalidArgumentError, ValueError) as error:
            first = str(error).strip().partition("\n")[0]
            raise DataError(f"{model.origin} cannot run on this data: {first}") from error
        return dict(zip(signature.outputs, values, strict=True))

    return call


def _counted(dataset: Dataset, tell: Tell) -> Iterator[Batch]:
    seen = 0
    batches: Iterable[Any] = dataset
    tell("evaluate", 0, dataset.size)
    for batch in batches:
        yield batch
        seen += batch.size
        tell("evaluate", seen, dataset.size)


def sentence(model: str, result: MetricResult) -> str:
    """The result on one line."""
    form = ".2%" if result.is_share else ".6g"
    low, high = (format(end, form) for end in result.interval)
    return f"{model}: {result.name} {result.value:{form}} (95 %: {low} to {high}) over {result.n} {result.counts}"


def verdict(comparison: Comparison) -> str:
    """What the difference is worth, on one line."""
    scale, form, unit = (100, "+.2f", " points") if comparison.reference.is_share else (1, "+.6g", "")
    value, low, high = (format(scale * x, form) for x in (comparison.difference, *comparison.interval))
    return f"difference: {value}{unit} (95 %: {low} to {high}), {comparison.verdict}"
