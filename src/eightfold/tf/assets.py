"""The files that a SavedModel brings along: vocabularies, mostly.

A constant of the graph holds the path of each. While this process lives, that is a copy in a folder of its own: the
original may be a temporary folder, or gone when the 8-bit model is written.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from eightfold.errors import ModelError
from eightfold.graph.ir import Node
from eightfold.graph.model import Model

__all__ = ["asset_paths", "with_assets"]


def with_assets(model: Model, folder: Path, assets: Iterable[meta_graph_pb2.AssetFileDef]) -> Model:
    """The model with its assets read from a SavedModel folder, and their constants holding the copies' paths.

    Raises:
        ModelError: a file is missing.
    """
    by_name, by_path = {}, {}
    for asset in assets:
        by_name[asset.tensor_info.name.partition(":")[0]] = asset.filename
        by_path[str(folder / "assets" / asset.filename).encode()] = asset.filename
    contents: dict[str, tuple[str, bytes]] = {}
    nodes = []
    for node in model.graph:
        name = by_name.get(node.name) or by_path.get(_text(node)) if _is_text(node) else None
        if name is not None:
            contents[node.name] = (name, _content(folder / "assets" / name))
            nodes.append(node.with_attrs(value=np.array(str(_copy(*contents[node.name])).encode(), object)))
        else:
            nodes.append(node)
    return model.but(graph=model.graph.with_nodes(nodes), assets=contents) if contents else model


def asset_paths(model: Model) -> list[str]:
    """The constants that hold the paths of the assets the model still needs."""
    return [name for name in model.assets if name in model.graph]


def _is_text(node: Node) -> bool:
    return node.op == "Const" and node.value.dtype == object and node.value.size == 1


def _text(node: Node) -> bytes:
    return bytes(node.value.item())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"the asset {path} cannot be read: {error.strerror}") from error


def _copy(name: str, content: bytes) -> Path:
    place = _room() / hashlib.sha256(content).hexdigest() / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


@lru_cache(maxsize=1)
def _room() -> Path:
    folder = tempfile.mkdtemp(prefix="eightfold-assets-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
