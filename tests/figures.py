"""Measurements that nobody took, for tests of what is made of them."""

from __future__ import annotations

from eightfold.bench import Measurement, Ratio, Runtime, Timing, Turn

TURN = Turn(((0.08, 0.08),), 32, 0.16)


def measurement(name: str, ratio: float = 1.0, turns: tuple[Turn, ...] = (TURN,) * 5, **runtime: int) -> Measurement:
    took = Timing(100 / ratio, 110 / ratio, 125 / ratio, 99 / ratio, 0.05, 15, 5)
    bounds = Ratio(ratio, ratio - 0.1, ratio + 0.1)
    how = Runtime(**{"batch_size": 32, "intra": 2, **runtime})  # type: ignore[arg-type]
    return Measurement(name, name, how, 25.6, 800.4, took, 320 * ratio, 1.9, bounds, {"tensorflow": "2.21.0"}, turns)
