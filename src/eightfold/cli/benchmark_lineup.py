"""Who takes part in `eightfold benchmark`: the models, what they are compared with, and their input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from eightfold.bench import Subject
from eightfold.bench.baseline import default_environment, float_model
from eightfold.bench.named import located, named
from eightfold.bench.training import subject as trained
from eightfold.cli.benchmark_data import feeds, inputs_of
from eightfold.cli.benchmark_settings import Wanted
from eightfold.cli.screen import Tell
from eightfold.errors import RecipeError
from eightfold.running.settings import Mode, Runtime
from eightfold.system.topology import topology

if TYPE_CHECKING:
    from eightfold.data import InputSpec
    from eightfold.graph.ir import Array

__all__ = ["SIGNATURE", "Against", "Input", "Lineup"]

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
        model: which; None for the first that is not in 8 bits.
        batch_size: of it; None for that of the first model.
        peers: other runtimes, as `eightfold.bench.peers.parse` reads them.
    """

    baseline: bool = False
    model: str | None = None
    batch_size: int | None = None
    peers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lineup:
    """All that is measured in one run.

    Attributes:
        models: paths, or names of networks.
        wanted: how they are run.
        input: what they are given.
        against: what they are compared with.
        training: whether steps of training are measured.
    """

    models: Sequence[str]
    wanted: Wanted
    input: Input = Input()
    against: Against = Against()
    training: bool = False

    @cached_property
    def mode(self) -> Mode:
        """What counts.

        Raises:
            ModelError: tuned settings decide, and the first model has none.
        """
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
        if self.training and self.against.peers:
            raise RecipeError("--peers and --train do not go together: the other runtimes do not train")
        tell("locate", 0, None)
        own = [self._subject(model, self.wanted.runtime(model, self.mode)) for model in self.models]
        given = self._feeds(own)
        first = [self._baseline(own)] if self.against.baseline else []
        return [*first, *own, *self._peers([*first, *own], given, tell)], given

    def _subject(self, model: str, runtime: Runtime) -> Subject:
        if self.training:
            return trained(model, runtime)
        return Subject(model, located(model), runtime=runtime)

    def _baseline(self, own: Sequence[Subject]) -> Subject:
        size = self.against.batch_size or own[0].runtime.batch_size
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
        found = feeds(self.input.data, self._inputs(own[0]), *limits, labels=self.training)
        if self.training and len(found) == 2:  # what training calls the input, whatever its name
            return {"y" if name == "y" else "x": array for name, array in found.items()}
        return found

    def _inputs(self, subject: Subject) -> Mapping[str, InputSpec]:
        from eightfold.data import InputSpec

        network = named(str(subject.model)) if self.training and not Path(subject.model).exists() else None
        if network is None:
            return inputs_of(subject.model, self.input.signature)
        return {"x": InputSpec("x", "float32", (None, network.side, network.side, 3))}
