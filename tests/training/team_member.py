"""One worker that trains a small net: `team_member.py FOLDER NET EXAMPLES SHARES STEPS [FATE]`.

The global batch of EXAMPLES is computed in SHARES, which the workers have between them. What came out is written to
FOLDER/RANK.json. FATE is what befalls worker 1 at the third step.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from nets import CLASSES, SHAPE, data, made

from eightfold.training import pace
from eightfold.training.collective import EXIT_LOST, Alone, WorkerLostError, synchronized
from eightfold.training.connected import connected
from eightfold.training.seat import given


def plain() -> Any:
    """Without batch norms."""
    keras.utils.set_random_seed(1)
    convolution = keras.layers.Conv2D(16, 3, activation="relu")
    layers = [keras.Input(SHAPE), convolution, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(CLASSES)]
    return keras.Sequential([*layers, keras.layers.Softmax()])


def main() -> None:
    folder, kind, (examples, shares, steps) = Path(sys.argv[1]), sys.argv[2], map(int, sys.argv[3:6])
    fate = sys.argv[6] if len(sys.argv) > 6 else "none"
    seat = given(os.environ)
    quick = {"silence": 2.0, "least": 2.0} if fate in ("stopped", "hanging") else {}
    pace.TIMES = 1  # as if compiling were no slower than a step
    workers = Alone() if seat is None else connected(seat, {"net": kind}, **quick)
    model = plain() if kind == "plain" else made(kind)
    if workers.rank:
        for variable in model.trainable_variables:  # they take those of worker 0
            variable.assign(variable + 1)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    synchronized(workers, [*model.variables, *optimizer.variables])

    @tf.function(autograph=False)
    def step(batches: Any) -> Any:
        parts = []
        for inputs, labels in batches:
            with tf.GradientTape() as tape:
                losses = keras.losses.sparse_categorical_crossentropy(labels, model(inputs, training=True))
                loss = tf.reduce_sum(losses) / examples
            parts.append([loss, *tape.gradient(loss, model.trainable_variables)])
        loss, *gradients = workers.sums([tf.add_n(ones) for ones in zip(*parts, strict=True)])
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    own, each = (
        range(workers.rank * shares // workers.count, (workers.rank + 1) * shares // workers.count),
        examples // shares,
    )
    losses = []
    print(f"worker {workers.rank} on {sorted(os.sched_getaffinity(0))}", flush=True)
    try:
        for number in range(steps):
            pictures, labels = data(examples, seed=number)
            if number == 3 and workers.rank == 1:
                suffer(fate)
            with workers.guarded():
                losses.append(float(step([(pictures[at * each :][:each], labels[at * each :][:each]) for at in own])))
            time.sleep(0.01 if fate == "none" else 0.05)
    except WorkerLostError as error:
        print(f"error: {error}", file=sys.stderr)
        if workers.rank == error.heir:
            model.save(folder / "checkpoint.keras")
        sys.exit(EXIT_LOST)
    digest = hashlib.sha256(b"".join(np.asarray(one).tobytes() for one in model.get_weights()[:2]))
    done = {"losses": losses, "digest": digest.hexdigest(), "cpus": sorted(os.sched_getaffinity(0)), "step": number}
    (folder / f"{workers.rank}.json").write_text(json.dumps(done))
    workers.close()


def suffer(fate: str) -> None:
    if fate == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fate == "failing":
        raise ValueError("row 17 cannot be read")
    elif fate == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fate == "hanging":
        threading.Event().wait()
    elif fate == "leaving":
        os._exit(0)


if __name__ == "__main__":
    main()
