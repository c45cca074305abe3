"""Which settings TensorFlow really follows, asked in processes of their own: it reads each once in its life."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

COUNT = """
import collections, json, os, pathlib, sys
def threads():
    names = collections.Counter()
    for file in pathlib.Path("/proc/self/task").glob("*/comm"):
        names[file.read_text().strip()] += 1
    own = names.pop(pathlib.Path("/proc/self/comm").read_text().strip())
    return {"intra": own, "inter": names["tf_Compute"]}
import tensorflow as tf
before = threads()
def made():
    now = threads()
    return {name: now[name] - before[name] for name in now}
def in_session(**config):
    with tf.Graph().as_default():
        x = tf.ones((64, 64))
        session = tf.compat.v1.Session(config=tf.compat.v1.ConfigProto(**config))
        session.run(x @ x)
    return session
"""

SESSION = "kept = in_session(); print(json.dumps(made()))"
CONFIGURED = (
    "kept = in_session(intra_op_parallelism_threads=3, inter_op_parallelism_threads=2); print(json.dumps(made()))"
)
EAGER = """
(tf.ones((64, 64)) @ tf.ones((64, 64))).numpy()
tf.function(lambda x: x @ x + 1)(tf.ones((64, 64))).numpy()
print(json.dumps(made()))
"""
TWO_SESSIONS = """
first = in_session(intra_op_parallelism_threads=3, inter_op_parallelism_threads=2, use_per_session_threads=True)
second = in_session(intra_op_parallelism_threads=5, inter_op_parallelism_threads=4, use_per_session_threads=True)
print(json.dumps(made()))
"""


def asked(script: str, **env: str) -> Any:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TF_NUM", "TF_ONEDNN"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COUNT + script],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, **env},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("script", [SESSION, EAGER])
def test_the_variables_act_for_sessions_eager_operations_and_functions(script: str) -> None:
    assert asked(script, TF_NUM_INTRAOP_THREADS="7", TF_NUM_INTEROP_THREADS="5") == {"intra": 7, "inter": 5}


def test_a_configuration_wins_over_the_variables() -> None:
    said = asked(CONFIGURED, TF_NUM_INTRAOP_THREADS="7", TF_NUM_INTEROP_THREADS="5")
    assert said == {"intra": 3, "inter": 2}


def test_the_first_session_makes_the_threads_inside_operations_for_all() -> None:
    """Of the second session only the pool for operations is its own; `TF_OVERRIDE_GLOBAL_THREADPOOL` changes that."""
    shared = asked(TWO_SESSIONS)
    own = asked(TWO_SESSIONS, TF_OVERRIDE_GLOBAL_THREADPOOL="1")
    assert shared["intra"] == 3
    assert own["intra"] == 3 + 5
    assert shared["inter"] == own["inter"] >= 2 + 4
