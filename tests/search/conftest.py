"""The planted nets on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from planted import plain, planted


@pytest.fixture(scope="session", autouse=True)
def quick() -> Iterator[None]:
    """Small nets: closing their sessions would take most of the time."""
    import tensorflow  # noqa: F401

    from eightfold.tf.garbage import quick_collection

    with quick_collection():
        yield


@pytest.fixture(scope="session")
def planted_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from eightfold.tf.savedmodel import write_saved_model

    folder = tmp_path_factory.mktemp("planted") / "net"
    write_saved_model(planted(), folder)
    return folder


@pytest.fixture(scope="session")
def plain_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from eightfold.tf.savedmodel import write_saved_model

    folder = tmp_path_factory.mktemp("plain") / "net"
    write_saved_model(plain(), folder)
    return folder
