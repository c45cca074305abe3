"""The machines of a Ray cluster: what they are like, and whether they can compute a job."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from eightfold import __version__
from eightfold.errors import PlatformError
from eightfold.prediction.job import Job
from eightfold.running.settings import Runtime
from eightfold.system.instructions import cpu_flags, extensions
from eightfold.system.packages import tensorflow_version
from eightfold.system.topology import topology

__all__ = ["Node", "check", "claim", "look", "notes", "room", "versions"]


@dataclass(frozen=True, slots=True)
class Node:
    """A node as Ray and as a process on it see it.

    Attributes:
        name: its address.
        id: Ray's own.
        cpus: as many as Ray may give out.
        cores: physical cores that compute at a time.
        instructions: those of the CPU that decide how numbers are multiplied and summed.
        versions: of what computes the answers.
        lacking: the paths of the job that are not there, or not the same.
    """

    name: str
    id: str
    cpus: float
    cores: int
    instructions: tuple[str, ...]
    versions: Mapping[str, str]
    lacking: tuple[str, ...]


def look(job: str, content: str) -> dict[str, Any]:
    """Looks around on the node that this runs on.

    Args:
        job: the file of the job.
        content: what it must hold if the node sees the same files.
    """
    return {
        "cores": topology().usable,
        "instructions": extensions(cpu_flags()),
        "versions": versions(),
        "lacking": tuple(_lacking(Path(job), content)),
    }


def _lacking(job: Path, content: str) -> Iterable[str]:
    if not job.is_file() or job.read_text(encoding="utf-8") != content:
        yield str(job.parent)
    model = Job.from_json(content).call.model
    if not Path(model).exists():
        yield model


def versions() -> dict[str, str]:
    """Of what computes the answers, without loading it."""
    try:
        tensorflow = tensorflow_version()
    except metadata.PackageNotFoundError:
        tensorflow = "none"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"Python": python, "eightfold": __version__, "tensorflow": tensorflow, "numpy": metadata.version("numpy")}


def check(nodes: Sequence[Node], here: Mapping[str, str]) -> None:
    """Checks that all nodes can compute the job, and would compute the same.

    Args:
        nodes: of the cluster.
        here: the versions that the job was planned with.

    Raises:
        PlatformError: a node lacks files or has other versions; the message names the node.
    """
    for node in nodes:
        if node.lacking:
            raise PlatformError(
                f"the node {node.name} does not see {node.lacking[0]} as this machine does; model, data and output "
                "must be on a file system that all machines of the cluster share, under the same path"
            )
        for name, version in here.items():
            if node.versions[name] != version:
                raise PlatformError(
                    f"the node {node.name} has {name} {node.versions[name]} and this machine has {version}; expected "
                    "the same, since the answers would depend on who computes them"
                )


def notes(nodes: Sequence[Node]) -> tuple[str, ...]:
    """What the user should know of a cluster that passes the checks."""
    kinds = {node.instructions: node.name for node in nodes}
    if len(kinds) < 2:
        return ()
    said = "; ".join(f"{name} has {', '.join(kind) or 'none of them'}" for kind, name in kinds.items())
    return (
        f"the nodes have different CPUs ({said}): the last digits of an answer may depend on which of them computed it",
    )


def claim(nodes: Collection[Node], runtime: Runtime) -> int:
    """How many of Ray's CPUs an instance takes. Ray may count logical CPUs; an instance needs physical cores."""
    threads = min((node.cpus / node.cores for node in nodes), default=1)
    return (runtime.cores or runtime.intra or 1) * max(1, int(threads))


def room(nodes: Collection[Node], runtime: Runtime) -> int:
    """How many instances the nodes have room for.

    Raises:
        PlatformError: for none.
    """
    each = claim(nodes, runtime)
    count = sum(int(node.cpus // each) for node in nodes)
    if not count:
        said = ", ".join(f"{node.name} has {node.cpus:g}" for node in nodes) or "it has none"
        raise PlatformError(
            f"no node of the cluster has the {each} CPUs that an instance needs ({said}); start nodes with more "
            "(ray start --num-cpus), or use settings with fewer cores"
        )
    return count
