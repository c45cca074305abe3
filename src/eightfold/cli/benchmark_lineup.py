"""Who takes part in `eightfold benchmark`: the models, what they are compared with, and their input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eightfold.bench import Subject
from eightfold.bench.baseline import NAME as DEFAULT
from eightfold.bench.baseline import default_environment, float_model
from eightfold.bench.named import located, side_of
from eightfold.cli.benchmark_data import feeds, inputs_of
from eightfold.cli.benchmark_settings import Wanted
from eightfold.cli.screen import Tell
from eightfold.errors import RecipeError
from eightfold.running.settings import Mode, Runtime
from eightfold.system.topology import topology
from eightfold.training import speed

if TYPE_CHECKING:
    from eightfold.data import InputSpec
    from eightfold.graph.ir import Array

__all__ = ["SIGNATURE", "Against", "Input", "Lineup", "Training"]

SIGNATURE = "serving_default"
"""The one that is called where none is named."""


@dataclass(frozen=True, slots=True)
class Input:
    """Where the input comes from.

    Attributes:
        data: the user's; None for random numbers.
        samples: how many examples of it at most.
        preprocess: what is done to its pixels.
        signature: which one is called.
    """

    data: str | None = None
    samples: int | None = None
    preprocess: str | None = None
    signature: str = SIGNATURE


@dataclass(frozen=True, slots=True)
class Against:
    """What else is measured.

    Attributes:
        baseline: whether a float model in a default environment is.
        stock: whether steps of training are that Keras makes by itself, with oneDNN and the same settings.
        model: which one is in the default environment; None for the first that is not in 8 bits.
        batch_size: of it; None for that of the first model.
        peers: other runtimes, as `eightfold.bench.peers.parse` reads them.
    """

    baseline: bool = False
    stock: bool = False
    model: str | None = None
    batch_size: int | None = None
    peers: tuple[str, ...] = ()

    @property
    def references(self) -> list[str]:
        """What the first models of a comparison are, in words; all that come after them are compared with them."""
        default, stock = f"the {DEFAULT}", speed.STOCK
        return [name for name, asked in ((default, self.baseline), (stock, self.stock)) if asked]


@dataclass(frozen=True, slots=True)
class Training:
    """How steps of training are made.

    Attributes:
        measured: whether they are what is measured, and not inference.
        precision: as `eightfold train --precision` has it; None for auto.
        image_size: height and width of the pictures of networks by name or function; None for their own.
    """

    measured: bool = False
    precision: Literal["auto", "fp32", "bf16"] | None = None
    image_size: int | None = None


@dataclass(frozen=True)
class Lineup:
    """All that is measured in one run.

    Attributes:
        models: paths, or names of networks.
        wanted: how they are run.
        input: what they are given.
        against: what they are compared with.
        training: whether steps of training are measured, and how they are made.
    """

    models: Sequence[str]
    wanted: Wanted
    input: Input = Input()
    against: Against = Against()
    training: Training = Training()

    @cached_property
    def mode(self) -> Mode:
        """What counts; in training images per second, if nothing else is said.

        Raises:
            ModelError: tuned settings decide, and the first model has none.
        """
        if self.training.measured and self.wanted.named_mode is None and self.wanted.tuned is None:
            return "throughput"
        return self.wanted.mode(self.models[0])

    def subjects(self, tell: Tell) -> tuple[list[Subject], Mapping[str, Array] | None]:
        """All that is measured, the baseline first, and the input that they are given, if not random numbers.

        Args:
            tell: told what takes a while.

        Raises:
            RecipeError: options that do not go together.
            ModelError: a model is not there or cannot be measured so.
            DataError: the data cannot be read, or does not fit the first model.
            PlatformError: what a peer needs cannot be installed.
        """
        self._check()
        tell("locate", 0, None)
        own = [self._subject(model, self.wanted.runtime(model, self.mode)) for model in self.models]
        given = self._feeds(own)
        first = [self._baseline(own)] if self.against.baseline else []
        if self.against.stock:
            first.append(self._stock(self.models[0], own[0].runtime))
        return [*first, *own, *self._peers([*first, *own], given, tell)], given

    def _check(self) -> None:
        """Raises `RecipeError` for options that do not go together."""
        if not self.training.measured:
            if self.against.stock:
                raise RecipeError(
                    "--compare stock is for --train: without it the models are run by plain TensorFlow anyway"
                )
            return
        if self.against.peers:
            raise RecipeError("--peers and --train do not go together: the other runtimes do not train")
        if self.wanted.bfloat16 and self.training.precision not in (None, "bf16"):
            raise RecipeError(f"--bf16 and --precision {self.training.precision} contradict each other; give one")

    def _subject(self, model: str, runtime: Runtime) -> Subject:
        if not self.training.measured:
            return Subject(model, located(model), runtime=runtime)
        precision = "bf16" if self.wanted.bfloat16 else self.training.precision or "auto"
        # The network is accelerated in that precision; TensorFlow's rewriter of graphs is left out of it.
        plain = replace(runtime, precision="as is")
        return speed.accelerated(model, plain, precision=precision, side=self.training.image_size)

    def _stock(self, model: str, runtime: Runtime) -> Subject:
        return speed.stock(model, runtime, side=self.training.image_size)

    def _baseline(self, own: Sequence[Subject]) -> Subject:
        size = self.against.batch_size or own[0].runtime.batch_size
        if self.training.measured:
            model = self.against.model or self.models[0]
            return default_environment(self._stock(model, Runtime(batch_size=size)), size)
        if self.against.model is not None:
            return default_environment(self._subject(self.against.model, Runtime(batch_size=size)), size)
        return default_environment(float_model(own), size)

    def _peers(self, others: Sequence[Subject], given: Mapping[str, Array] | None, tell: Tell) -> list[Subject]:
        """They begin with the first float model. They run as the last of the others, but for what TensorFlow alone
        knows; where that was tuned for TensorFlow, with what suits most models."""
        if not self.against.peers:
            return []
        from eightfold.bench import peers

        runtime = replace(others[-1].runtime, env={}, layout=None)
        source = peers.float_model([one.model for one in others])
        found = peers.peers(
            self.against.peers, source, given, signature=self.input.signature, runtime=runtime, tell=tell
        )
        if self.wanted.tuned is None:
            return found
        # What was found to be best for TensorFlow would hold the others back.
        cores, size = topology().usable, runtime.batch_size
        named_peers = [peers.parse(name).peer for name in self.against.peers]
        return [
            replace(one, runtime=peers.usual(peer, self.mode, cores, size))
            for one, peer in zip(found, named_peers, strict=True)
        ]

    def _feeds(self, own: Sequence[Subject]) -> dict[str, Array] | None:
        if self.input.data is None:
            return None
        largest = max(one.runtime.batch_size for one in own)
        limits = (largest, self.input.samples, self.input.preprocess)
        found = feeds(self.input.data, self._inputs(own[0]), *limits, labels=self.training.measured)
        if self.training.measured and len(found) == 2:  # what training calls the input, whatever its name
            return {"y" if name == "y" else "x": array for name, array in found.items()}
        return found

    def _inputs(self, subject: Subject) -> Mapping[str, InputSpec]:
        from eightfold.data import InputSpec

        if not self.training.measured or Path(subject.model).exists():
            return inputs_of(subject.model, self.input.signature)
        side = self.training.image_size or side_of(str(subject.model))
        return {"x": InputSpec("x", "float32", (None, side, side, 3))}
