"""What every test may rely on: a quiet TensorFlow, fixed seeds, and no int8 test where int8 cannot run."""

from __future__ import annotations

import gc
import os
import random
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read once, when TensorFlow is imported

import numpy as np
import pytest
from hypothesis import settings

SEED = 20240229
INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8")

# The first call of a TensorFlow op takes long, later ones do not: a deadline would fail at random.
settings.register_profile("eightfold", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("eightfold")


def why_no_int8() -> str | None:
    """Why the 8-bit kernels cannot run here, or None when they can."""
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return "oneDNN is switched off: TF_ENABLE_ONEDNN_OPTS=0"
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return "CPU flags unknown: no /proc/cpuinfo"
    flags = next((line.split() for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), [])
    if not set(INT8_FLAGS) & set(flags):
        return f"the CPU has none of {', '.join(INT8_FLAGS)}"
    return None


def pytest_collection_finish() -> None:
    """Leaves what is imported by now out of garbage collections: each session that is closed causes one."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_no_int8()
    if reason is None:
        return
    for item in items:
        if item.get_closest_marker("int8"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """The same random numbers in every run, in whatever order the tests run."""
    random.seed(SEED)
    np.random.seed(SEED)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        tensorflow.random.set_seed(SEED)
