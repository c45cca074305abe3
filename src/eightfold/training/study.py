"""What the batch size does to speed and accuracy, on the user's own pictures.

For each batch size two networks are trained alike but for the recipe: the plain one, which is what a script has that
only raises the batch size (Adam at 0.001 whatever the batch, batch norms as Keras has them), and ours, in which large
batches grow from small ones and so make more steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from eightfold.bench.journal import Journal
from eightfold.bench.machine import Machine
from eightfold.data.augment import Augment
from eightfold.data.training_data import TrainingData
from eightfold.errors import RecipeError
from eightfold.training.accelerate import Choice, accelerate
from eightfold.training.assembly import example, loop_of
from eightfold.training.classifier import SCRATCH, classifier
from eightfold.training.collective import Alone
from eightfold.training.ending import Ending
from eightfold.training.loop import Diverged, Tell
from eightfold.training.recipe import TrainingRecipe, growing_from, recipe_for
from eightfold.training.sets import picture_sets, training_batches

__all__ = ["Outcome", "Study", "batch_study", "our_recipe", "plain_recipe"]

PLAIN_RATE = 1e-3
"""Keras's default for Adam."""
KERAS_MOMENTUM = 0.99
"""Keras's default for batch norms."""
LOG = "study.jsonl"

How = Literal["plain", "ours"]


@dataclass(frozen=True)
class Outcome:
    """One network, trained.

    Attributes:
        batch_size: of each step.
        how: `plain` or `ours`.
        seed: of weights, order and augmentation.
        accuracy: the share of validation pictures that it gets right; of what diverged, 0.
        val_loss: their cross-entropy.
        seconds_per_epoch: the median over the epochs, of the steps alone.
        images_per_second: likewise.
        optimizer, rate: of its recipe.
        diverged: whether its loss was not a number any more.
    """

    batch_size: int
    how: How
    seed: int
    accuracy: float
    val_loss: float
    seconds_per_epoch: float
    images_per_second: float
    optimizer: str
    rate: float
    diverged: bool = False


@dataclass(frozen=True)
class Study:
    """What came of all of them.

    Attributes:
        outcomes: by batch size, plain before ours.
        epochs: of each.
        classes: how many pictures of each train and validate.
        machine: what it ran on.
    """

    outcomes: tuple[Outcome, ...]
    epochs: int
    classes: Mapping[str, tuple[int, int]]
    machine: Machine

    @property
    def batch_sizes(self) -> list[int]:
        """In the order in which they were tried."""
        return list(dict.fromkeys(one.batch_size for one in self.outcomes))

    def of(self, batch_size: int, how: How) -> list[Outcome]:
        """One for each seed."""
        return [one for one in self.outcomes if one.batch_size == batch_size and one.how == how]

    def accuracy(self, batch_size: int, how: How) -> float:
        """The median over the seeds."""
        return median(one.accuracy for one in self.of(batch_size, how))

    def seconds_per_epoch(self, batch_size: int, how: How) -> float:
        """The median over the seeds."""
        return median(one.seconds_per_epoch for one in self.of(batch_size, how))

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def plain_recipe(batch_size: int, examples: int, epochs: int) -> TrainingRecipe:
    """Adam at Keras's default rate, whatever the batch."""
    derived = recipe_for(batch_size, examples, epochs, optimizer="adam", rate=PLAIN_RATE, warmup=0)
    return TrainingRecipe(
        optimizer="adam",
        batch_size=derived.batch_size,
        steps=derived.steps,
        rate=PLAIN_RATE,
        schedule="constant",
        batch_norm_momentum=KERAS_MOMENTUM,
    )


