"""What a run trains with: optimizer, rate and schedule, derived from the batch size and the number of steps.

recipe = recipe_for(512, examples=15_000, epochs=20)
print(recipe)
set_batch_norm_momentum(model, recipe.batch_norm_momentum)
model.compile(optimizer_of(recipe, model), ...)
model.fit(images.batch(recipe.micro_batch), epochs=20, callbacks=[ef.RecomputeStatistics(images.batch(250))])
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from eightfold.errors import RecipeError
from eightfold.training.expected import expect, is_number, is_whole
from eightfold.training.scaling import (
    REFERENCE_BATCH,
    REFERENCES,
    Name,
    batch_norm_momentum,
    growth_stages,
    warmup_steps,
)

__all__ = ["TrainingRecipe", "growing_from", "recipe_for"]

Schedule = Literal["cosine", "constant"]

LARGE = 128
"""Examples in a batch from which on Muon is chosen, whose work does not grow with the batch."""
GROWN_FROM = 64
"""Larger first batches are hardly faster on a CPU, and make fewer steps."""
GROWING = "Smith et al. 2018, arXiv:1711.00489"


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """What a run trains with.

    Attributes:
        optimizer: its name.
        batch_size: examples in one step of the optimizer.
        accumulate: micro-batches that a step is made of; the model sees `batch_size / accumulate` examples at once.
        steps: of the optimizer, in the whole run.
        rate: the highest.
        warmup: steps in which the rate rises to that, linearly.
        schedule: what follows: `cosine`, half a wave down, or `constant`.
        final: where the cosine ends, as a share of the highest rate.
        momentum: of the velocity; of Adam and its kin the first beta.
        weight_decay: of kernels; biases, scales and shifts have none. Decoupled, in each step `rate * weight_decay` of
            the weights (Loshchilov and Hutter 2019, arXiv:1711.05101); of LARS part of the gradient.
        label_smoothing: the share of each label that is spread evenly over all classes.
        batch_norm_momentum: of the moving statistics of batch norms.
        growth: stages of (epochs, batch size) where the batch grows while the run goes on, the last at `batch_size`;
            empty where all epochs have that size.
        sizes: stages of (epochs, height and width) where the pictures grow while the run goes on (see `resizing`);
            empty where all epochs have them in their whole size.
        why: how each of these was derived, in words, by its name; what was asked for is not in it.

    Raises:
        RecipeError: a value outside its range.
    """

    optimizer: Name
    batch_size: int
    steps: int
    rate: float
    accumulate: int = 1
    warmup: int = 0
    schedule: Schedule = "cosine"
    final: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    batch_norm_momentum: float = 0.99
    growth: tuple[tuple[int, int], ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    why: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, allowed in (("optimizer", get_args(Name)), ("schedule", get_args(Schedule))):
            if getattr(self, name) not in allowed:
                raise RecipeError(f"{name} must be one of {', '.join(allowed)}, received {getattr(self, name)!r}")
        for name in ("batch_size", "accumulate", "steps"):
            expect(name, getattr(self, name), "a whole number of at least 1", is_whole(getattr(self, name), 1))
        expect("warmup", self.warmup, f"a whole number from 0 to the {self.steps} steps", self._warmup_fits())
        expect("rate", self.rate, "a number above 0", is_number(self.rate) and self.rate > 0)
        for name in ("momentum", "label_smoothing"):
            value = getattr(self, name)
            expect(name, value, "at least 0 and below 1", is_number(value) and 0 <= value < 1)
        for name in ("final", "batch_norm_momentum"):
            value = getattr(self, name)
            expect(name, value, "a number from 0 to 1", is_number(value) and 0 <= value <= 1)
        decay = self.weight_decay
        expect("weight_decay", decay, "a number of at least 0", is_number(decay) and decay >= 0)
        for name in ("growth", "sizes"):
            object.__setattr__(self, name, tuple((epochs, size) for epochs, size in getattr(self, name)))
        self._check_growth()
        sizes = [count for stage in self.sizes for count in stage]
        expect("sizes", self.sizes, "stages of epochs and height and width", all(is_whole(one, 1) for one in sizes))
        whole = self.batch_size % self.accumulate == 0
        expect("accumulate", self.accumulate, f"a divisor of the batch size {self.batch_size}", whole)

    def _warmup_fits(self) -> bool:
        return is_whole(self.warmup, 0) and self.warmup <= self.steps

    def _check_growth(self) -> None:
        if self.growth:
            counts = [count for stage in self.growth for count in stage]
            holds = all(is_whole(one, 1) for one in counts) and self.growth[-1][1] == self.batch_size
            expect("growth", self.growth, f"stages of epochs and batch size that end at {self.batch_size}", holds)
            expect("accumulate", self.accumulate, "1 where the batch grows", self.accumulate == 1)

    @property
    def micro_batch(self) -> int:
        """Examples that the model sees at once."""
        return self.batch_size // self.accumulate

    def batch_in(self, epoch: int) -> int:
        """Examples in one step of an epoch, the first of which is 0; after the stages of growth as in the last."""
        return _in_stage(self.growth, epoch) or self.batch_size

    def side_in(self, epoch: int) -> int | None:
        """Height and width of the pictures of an epoch, the first of which is 0; None: their whole size."""
        return _in_stage(self.sizes, epoch)

    @property
    def growing_sizes(self) -> int:
        """Epochs before the first one with pictures of their whole size."""
        return sum(epochs for epochs, _ in self.sizes[:-1])

    def document(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {**asdict(self), "why": dict(self.why)}

    def __str__(self) -> str:
        shown = [(name, value) for name, value in self.document().items() if name != "why"]
        return "\n".join(
            f"{name}: {format(value, '.4g') if isinstance(value, float) else value}"
            + (f"; {self.why[name]}" if name in self.why else "")
            for name, value in shown
        )


def _in_stage(stages: tuple[tuple[int, int], ...], epoch: int) -> int | None:
    """What holds in an epoch, of stages of (epochs, what holds); None after them."""
    for epochs, what in stages:
        if epoch < epochs:
            return what
        epoch -= epochs
    return None


def recipe_for(
    batch_size: int,
    examples: int,
    epochs: int,
    *,
    optimizer: Name | Literal["auto"] = "auto",
    rate: float | None = None,
    warmup: int | None = None,
    schedule: Schedule | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    label_smoothing: float = 0.0,
    micro_batch: int | None = None,
    grow_from: int | None = None,
) -> TrainingRecipe:
    """Derives what a run from random weights trains with; whatever is given is taken as it is.

    The rest of a recipe is changed with `dataclasses.replace`.

    Args:
        batch_size: examples in one step of the optimizer; no more than there are count.
        examples: in one epoch; the last batch of an epoch may be smaller and counts as a step.
        epochs: of the whole run.
        optimizer: a name, or `auto`.
        rate: the highest.
        warmup: steps in which the rate rises.
        schedule: `cosine` (Loshchilov and Hutter 2017, arXiv:1608.03983), the default, or `constant`, the default
            where the batch grows.
        momentum: of the velocity, or the first beta.
        weight_decay: of kernels.
        label_smoothing: of the labels (Szegedy et al. 2016, arXiv:1512.00567).
        micro_batch: the most examples that the model is to see at once: larger batches are made of several. It takes
            less memory, and batch norms normalize with fewer examples, as in "ghost" batch normalization (Hoffer et
            al. 2017, arXiv:1705.08741).
        grow_from: the batch size of the first epochs, from which it doubles, in equal parts of the run, to
            `batch_size`. It takes the place of a falling rate (Smith et al. 2018, arXiv:1711.00489), and where a large
            batch leaves few steps, gives most of them back.

    Raises:
        RecipeError: a value outside its range, or micro-batches of a batch that grows.
    """
    for name, value in (("batch_size", batch_size), ("examples", examples), ("epochs", epochs)):
        expect(name, value, "a whole number of at least 1", is_whole(value, 1))
    why: dict[str, str] = {}
    size = min(batch_size, examples)
    accumulate = _accumulated(size, micro_batch, why)
    size -= size % accumulate
    growth = () if grow_from is None else _growth(grow_from, size, epochs, why)
    updates = sum(count * math.ceil(examples / (one // accumulate)) for count, one in growth or ((epochs, size),))
    if updates < accumulate:
        raise RecipeError(
            f"{epochs} epochs of {examples} examples are not one step of {accumulate} micro-batches; expected more "
            "examples or a smaller batch"
        )
    steps = updates // accumulate  # over the ends of epochs; what is left at the end of the run is lost
    chosen = _chosen(size, why) if optimizer == "auto" else optimizer
    if chosen not in REFERENCES:
        raise RecipeError(f"there is no optimizer {chosen!r}; expected auto or one of {', '.join(REFERENCES)}")
    reference = REFERENCES[chosen]
    return TrainingRecipe(
        optimizer=chosen,
        batch_size=size,
        accumulate=accumulate,
        steps=steps,
        rate=_rate(chosen, growth[0][1] if growth else size, why) if rate is None else rate,
        warmup=_warmup(steps, why) if warmup is None else warmup,
        schedule=_schedule(bool(growth), why) if schedule is None else schedule,
        momentum=reference.momentum if momentum is None else momentum,
        weight_decay=reference.weight_decay if weight_decay is None else weight_decay,
        label_smoothing=label_smoothing,
        batch_norm_momentum=_batch_norm(updates, why),
        growth=growth,
        why=why,
    )


def growing_from(batch_size: int) -> int | None:
    """The batch size that a batch should grow from; None for those that are small enough from the first step on."""
    return GROWN_FROM if batch_size >= LARGE else None


def _accumulated(batch_size: int, micro_batch: int | None, why: dict[str, str]) -> int:
    if micro_batch is None:
        return 1
    expect("micro_batch", micro_batch, "None or a whole number of at least 1", is_whole(micro_batch, 1))
    parts = math.ceil(batch_size / micro_batch)
    if parts > 1:
        why["accumulate"] = f"the model sees at most {micro_batch} examples at once"
    return parts


def _growth(first: int, last: int, epochs: int, why: dict[str, str]) -> tuple[tuple[int, int], ...]:
    expect("grow_from", first, "None or a whole number of at least 1", is_whole(first, 1))
    stages = growth_stages(first, last, epochs)
    if stages:
        why["growth"] = f"from {first} to {last} in {len(stages)} stages, instead of a falling rate ({GROWING})"
    return stages


def _schedule(grows: bool, why: dict[str, str]) -> Schedule:
    why["schedule"] = (
        f"the growing batch takes the place of a falling rate ({GROWING})"
        if grows
        else "half a wave down (Loshchilov and Hutter 2017, arXiv:1608.03983)"
    )
    return "constant" if grows else "cosine"


def _rate(name: Name, batch_size: int, why: dict[str, str]) -> float:
    reference = REFERENCES[name]
    scaled = reference.at(batch_size)
    why["rate"] = (
        f"{reference.rate:g} at a batch of {REFERENCE_BATCH}, {reference.rule} scaling to {batch_size} "
        f"({reference.source})" + (f", at most {reference.most:g}" if scaled > reference.most else "")
    )
    return min(scaled, reference.most)


def _warmup(steps: int, why: dict[str, str]) -> int:
    warmup = warmup_steps(steps)
    why["warmup"] = f"{100 * warmup / steps:.0f} % of {steps} steps (Goyal et al. 2017, arXiv:1706.02677)"
    return warmup


def _batch_norm(updates: int, why: dict[str, str]) -> float:
    why["batch_norm_momentum"] = f"an average over about the last tenth of {updates} batches"
    return batch_norm_momentum(updates)


def _chosen(batch_size: int, why: dict[str, str]) -> Name:
    """Muon where the steps are so large that its own work is small beside them; else gradient descent."""
    if batch_size >= LARGE:
        why["optimizer"] = f"a batch of {LARGE} or more: of all optimizers it lost least by few and large steps"
        return "muon"
    why["optimizer"] = f"a batch below {LARGE}: its steps cost least; Muon's take half as long again and more"
    return "sgd"
