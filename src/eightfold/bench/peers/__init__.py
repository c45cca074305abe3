"""The same model on other runtimes, each in an environment of its own: OpenVINO, ONNX Runtime, LiteRT.

    subjects = peers(["openvino", "onnxruntime:fp32"], Path("resnet50/"), {"image": images})
    comparison = compare([Subject("TF fp32", Path("resnet50/")), *subjects])

Each peer gets the float SavedModel and quantizes it with its own tool and that tool's settings for speed. Here its
environment and its model are made and kept (`environment`, `conversion`); `NAME_convert` and `NAME_worker` run inside
the environments and are the only modules that know the peers' libraries.
"""

from __future__ import annotations

from eightfold.bench.peers.candidates import best, usual
from eightfold.bench.peers.peer import PEERS, Entry, Peer, parse
from eightfold.bench.peers.subjects import float_model, peers

__all__ = ["PEERS", "Entry", "Peer", "best", "float_model", "parse", "peers", "usual"]