def batch_study(
    pictures: TrainingData,
    model: str,
    batch_sizes: Sequence[int],
    machine: Machine,
    *,
    epochs: int,
    seeds: Sequence[int] = (0,),
    weights: str = SCRATCH,
    precision: Choice = "auto",
    augment: bool | Augment = True,
    output: Path | None = None,
    tell: Tell = lambda *_: None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> Study:
    """Trains all networks; those that are in the log of `output` already are not trained again.

    Args:
        pictures: to train and validate with.
        model: a network by name, or `module:function`; see `classifier`.
        batch_sizes: to try; one of more pictures than there are is tried as all of them.
        machine: what it runs on.
        epochs: of each network, the same for all: larger batches make fewer steps.
        seeds: each network is trained once for each.
        weights: to begin with.
        precision: see `accelerate`.
        augment: as of `train`.
        output: a folder for the log.
        tell: told the networks that are trained.
        on_outcome: told each.

    Raises:
        RecipeError: there are no batch sizes, or one makes no sense.
        DataError: the log is of another study.
        OutputError: the log cannot be written.
        ModelError: the network does not fit the pictures.
    """
    if not batch_sizes or min(batch_sizes) < 2:
        raise RecipeError(f"expected batch sizes of 2 or more, such as 32,256,1024; received {list(batch_sizes)}")
    about = f"{model} from {weights}, {pictures.train.size} pixels, {epochs} epochs, {augment}, {pictures.counts}"
    log = Journal(None if output is None else output / LOG, {"model": about, "origin": about}, resume=True)
    outcomes = [Outcome(**one) for one in log.entries]
    known = {(one.batch_size, one.how, one.seed): one for one in outcomes}
    found = []
    wanted = list(_wanted(batch_sizes, seeds, len(pictures.rows)))
    for number, (size, how, seed) in enumerate(wanted):
        tell("study", number, len(wanted))
        outcome = known.get((size, how, seed))
        if outcome is None:
            outcome = _trained(pictures, model, size, how, seed, epochs, weights, precision, augment, tell)
            log.write(asdict(outcome))
        found.append(outcome)
        on_outcome(outcome)
    return Study(tuple(found), epochs, pictures.counts, machine)


def our_recipe(batch_size: int, examples: int, epochs: int) -> TrainingRecipe:
    """As `train` has it: large batches grow from small ones."""
    return recipe_for(batch_size, examples, epochs, grow_from=growing_from(batch_size))


def _wanted(batch_sizes: Sequence[int], seeds: Sequence[int], examples: int) -> Iterator[tuple[int, How, int]]:
    hows: tuple[How, How] = ("plain", "ours")
    for size in dict.fromkeys(min(one, examples) for one in batch_sizes):
        for how in hows:
            for seed in seeds:
                yield size, how, seed


def _trained(
    pictures: TrainingData,
    model: str,
    batch_size: int,
    how: How,
    seed: int,
    epochs: int,
    weights: str,
    precision: Choice,
    augment: bool | Augment,
    tell: Tell,
) -> Outcome:
    count = len(pictures.rows)
    recipe = (plain_recipe if how == "plain" else our_recipe)(batch_size, count, epochs)
    net = classifier(model, side=pictures.train.size, classes=len(pictures.classes), weights=weights, seed=seed)
    batches = training_batches(pictures, recipe, augment, seed)
    accelerate(net, precision, batch=example(batches))
    sets = picture_sets(pictures, recipe, batches, Alone(), seed)
    loop = loop_of(net, recipe, pictures, sets, Ending(epochs), seed=seed, recompute=how == "ours")
    diverged = False
    try:
        loop.run(tell)
    except Diverged:
        diverged = True
    loss, accuracy = (float("nan"), 0.0) if diverged else loop.finish()
    return Outcome(
        batch_size=batch_size,
        how=how,
        seed=seed,
        accuracy=accuracy,
        val_loss=loss,
        seconds_per_epoch=median(one.seconds for one in loop.epochs) if loop.epochs else float("nan"),
        images_per_second=median(one.images_per_second for one in loop.epochs) if loop.epochs else float("nan"),
        optimizer=recipe.optimizer,
        rate=recipe.rate,
        diverged=diverged,
    )
