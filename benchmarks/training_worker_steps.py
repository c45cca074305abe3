"""One worker of benchmarks/training_workers.py: `training_worker_steps.py TASK`, a document of JSON.

It makes steps of training on made-up pictures, alone or with others, and worker 0 writes what each took and its loss.
With `parts` a process that is alone goes through as many shares of a batch, one after the other, and adds up their
gradients.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import training_nets

from eightfold.data.augment import Augment
from eightfold.data.epochs import Epochs, one_epoch
from eightfold.training.accelerate import accelerate
from eightfold.training.collective import Alone, synchronized
from eightfold.training.connected import connected
from eightfold.training.seat import given
from eightfold.training.step import Steps

CLASSES, CLOUDS = 10, 64


def main() -> None:
    task = json.loads(sys.argv[1])
    seat = given(os.environ)
    side, parts, count = task["image_size"], task["parts"], task["warm_up"] + task["steps"]
    with Alone() if seat is None else connected(seat, {"task": task["net"]}) as workers:
        keras.utils.set_random_seed(1)
        net = accelerate(getattr(training_nets, task["net"])((side, side, 3), CLASSES), "fp32")
        optimizer = keras.optimizers.SGD(
            task["rate"], momentum=0.9, gradient_accumulation_steps=parts if parts > 1 else None
        )
        steps = Steps(net, optimizer, collective=workers)
        synchronized(workers, [*net.variables, *optimizer.variables])
        batches = pictures(side, task["batch_size"], count)
        own = range(parts) if parts > 1 else [workers.rank]
        shares = [one_epoch(batches.share(at, max(parts, workers.count))) for at in own]
        seconds, losses = [], []
        began = time.perf_counter()
        for batch in zip(*shares, strict=True):
            with workers.guarded():
                losses.append(float(np.mean([float(steps.train(*share).loss) for share in batch])))
            now = time.perf_counter()
            seconds.append(now - began)
            began = now
        if workers.rank == 0:
            Path(task["result"]).write_text(json.dumps({"seconds": seconds[task["warm_up"] :], "losses": losses}))


def pictures(side: int, batch_size: int, count: int) -> Epochs:
    """So many batches of clouds whose brightness tells the class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, batch_size * count)
    stored = side + side // 8  # a margin for crops
    clouds = tf.image.resize(rng.uniform(0, 160, (CLOUDS, 9, 9, 3)), (stored, stored), "bicubic").numpy()
    pixels: Any = clouds[np.arange(len(labels)) % CLOUDS] + 9 * labels[:, None, None, None]
    return Epochs(
        pixels=np.clip(pixels, 0, 255).astype(np.uint8),
        labels=labels,
        size=side,
        rows=np.arange(len(labels)),
        batch_size=batch_size,
        augment=Augment(),
    )


if __name__ == "__main__":
    main()
