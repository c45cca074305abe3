"""Machines that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_machine import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def two_sockets(tree: Tree) -> Tree:
    """Two sockets of four cores of two threads, a NUMA node each; everything may be used."""
    for socket in (0, 1):
        for core in range(4):
            first = 4 * socket + core
            tree.core((first, first + 8), socket, core)
    return tree.online("0-15").affinity("0-15").node(0, "0-3,8-11").node(1, "4-7,12-15")
