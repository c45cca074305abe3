"""What every test may rely on: a quiet TensorFlow, fixed seeds, and no int8 test where int8 cannot run."""

from __future__ import annotations

import gc
import os
import platform
import random
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read once, when TensorFlow is imported

import numpy as np
import pytest
from hypothesis import settings

from eightfold.system.instructions import instruction_set
from eightfold.system.onednn import SWITCH, X86, onednn_off, switch_on

switch_on()  # read then, too

SEED = 20240229

# The first call of a TensorFlow op takes long, later ones do not: a deadline would fail at random.
settings.register_profile("eightfold", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("eightfold")


def why_no_int8() -> str | None:
    """Why the 8-bit kernels cannot run here, or None when they can."""
    if platform.machine() not in X86:
        return f"there are no 8-bit kernels for {platform.machine()}"
    if onednn_off(os.environ):
        return f"oneDNN is switched off: {SWITCH}={os.environ[SWITCH]}"
    return None


def why_not_exact() -> str | None:
    """Why 8-bit sums may saturate here, or None when they cannot."""
    best = instruction_set()
    return None if best.exact else f"the CPU's best is {best.name}, whose 8-bit sums saturate at 16 bits"


def pytest_collection_finish() -> None:
    """Leaves what is imported by now out of garbage collections: each session that is closed causes one."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_int8 = why_no_int8()
    reasons = {"int8": no_int8, "vnni": no_int8 or why_not_exact()}
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """The same random numbers in every run, in whatever order the tests run."""
    random.seed(SEED)
    np.random.seed(SEED)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        tensorflow.random.set_seed(SEED)
