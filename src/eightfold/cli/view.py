"""A graph in Netron."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eightfold.errors import MissingExtraError, ModelError

__all__ = ["require_netron", "view_graph"]


def require_netron() -> Any:
    """The Netron package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import netron
    except ModuleNotFoundError as error:
        raise MissingExtraError("netron", "view", "showing the graph") from error
    return netron


def view_graph(model: str) -> None:
    """Opens a model's graph in the browser and serves it until Ctrl-C.

    Raises:
        MissingExtraError: Netron is not installed.
        ModelError: there is no file that Netron could open.
    """
    netron = require_netron()
    path = Path(model)
    file = path / "saved_model.pb" if path.is_dir() else path
    if not file.is_file():
        raise ModelError(f"there is nothing to show at {model}; expected a SavedModel folder or a model file")
    netron.start(str(file))
    netron.wait()
