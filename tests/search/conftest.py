"""The planted nets on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted import plain, planted


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
