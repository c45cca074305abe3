"""Garbage collection that does not look at everything for each session that is closed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quick_collection"]


@contextmanager
def quick_collection() -> Iterator[None]:
    """Leaves what exists already out of garbage collections while the block runs.

    A session is collected when it is closed, since it holds the weights. A collection takes as long as there are
    objects, and TensorFlow brings a million: most of the time of a search over a small model.
    """
    if gc.get_freeze_count():  # somebody further out does so
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
