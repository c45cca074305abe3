"""`eightfold train` as a user starts it: one worker and two, killed and resumed, and with wrong input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

TRAINING = Path(__file__).parents[1] / "training"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with data and a module of nets, to work in."""
    sys.path.insert(0, str(TRAINING))
    try:
        from pictures import pictures
    finally:
        sys.path.remove(str(TRAINING))
    pixels, labels = pictures(120)
    np.savez(tmp_path / "data.npz", x=pixels, y=labels)
    (tmp_path / "pictures.py").write_text((TRAINING / "pictures.py").read_text())
    return tmp_path


def command(*arguments: str) -> list[str]:
    given = ["--data", "data.npz", "--model", "pictures:net", "--image-size", "16", "--precision", "fp32"]
    given += [] if "--batch-study" in arguments else ["-b", "16", "--optimizer", "sgd"]
    return [sys.executable, "-m", "eightfold.cli.app", "train", *given, *arguments]


ENV = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}  # as users have it


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=place, env=ENV, capture_output=True, text=True, timeout=300, check=False
    )


def weights(place: Path, output: str) -> list[np.ndarray]:
    import keras

    return list(keras.saving.load_model(place / output / "model.keras").get_weights())


def test_a_run_and_what_it_prints(place: Path) -> None:
    done = run(place, "-o", "run", "--epochs", "2", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ended"] == "epochs"
    assert done.stderr.count("epoch ") == 2
    again = run(place, "-o", "run", "--epochs", "2")
    assert again.returncode == 2
    assert again.stderr == "Error: run holds a trained model; choose another folder, or allow --overwrite\n"
    people = run(place, "-o", "run", "--epochs", "1", "--overwrite")
    assert people.returncode == 0
    for part in ("accuracy", "images/s", "of 24 pictures", "run/model.keras"):
        assert part in people.stdout


def test_a_run_that_is_killed_goes_on_to_the_same_weights(place: Path) -> None:
    assert run(place, "-o", "whole", "--epochs", "30", "-q").returncode == 0
    process = subprocess.Popen(
        command("-o", "run", "--epochs", "30"), cwd=place, env=ENV, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 3:"):
            break
    process.kill()
    process.wait()
    process.stderr.close()
    assert (place / "run" / "checkpoint" / "state.npz").exists()
    assert not (place / "run" / "model.keras").exists()
    refused = run(place, "-o", "run", "--epochs", "30")
    assert refused.returncode == 2
    assert "go on with --resume, or start anew with --overwrite" in refused.stderr
    resumed = run(place, "-o", "run", "--epochs", "30", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 1:" not in resumed.stderr
    for one, other in zip(weights(place, "run"), weights(place, "whole"), strict=True):
        np.testing.assert_array_equal(one, other)


TWO = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


def signalled(place: Path, numbers: list[int], *arguments: str, at: str = "epoch 3:") -> tuple[int, str]:
    """Exit code and standard error of a run that gets signals at a line of it, the second after a second."""
    process = subprocess.Popen(command(*arguments), cwd=place, env=ENV, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        if line.startswith(at):
            process.send_signal(numbers[0])
            for number in numbers[1:]:
                time.sleep(1)
                process.send_signal(number)
        said += line
    process.stderr.close()
    return process.wait(60), said


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, "1"), pytest.param(signal.SIGINT, "2", marks=TWO), (signal.SIGTERM, "1")]
)
def test_a_signal_stops_it_after_a_step_and_it_goes_on_to_the_same_weights(
    place: Path, number: signal.Signals, workers: str
) -> None:
    common = ["--epochs", "40", "--workers", workers]
    code, said = signalled(place, [number], "-o", "run", *common)
    assert code == 128 + number, said
    assert "Traceback" not in said
    assert said.count("epoch ") < 20
    assert f"Stopped by {number.name} after batch" in said
    assert said.count("go on with --resume") == 1
    assert not (place / "run" / ".lock").exists()
    if number == signal.SIGTERM:
        return  # it is the same from here on
    resumed = run(place, "-o", "run", *common, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 2:" not in resumed.stderr
    assert run(place, "-o", "whole", *common, "-q").returncode == 0
    for one, other in zip(weights(place, "run"), weights(place, "whole"), strict=True):
        np.testing.assert_array_equal(one, other)


def stuck(place: Path) -> None:
    """A net whose ninth step takes ten seconds."""
    (place / "slow.py").write_text(
        """
import keras, os, sys, time
import tensorflow as tf
from pictures import net as made
steps = 0
def wait():
    global steps
    steps += 1
    if steps == 9:
        print("slow", file=sys.stderr, flush=True)
        time.sleep(10)
    return 0.0
class Slow(keras.layers.Layer):
    def call(self, x, training=False):
        if not training:
            return x
        return x + tf.cast(tf.ensure_shape(tf.numpy_function(wait, [], tf.float64), []), x.dtype)
def net(input_shape, classes):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, made(input_shape, classes)(Slow()(inputs)))
"""
    )


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=TWO)])
def test_a_second_signal_ends_it_in_the_middle_of_a_step(place: Path, workers: str) -> None:
    stuck(place)
    began = time.monotonic()
    both = [signal.SIGINT, signal.SIGINT]
    options = ["-o", "run", "--epochs", "5", "--workers", workers, "--model", "slow:net", "--no-augment"]
    code, said = signalled(place, both, *options, at="slow")
    assert code == 130, said
    assert "Stopping after this step" in said
    assert "Stopped by" not in said
    assert "Traceback" not in said
    assert time.monotonic() - began < 60
    assert (place / "run" / "checkpoint" / "state.npz").exists()  # of the first epoch


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_two_workers_train_one_model(place: Path) -> None:
    done = run(place, "-o", "run", "--epochs", "2", "--workers", "2", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["workers"] == 2
    assert report["accuracy"] >= 0
    assert (place / "run" / "model.keras").exists()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_a_lost_worker_ends_it_with_a_checkpoint(place: Path) -> None:
    process = subprocess.Popen(
        command("-o", "run", "--epochs", "500", "--workers", "2"), cwd=place, env=ENV, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        if line.startswith("epoch 2:"):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[-1]), signal.SIGKILL)
        said += line
    began = time.monotonic()
    assert process.wait(60) == 2
    process.stderr.close()
    assert time.monotonic() - began < 60
    assert "signal 9" in said
    assert "go on with --resume" in said
    assert "Traceback" not in said
    resumed = run(place, "-o", "run", "--epochs", "500", "--workers", "2", "--resume", "--target", "0.01")
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 1:" not in resumed.stderr


