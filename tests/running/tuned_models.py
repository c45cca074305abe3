"""Settings and models for the tests of what runs them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eightfold.running.file import Measured, Tuned, write
from eightfold.running.settings import Mode, Runtime
from eightfold.system.cpu_info import cpu_name
from eightfold.system.onednn import asked_for
from eightfold.system.topology import Core, Topology, topology


def here() -> dict[str, Any]:
    """This machine, as far as settings are compared with it."""
    return {"cpu": cpu_name(), "cores": len(topology().cores)}


def tuned(settings: Runtime, machine: Mapping[str, Any] | None = None, model: str | None = None) -> Tuned:
    return Tuned(
        settings=settings,
        measured=Measured(95.5, 10.5, 11.0, 12.5),
        machine=here() if machine is None else machine,
        versions={"tensorflow": "2.21.0"},
        when="2024-02-29T12:00:00",
        command="eightfold tune net",
        model=model,
        trials=({"settings": {}, "images_per_second": 50.0},),
    )


def tuned_here(settings: Runtime, machine: Mapping[str, Any] | None = None, model: str | None = None) -> Tuned:
    """As `eightfold tune` finds it on this machine: with what switches oneDNN on."""
    return tuned(replace(settings, env={**asked_for(), **settings.env}), machine, model)


def folder(path: Path, **modes: Runtime) -> Path:
    """A folder with settings and no graph: enough for what only starts programs."""
    path.mkdir(exist_ok=True)
    for mode, settings in modes.items():
        write(path, _mode(mode), tuned(settings))
    return path


def _mode(name: str) -> Mode:
    return "latency" if name == "latency" else "throughput"


def saved_model(path: Path, features: int = 4) -> Path:
    """A SavedModel: scores = x @ ones(features, 3) + 1, and twice = 2 x."""
    import tensorflow as tf

    class Net(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, features), tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"scores": tf.nn.relu(x @ tf.ones((features, 3)) + 1.0), "twice": 2 * x}

    net = Net()
    tf.saved_model.save(net, os.fspath(path), signatures={"serving_default": net.__call__, "other": net.__call__})
    return path


def machine(*sizes: int, threads: int = 1, sockets: int = 1, quota: float | None = None) -> Topology:
    """A machine with so many cores on each NUMA node; the second CPUs of all cores come behind the first."""
    count = sum(sizes)
    nodes = [node for node, size in enumerate(sizes) for _ in range(size)]
    cores = tuple(
        Core(tuple(core + count * thread for thread in range(threads)), node * sockets // len(sizes), node)
        for core, node in enumerate(nodes)
    )
    return Topology(cores, quota)
