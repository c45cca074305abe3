"""Runs a module of eightfold in an environment that has no eightfold: python -I isolated.py MODULE ARGUMENT ...

The folder that holds eightfold may be the site-packages of another environment, of which nothing else must be found
here: it is no part of `sys.path`. Packages are opened without their `__init__`, so a module brings along only what it
imports itself. This file is run by the Python of the other environment; standard library only.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

__all__ = ["Eightfold", "main"]

HOME = Path(__file__).resolve().parents[3]


class Eightfold:
    """Finds eightfold, and nothing else, in its own folder."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Packages as bare folders; modules as they are found anywhere."""
        if name.partition(".")[0] != "eightfold":
            return None
        folder = HOME.joinpath(*name.split("."))
        if not folder.is_dir():
            return PathFinder.find_spec(name, [str(folder.parent)], target)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec


def main() -> None:
    """Becomes the module that the first argument names."""
    del sys.argv[0]
    sys.meta_path.insert(0, Eightfold)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