def test_a_study_of_batch_sizes(place: Path) -> None:
    done = run(place, "-o", "study", "--epochs", "1", "--batch-study", "16,32")
    assert done.returncode == 0, done.stderr
    assert "accuracy, ours" in done.stdout
    assert {file.name for file in (place / "study").iterdir()} == {"study.jsonl", "study.json", "study.png"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "absent/"], "absent"),
        (["--model", "resnet5"], "there is no model at resnet5"),
        (["--epochs", "many"], "--epochs takes whole numbers"),
        (["--target", "loss=1"], "a target is a validation accuracy"),
        (["--image-size", "20"], ""),  # the net is made for any size
        (["--resume"], "cannot be resumed: there is no checkpoint"),
        (["--workers", "2", "--cluster", "localhost:1"], "expected one of them"),
        (["--batch-study", "16,x"], "--batch-study takes whole numbers"),
        (
            ["--batch-study", "16", "--freeze", "--rate", "0.1"],
            "compares recipes of its own, in one process; received --",
        ),
    ],
)
def test_wrong_input(place: Path, arguments: list[str], said: str) -> None:
    done = run(place, "-o", "run", "--epochs", "1", *arguments)
    assert done.returncode == (2 if said else 0), done.stderr
    assert "Traceback" not in done.stderr
    if said:
        assert said in done.stderr
        assert done.stderr.startswith("Error: ")
        assert not (place / "run").exists()
