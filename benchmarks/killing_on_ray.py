"""Kills parts of a Ray cluster while it predicts: python benchmarks/killing_on_ray.py [--model MODEL --data DATA]

Starts a cluster of three nodes on this machine (the head computes nothing), predicts once on this machine without it,
and then as often as asked for on the cluster. In each trial a random one of these dies at a random moment: the process
that runs the model, the actor that holds it, or a node with all that is on it. The output must be the same file, byte
for byte. Without a model, the small net of examples/train_digits.py is trained, and run on its pictures several times.

Prints one line for each trial; the exit code is 1 if any output differs.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from eightfold.prediction.predict import Predictions, predict
from eightfold.running.settings import Runtime

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "prediction"))

from loopback import Loopback, kill  # noqa: E402  (the cluster that the tests use)

VICTIMS = ("worker", "actor", "node")
RUNTIME = Runtime(batch_size=8, instances=2, cores=1, intra=1, inter=1)


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder, Loopback() as cluster:
        model, data = (options.model, options.data) if options.model else digits(Path(folder), options.copies)
        here, there = Path(folder, "here.npz"), Path(folder, "there.npz")
        predict(model, data, here, runtime=RUNTIME)
        whole = predict(model, data, there, runtime=RUNTIME, cluster=cluster.address)
        print(f"nothing killed: {told(whole)}, {same(here, there)}", flush=True)
        chance, failed = random.Random(options.seed), same(here, there) != "same"
        for trial in range(1, options.trials + 1):
            victim, moment = chance.choice(VICTIMS), chance.random()
            killer = Killer(cluster, victim, moment)
            done = predict(
                model, data, there, runtime=RUNTIME, cluster=cluster.address, overwrite=True, progress=killer.watch
            )
            killer.repair()
            failed |= same(here, there) != "same" or not killer.killed
            print(f"trial {trial}: {killer}: {told(done)}, {same(here, there)}", flush=True)
    sys.exit(failed)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model; --data must be given too")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--copies", type=int, default=15, help="of the 1,437 digits")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def digits(folder: Path, copies: int) -> tuple[Path, Path]:
    """A small net and its pictures, so many times."""
    subprocess.run([sys.executable, ROOT / "examples" / "train_digits.py", folder], check=True, capture_output=True)
    with np.load(folder / "digits.npz") as arrays:
        np.save(folder / "pictures.npy", np.tile(arrays["x"], (copies, 1, 1, 1)))
    return folder / "digits", folder / "pictures.npy"


class Killer:
    """Kills something as soon as a share of the rows is done."""

    def __init__(self, cluster: Loopback, victim: str, moment: float) -> None:
        self.killed = False
        self._cluster = cluster
        self._victim = victim
        self._moment = moment
        self._begun = False

    def __str__(self) -> str:
        when = f"after {self._moment:.0%} of the rows"
        return f"a {self._victim} killed {when}" if self.killed else f"no {self._victim} left to kill {when}"

    def watch(self, stage: str, rows: int, total: int | None) -> None:
        """A `progress` of `predict`."""
        if stage == "predict" and total and rows >= self._moment * 0.95 * total and rows and not self._begun:
            self._begun = True
            self._kill()

    def repair(self) -> None:
        """Brings back what was killed."""
        if self.killed and self._victim == "node":
            self._cluster.add_node()

    def _kill(self) -> None:
        if self._victim == "node":
            self._cluster.kill_node()
            self.killed = True
            return
        for pid in self._cluster.workers if self._victim == "worker" else self._cluster.actors:
            with suppress(ProcessLookupError):
                kill(pid)
                self.killed = True
                return


def told(done: Predictions) -> str:
    return f"{done.rows} rows in {done.seconds.compute:.1f} s, {done.deaths} deaths seen"


def same(one: Path, other: Path) -> str:
    return "same" if one.read_bytes() == other.read_bytes() else "DIFFERENT"


if __name__ == "__main__":
    main()
