from __future__ import annotations

from typing import Any

import pytest
from tuned_models import machine

from eightfold.running.fitting import Here, fitted
from eightfold.running.settings import Runtime
from eightfold.system.topology import Topology


def here(topology: Topology, *allocators: str, bfloat16: bool = True) -> Here:
    return Here("a CPU", topology, frozenset(allocators), bfloat16)


SAME = {"cpu": "a CPU", "cores": 4}


def test_what_fits_is_left_alone() -> None:
    settings = Runtime(instances=2, cores=2, intra=2, inter=1, allocator="jemalloc", precision="bf16")
    fit = fitted(settings, SAME, here(machine(4), "jemalloc"))
    assert fit.settings == settings
    assert fit.notes == ()


@pytest.mark.parametrize(
    ("settings", "there", "expected", "words"),
    [
        ({"instances": 4, "cores": 1, "intra": 1}, machine(2), {"instances": 2}, "2 in place of 4 instances"),
        (
            {"instances": 2, "cores": 4, "intra": 4},
            machine(6),
            {"instances": 1},
            "1 in place of 2 instances of 4 cores",
        ),
        ({"cores": 8}, machine(4), {"cores": 4}, "4 cores in place of 8"),
        ({"intra": 16}, machine(4), {"intra": 4}, "intra 4 in place of 16"),
        ({"instances": 8}, machine(4), {"instances": 4}, "4 in place of 8 instances"),
        ({"cores": 3}, machine(8, quota=2.0), {"cores": 2}, "2 cores in place of 3"),
    ],
)
def test_what_is_too_large_is_scaled_down(
    settings: dict[str, Any], there: Topology, expected: dict[str, Any], words: str
) -> None:
    fit = fitted(Runtime(**settings), {}, here(there))
    assert fit.settings == Runtime(**{**settings, **expected})
    (note,) = fit.notes
    assert words in note


def test_one_reduction_leads_to_the_next() -> None:
    fit = fitted(Runtime(instances=4, cores=4, intra=4), {}, here(machine(2)))
    assert fit.settings == Runtime(instances=1, cores=2, intra=2)
    assert len(fit.notes) == 3


def test_hyperthreads_may_have_threads() -> None:
    settings = Runtime(cores=2, intra=4)
    assert fitted(settings, {}, here(machine(4, threads=2))).settings == settings


def test_what_the_machine_lacks() -> None:
    settings = Runtime(allocator="tcmalloc", precision="bf16")
    fit = fitted(settings, SAME, here(machine(4), "jemalloc", bfloat16=False))
    assert fit.settings == Runtime()
    assert "without tcmalloc: it is not installed here" in fit.notes
    assert fitted(Runtime(layout="NHWC"), SAME, here(machine(4))).settings.layout == "NHWC"
    (note,) = fitted(Runtime(layout="NCHW"), SAME, here(machine(4))).notes
    assert note == "without the layout NCHW: on CPUs TensorFlow brings graphs to NHWC only"
    assert "without bfloat16: this CPU has no instructions for it" in fit.notes


def test_another_machine_is_named() -> None:
    (note,) = fitted(Runtime(), {"cpu": "another", "cores": 64}, here(machine(4))).notes
    assert note.startswith("the settings were found on another with 64 cores, and this is a CPU with 4;")
    assert "eightfold tune" in note
    (note,) = fitted(Runtime(), {"cpu": "a CPU", "cores": 8}, here(machine(4))).notes
    assert "8 cores" in note
