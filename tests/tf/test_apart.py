"""Threads that run operations side by side have a core each, where there are as many."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
import numpy as np
import tensorflow as tf
from eightfold.tf.apart import running
from eightfold.tf.prepared import Prepared

with tf.Graph().as_default() as graph:
    tf.identity(tf.compat.v1.placeholder(tf.float32, (2,), "x"), "y")
open("net.pb", "wb").write(graph.as_graph_def().SerializeToString())
intra, inter = map(int, sys.argv[1:])
before = running()
with Prepared("net.pb", intra=intra, inter=inter) as model:
    model(np.ones(2, np.float32))
    names = {one: open(f"/proc/self/task/{one}/comm").read().strip() for one in running() - before}
    pool = [one for one, name in names.items() if name.startswith("tf_Compute")]
    print(sorted(sorted(os.sched_getaffinity(one)) for one in pool))
"""


def places(tmp_path: Path, intra: int, inter: int, *before: str) -> str:
    """Which CPUs each thread of the pool may use."""
    program = [*before, sys.executable, "-c", PROGRAM, str(intra), str(inter)]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_as_many_threads_as_cores_get_one_each(tmp_path: Path) -> None:
    from eightfold.system.topology import topology

    first = sorted(min(core.cpus) for core in topology().cores)
    if len(first) < 2:
        pytest.skip("needs two physical cores")
    assert places(tmp_path, 1, 2) == str([[cpu] for cpu in first[:2]])


def test_others_are_left_alone(tmp_path: Path) -> None:
    every = sorted(os.sched_getaffinity(0))
    assert places(tmp_path, 2, 2) == str([every, every])  # each operation has threads of its own
    cpu = str(every[0])
    assert places(tmp_path, 1, 2, "taskset", "-c", cpu) == str([[every[0]]] * 2)  # there are fewer cores than threads
