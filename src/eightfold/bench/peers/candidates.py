"""The few settings among which a peer's best is found.

What `Runtime` means to a peer:

| setting | OpenVINO | ONNX Runtime | LiteRT |
| --- | --- | --- | --- |
| `batch_size` | static batch | batch | static batch |
| `intra` | threads of a stream | threads inside an operation | threads of an interpreter |
| `inter` | nothing | operations at a time | nothing |
| `env[IN_FLIGHT]` | streams | callers of one session | interpreters in one process |
| `instances`, `cores` | processes and the cores each is pinned to | the same | the same |
| `precision` | bfloat16 for what is float | nothing | nothing |

`layout` and TensorFlow's environment variables mean nothing to them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eightfold.bench.peers.flight import IN_FLIGHT
from eightfold.bench.peers.peer import ONNXRUNTIME, OPENVINO, Peer
from eightfold.running.settings import Mode, Runtime

__all__ = ["BATCH_SIZES", "best", "usual"]

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


def best(peer: Peer, mode: Mode, cores: int) -> list[Runtime]:
    """The settings to try, in the order in which they are likely to be good.

    Args:
        peer: whose.
        mode: for latency one batch of one; for throughput all cores at all batch sizes.
        cores: physical cores to use.
    """
    return _latency(peer, cores) if mode == "latency" else _throughput(peer, cores)


def usual(peer: Peer, mode: Mode, cores: int, batch_size: int) -> Runtime:
    """What suits most models, where nobody has looked for the best."""
    return replace(best(peer, mode, cores)[0], batch_size=batch_size)


def _latency(peer: Peer, cores: int) -> list[Runtime]:
    """All cores on one image, or fewer: threads of small models wait for each other. Pinned, or as the system likes."""
    found = [Runtime(intra=threads, cores=place) for threads in _halves(cores) for place in (None, threads)]
    if peer is ONNXRUNTIME and cores > 1:
        found.append(Runtime(intra=cores, inter=2))
    return found


def _throughput(peer: Peer, cores: int) -> list[Runtime]:
    """One batch on all cores, or several at the same time on a share each: inside a process or in several.

    OpenVINO's streams are pinned as processes would be, so they stand for these.
    """
    ways: list[dict[str, Any]] = [{"intra": cores}]
    for threads in _halves(cores)[1:]:
        width = cores // threads
        ways.append({"intra": threads, "env": {IN_FLIGHT: str(width)}})
        if peer is not OPENVINO:
            ways.append({"intra": threads, "instances": width, "cores": threads})
    return [Runtime(batch_size=size, **way) for way in reversed(ways) for size in BATCH_SIZES]


def _halves(cores: int) -> list[int]:
    """All cores, a half of them, a quarter, down to one."""
    found = [cores]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return found
