"""Options of `eightfold benchmark` that change nothing here, and why: it is said, not passed over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eightfold.cli.benchmark_lineup import SIGNATURE, Lineup
from eightfold.cli.benchmark_settings import Wanted

__all__ = ["Idle", "idle_options"]

_OPTIONS = {"KMP_BLOCKTIME": "--kmp-blocktime", "KMP_AFFINITY": "--kmp-affinity", "KMP_SETTINGS": "--kmp-settings"}


@dataclass(frozen=True, slots=True)
class Idle:
    """An option without effect, and the reason."""

    option: str
    reason: str

    def __str__(self) -> str:
        return f"{self.option} has no effect: {self.reason}"


def idle_options(lineup: Lineup) -> list[Idle]:
    """What has no effect: on this machine, with this build of TensorFlow, or without another option."""
    wanted = lineup.wanted
    # In training bfloat16 is a precision, which is refused where the CPU has none.
    bfloat16 = () if lineup.training.measured else _bfloat16(wanted)
    return [*_openmp(wanted), *bfloat16, *_layout(wanted), *_alone(lineup)]


def _alone(lineup: Lineup) -> Iterator[Idle]:
    """Options that belong to another one, which was not given."""
    given, against, training = lineup.input, lineup.against, lineup.training
    if against.batch_size is not None and not against.baseline:
        yield Idle("--baseline-batch-size", "no baseline is measured; ask for one with --compare baseline")
    if training.measured and given.signature != SIGNATURE:
        yield Idle("--signature", "training calls the Keras model itself, which has none")
    if not training.measured:
        for option, asked in (("--precision", training.precision), ("--image-size", training.image_size)):
            if asked is not None:
                yield Idle(option, "it is for training; measure that with --train")
    for option, value in (("--samples", given.samples), ("--preprocess", given.preprocess)):
        if value is not None and given.data is None:
            yield Idle(option, "the input is random numbers; give data with --data")


def _openmp(wanted: Wanted) -> Iterator[Idle]:
    """KMP_* are read by Intel's OpenMP, which stock TensorFlow is built without."""
    asked = [name for name in wanted.env if name in _OPTIONS]
    if not asked:
        return
    from eightfold.tf.build import installed_build

    build = installed_build()
    if build is None or (build.onednn is not None and "openmp" in build.onednn.runtime.lower()):
        return
    for name in asked:
        reason = f"TensorFlow {build.version} here computes on threads of its own (Eigen's pool), not on OpenMP's"
        yield Idle(_OPTIONS[name], f"{reason}, which alone reads {name}")


def _layout(wanted: Wanted) -> Iterator[Idle]:
    """NHWC_TO_NCHW is refused by TensorFlow's GenericLayoutOptimizer where there is no GPU; seen with 2.21."""
    if wanted.layout == "NCHW":
        yield Idle("--data-format NCHW", "on CPUs TensorFlow can bring a graph from NCHW to NHWC, and not back")


def _bfloat16(wanted: Wanted) -> Iterator[Idle]:
    from eightfold.system.instructions import has_bfloat16

    if wanted.bfloat16 and not has_bfloat16():
        yield Idle("--bf16", "this CPU has no bfloat16 instructions (AVX512-BF16 or AMX)")
