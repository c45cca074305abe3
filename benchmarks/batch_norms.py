"""Times Keras's batch normalization against the fused one: python benchmarks/batch_norms.py [NETWORK ...]

Without arguments single layers: forward and backward in training, and forward alone in inference, on random input.
With names of networks of keras.applications (resnet50, mobilenetv2 ...) steps of training: as Keras makes them, with
fused batch norms, and with these in bfloat16. All run in turns in one process; the ratio is formed in each round, and
the median of the rounds is shown, with the lowest and the highest.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from eightfold.bench import this_machine
from eightfold.bench.named import build, named
from eightfold.bench.timer import Ratio, speedup
from eightfold.training import batch_norm
from eightfold.training.accelerate import accelerate
from eightfold.training.speed_worker import train_step

LAYERS = [
    ((32, 28, 28, 64), -1),
    ((32, 7, 7, 512), -1),
    ((32, 14, 14, 144), -1),
    ((32, 28, 28, 24), -1),
    ((32, 14, 14, 40), -1),
    ((32, 64, 28, 28), 1),
    ((32, 128, 64), -1),
    ((8, 8, 14, 14, 32), -1),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    print(this_machine(), f"keras {keras.__version__}", end="\n\n")
    if asked.networks:
        print("| network | fused | fused, bf16 |\n| --- | --- | --- |")
    else:
        print("| layer | precision | training | inference |\n| --- | --- | --- | --- |")
    for name in asked.networks:
        _, *faster = network(name, asked.batch_size, asked.image_size, asked.rounds)
        print(f"| {name} | {' | '.join(map(shown, faster))} |", flush=True)
    for shape, axis in [] if asked.networks else LAYERS:
        for policy in ("float32", "mixed_bfloat16"):
            faster = [layer(shape, axis, policy, training, asked.rounds) for training in (True, False)]
            print(f"| {shape}, axis {axis} | {policy} | {' | '.join(map(shown, faster))} |", flush=True)


def shown(ratio: Ratio) -> str:
    return f"{ratio.median:.2f}x ({ratio.low:.2f} to {ratio.high:.2f})"


def layer(shape: tuple[int, ...], axis: int, policy: str, training: bool, rounds: int) -> Ratio:
    """How many times faster a fused layer is than Keras's; 1 where the kernel would lose and is not used."""
    inputs = tf.random.normal(shape, dtype="bfloat16" if policy == "mixed_bfloat16" else "float32")
    runs = []
    for fused in (False, True):
        made = keras.layers.BatchNormalization(axis=axis, dtype=policy)
        made.build(shape)
        if fused:
            batch_norm.fuse(made)
        runs.append(_layer_run(made, inputs, training))
    return ratios(runs, rounds)[1]


def _layer_run(made: Any, inputs: Any, training: bool) -> Callable[[], Any]:
    @tf.function
    def run() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = made(inputs + 0, training=training)
            loss = tf.reduce_sum(tf.square(outputs))
        return tape.gradient(loss, [inputs, made.gamma.value]) if training else loss

    return run


def network(name: str, batch_size: int, side: int, rounds: int) -> list[Ratio]:
    """The speed of steps of training relative to Keras's own: 1, fused, fused in bfloat16."""
    architecture = named(name)
    if architecture is None:
        raise SystemExit(f"there is no network {name!r} in keras.applications")
    made_up = np.random.default_rng(0)
    pictures = tf.constant(made_up.random((batch_size, side, side, 3)), tf.float32)
    labels = tf.constant(made_up.integers(0, 10, batch_size), tf.int32)
    runs = []
    for precision in (None, "fp32", "bf16"):
        model = build(architecture, classes=10, input_shape=(side, side, 3))
        if precision:
            accelerate(model, precision)
        step = train_step(model)
        runs.append(partial(step, [pictures], labels))
    return ratios(runs, rounds)


def ratios(runs: list[Callable[[], Any]], rounds: int) -> list[Ratio]:
    """The speed of each relative to the first, measured in turns after two runs to warm up."""
    for run in runs * 2:
        run()
    speeds: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for own, run in zip(speeds, runs, strict=True):
            began = time.perf_counter()
            tf.nest.map_structure(lambda tensor: tensor.numpy(), run())
            own.append(1 / (time.perf_counter() - began))
    return [speedup(speeds[0], own) for own in speeds]


if __name__ == "__main__":
    main()
