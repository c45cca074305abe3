"""`eightfold evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from enum import Enum
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
    from eightfold.metrics import MetricResult

__all__ = ["evaluate"]


class MetricName(str, Enum):
    """What is measured."""

    top1 = "top1"
    top5 = "top5"
    mse = "mse"
    agreement = "agreement"


Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        metavar="DATA",
        help="An .npz file with arrays named like the inputs (or x) and labels in y, a folder of images with "
        "a sub-folder for each class, TFRecord files, or module:function.",
        show_default=False,
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="The model to compare with, for agreement and mse.", show_default=False),
]


@reported
def evaluate(  # noqa: PLR0913  (one argument for each option)
    model: Model,
    *,
    data: Data,
    metric: Annotated[MetricName, typer.Option("--metric", "-m", help="What to measure.")] = MetricName.top1,
    reference: Reference = None,
    batch_size: BatchSize = 32,
    samples: Samples = None,
    preprocess: Preprocess = None,
    signature: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The signature to call.", show_default="serving_default"),
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="The output to measure, where there are several.")
    ] = None,
    inputs: Inputs = None,
    outputs: Outputs = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure a model on labelled data, or against another model.

    Works for float and 8-bit models alike. The figure comes with its 95 %
    confidence interval.

    \b
    [bold]Examples[/]
      $ eightfold evaluate resnet50-int8/ -d imagenet/val/ --preprocess caffe
      $ eightfold evaluate net-int8/ -d t.npz -m agreement --reference net.keras
      $ eightfold evaluate depth-int8/ -d my_data:pairs -m mse --json
    """
    if metric is MetricName.agreement and reference is None:
        raise RecipeError("agreement compares two models: name the second with --reference MODEL")
    screen = Screen(json, quiet)
    with screen.work() as tell, ExitStack() as stack:
        import_tensorflow()
        from eightfold.metrics import evaluate as measure
        from eightfold.metrics import metric as make_metric
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
        result = measure(
            _runner(subject, call, stack),
            _counted(dataset, tell),
            make_metric(metric.value),
            reference=other,
            output=output,
        )
    document = {"model": model, "data": data, "reference": reference, **asdict(result)}
    screen.show({**document, "metric": document.pop("name")}, Text(sentence(model, result)))


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
    low, high = result.interval
    if result.name == "mse":
        return f"{model}: mse {result.value:.6g} (95 %: {low:.6g} to {high:.6g}) over {result.n} examples"
    interval = f"(95 %: {low:.2%} to {high:.2%})"
    return f"{model}: {result.name} {result.value:.2%} {interval} over {result.n} predictions"
