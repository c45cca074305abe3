from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eightfold.bench
from eightfold.bench import Comparison, Settings, Subject
from eightfold.bench.machine import this_machine
from eightfold.running.file import Measured, Tuned, write
from eightfold.running.settings import Mode, Runtime
from eightfold.system.topology import topology
from figures import measurement


class Asked:
    """What the measuring was asked for."""

    subjects: Sequence[Subject]
    settings: Settings
    feeds: Mapping[str, Any] | None

    @property
    def runtimes(self) -> list[Runtime]:
        return [one.runtime for one in self.subjects]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Replaces the measuring; gives what it was asked for."""
    found = Asked()

    def compare(subjects: Sequence[Subject], how: Settings, feeds: Any, progress: Any) -> Comparison:
        found.subjects, found.settings, found.feeds = subjects, how, feeds
        progress("run", 1, 2)
        ones = tuple(measurement(one.name, 1.0 + place) for place, one in enumerate(subjects))
        return Comparison(ones, how, this_machine(), "a command", "today")

    monkeypatch.setattr(eightfold.bench, "compare", compare)
    return found


def test_options_reach_the_measurement(run: Any, float_model: Path, asked: Asked) -> None:
    threads = ("--intra", 2, "--inter", 1, "--batch-size", 32)
    result = run("benchmark", float_model, *threads, "--rounds", 7, "--seconds", 0.5, "--signature", "s")
    assert result.exit_code == 0, result.stderr
    assert asked.settings == Settings("throughput", rounds=7, seconds=0.5, signature="s")
    assert asked.runtimes == [Runtime(32, intra=2, inter=1)]


def test_options_under_their_known_names(run: Any, float_model: Path, asked: Asked) -> None:
    how = ("--num-intra-threads", 2, "--num-inter-threads", 1, "--data-format", "NHWC", "--allocator", "system")
    length = ("--num-batches", 50, "--num-warmup-batches", 3)
    result = run("benchmark", float_model, "--mode", "latency", *how, *length)
    assert result.exit_code == 0, result.stderr
    assert asked.settings == Settings("latency", batches=50, warm_up_batches=3)
    assert asked.runtimes == [Runtime(1, intra=2, inter=1, layout="NHWC")]


def test_the_mode_sets_the_batch_size(run: Any, float_model: Path, asked: Asked) -> None:
    run("benchmark", float_model, "--mode", "throughput")
    assert asked.runtimes == [Runtime(32)]
    run("benchmark", float_model)
    assert (asked.settings.mode, asked.runtimes) == ("latency", [Runtime(1)])


def test_auto_instances(run: Any, float_model: Path, asked: Asked) -> None:
    result = run("benchmark", float_model, "--mode", "latency", "--instances", "auto", "--cores-per-instance", 1)
    assert result.exit_code == 0, result.stderr
    assert asked.runtimes == [Runtime(1, instances=topology().usable, cores=1, intra=1, inter=1)]
    result = run("benchmark", float_model, "--numa", "--socket-id", topology().sockets[0])
    assert result.exit_code == 0, result.stderr
    assert asked.settings.mode == "throughput"
    assert asked.runtimes[0].cores is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--instances", "many"], "--instances is 'many'; expected a whole number from 1, or auto"),
        (["--instances", "0"], "expected a whole number from 1"),
        (["--socket-id", 77], "there is no socket 77"),
        (["--runtime", "tuned"], "eightfold tune"),
        (["--peers", "caffe"], "the peer 'caffe' is unknown"),
        (["--train", "--peers", "openvino"], "the other runtimes do not train"),
        (["--train"], "a SavedModel holds no way to train it"),
        (["--compare", "stock"], "--compare stock is for --train"),
        (["--compare", "basline"], "--compare is 'basline'; expected baseline, stock or both"),
        (["--train", "--bf16", "--precision", "fp32"], "--bf16 and --precision fp32 contradict each other"),
    ],
)
def test_what_cannot_be_is_refused(
    run: Any, float_model: Path, asked: Asked, arguments: list[Any], message: str
) -> None:
    result = run("benchmark", float_model, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not hasattr(asked, "subjects")


def test_the_table_and_the_json_have_all_models(run: Any, float_model: Path, asked: Asked) -> None:
    table = run("benchmark", float_model, float_model).stdout
    assert "2.00x" in table
    assert "(1.90-2.10)" in table
    document = json.loads(run("benchmark", float_model, float_model, "--json").stdout)
    assert [one["speedup"]["median"] for one in document["models"]] == [1.0, 2.0]
    assert document["models"][0]["timing"]["p99_ms"] == 125
    assert document["machine"]["cores"] >= 1
    assert (document["input"], document["baseline"], document["without_effect"]) == ("synthetic", None, [])


def test_the_lines_of_tf_cnn_benchmarks(run: Any, float_model: Path, asked: Asked) -> None:
    text = run("benchmark", float_model, "--display-every", 4).stdout
    assert re.findall(r"^(\d+)\timages/sec: 400\.0 \+/- 0\.0 \(jitter = 0\.0\)\t", text, re.M) == ["1", "4", "8"]
    assert "\ntotal images/sec: 400.00\n" in text
    assert re.findall(r"^(\d+)\timages", run("benchmark", float_model, "--num-batches", 10).stdout, re.M) == ["1", "10"]


def test_the_document_goes_to_a_file(run: Any, float_model: Path, asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "new" / "result.json"
    result = run("benchmark", float_model, "--output", file, "--quiet")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    document = json.loads(file.read_text())
    assert document["models"][0]["total_images_per_second"] == pytest.approx(400)
    assert [step["number"] for step in document["models"][0]["steps"]] == list(range(1, 11))


def test_a_refusal_leaves_the_file_that_was_there(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text("before")
    assert run("benchmark", tmp_path / "nowhere", "--output", file).exit_code == 2
    assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_the_baseline_comes_first(run: Any, float_model: Path, asked: Asked) -> None:
    result = run("benchmark", float_model, "--compare", "baseline", "-b", 8, "--intra", 1)
    assert result.exit_code == 0, result.stderr
    baseline, own = asked.subjects
    assert baseline.model == own.model
    assert asked.runtimes == [Runtime(8, env={"TF_ENABLE_ONEDNN_OPTS": "0"}), Runtime(8, intra=1)]
    assert f"{float_model}: speedup over the default environment: 2.00x (1.90-2.10)" in result.stdout
    assert "default environment: speedup" not in result.stdout
    run("benchmark", float_model, "--compare", "baseline", "--baseline-batch-size", 1, "-b", 8)
    assert [one.batch_size for one in asked.runtimes] == [1, 8]


def test_an_8_bit_model_alone_has_no_baseline(run: Any, float_model: Path, tmp_path: Path, asked: Asked) -> None:
    int8 = tmp_path / "int8.pb"
    int8.write_bytes(b"_FusedQuantizedConv2D")
    result = run("benchmark", int8, "--compare", "baseline")
    assert result.exit_code == 2
    assert "give the float model first, or with --baseline MODEL" in result.stderr
    assert run("benchmark", int8, "--baseline", float_model).exit_code == 0
    assert [one.model for one in asked.subjects] == [float_model, int8]


def test_tuned_settings(run: Any, float_model: Path, asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "runtime.json"
    tuned: dict[Mode, Runtime] = {"throughput": Runtime(16, intra=2, env={"A": "1"})}
    for mode, settings in tuned.items():
        write(file, mode, Tuned(settings, Measured(1, 1, 1, 1), {}, {}, "now", "eightfold tune"))
    result = run("benchmark", float_model, "--runtime", file)
    assert result.exit_code == 0, result.stderr
    assert (asked.settings.mode, asked.runtimes) == ("throughput", [tuned["throughput"]])
    run("benchmark", float_model, "--runtime", file, "-b", 4, "--instances", 1, "--cores-per-instance", 1)
    assert asked.runtimes == [Runtime(4, cores=1, intra=1, inter=1, env={"A": "1"})]
    result = run("benchmark", float_model, "--runtime", file, "--mode", "latency")
    assert "there are no settings for latency" in result.stderr


def test_the_baseline_need_not_be_tuned(run: Any, float_model: Path, asked: Asked, tmp_path: Path) -> None:
    int8 = tmp_path / "int8.pb"
    int8.write_bytes(b"_FusedQuantizedConv2D")
    write(int8, "latency", Tuned(Runtime(2, intra=1), Measured(1, 1, 1, 1), {}, {}, "now", "eightfold tune"))
    result = run("benchmark", int8, "--runtime", "tuned", "--baseline", float_model)
    assert result.exit_code == 0, result.stderr
    assert asked.runtimes == [Runtime(2, env={"TF_ENABLE_ONEDNN_OPTS": "0"}), Runtime(2, intra=1)]


def test_options_without_effect_say_so(
    run: Any, float_model: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eightfold.system import instructions
    from eightfold.tf import build

    eigen = build.Build("2.21.0", build.OneDnn("3.7.3", "threadpool", "AVX2"), None)
    monkeypatch.setattr(build, "installed_build", lambda: eigen)
    monkeypatch.setattr(instructions, "has_bfloat16", lambda: False)
    options = ("--kmp-blocktime", 0, "--kmp-affinity", "compact", "--bf16", "--data-format", "NCHW")
    result = run("benchmark", float_model, *options, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    idle = [one["option"] for one in document["without_effect"]]
    assert idle == ["--kmp-blocktime", "--kmp-affinity", "--bf16", "--data-format NCHW"]
    for option in idle:
        assert f"note: {option} has no effect: " in result.stderr
    assert asked.runtimes[0].env == {"KMP_BLOCKTIME": "0", "KMP_AFFINITY": "compact"}
    openmp = build.Build("2.15.0", build.OneDnn("3.7.3", "OpenMP", "AVX2"), None)
    monkeypatch.setattr(build, "installed_build", lambda: openmp)
    assert run("benchmark", float_model, "--kmp-settings", 1).stderr == ""


def test_options_that_need_another_one_say_so(run: Any, float_model: Path, asked: Asked) -> None:
    lonely = ("--baseline-batch-size", 1, "--samples", 3, "--preprocess", "tf")
    result = run("benchmark", float_model, *lonely, "--json")
    assert result.exit_code == 0, result.stderr
    idle = [one["option"] for one in json.loads(result.stdout)["without_effect"]]
    assert idle == ["--baseline-batch-size", "--samples", "--preprocess"]
    assert "note: --samples has no effect: the input is random numbers; give data with --data" in result.stderr
    result = run("benchmark", "resnet50", "--train", "--signature", "call")
    assert "note: --signature has no effect: training calls the Keras model itself" in result.stderr
    assert run("benchmark", float_model, "--compare", "baseline", "--baseline-batch-size", 1).stderr == ""
    result = run("benchmark", float_model, "--precision", "fp32", "--image-size", 64)
    assert "note: --precision has no effect: it is for training" in result.stderr
    assert "note: --image-size has no effect: it is for training" in result.stderr


def test_tuned_settings_of_a_network_by_name(
    run: Any, float_model: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from eightfold.bench import named

    network = Path(shutil.copytree(float_model, tmp_path / "network"))
    monkeypatch.setattr(named, "saved", lambda architecture: network)
    tuned = Runtime(1, intra=1)
    write(network, "latency", Tuned(tuned, Measured(1, 1, 1, 1), {}, {}, "now", "eightfold tune"))
    result = run("benchmark", "mobilenet", "--runtime", "tuned")
    assert result.exit_code == 0, result.stderr
    assert [(one.name, one.model) for one in asked.subjects] == [("mobilenet", network)]
    assert asked.runtimes == [tuned]


def test_peers_begin_with_the_float_model_and_its_data(
    run: Any, float_model: Path, data: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eightfold.bench import peers

    def made(names: Sequence[str], model: Path, samples: Any, **more: Any) -> list[Subject]:
        assert samples["image"].shape == (8, 12, 12, 8)
        assert more.pop("signature") == "serving_default"
        more.pop("tell")("install", 0, None)
        return [Subject(name, model, ("peer",), **more) for name in names]

    monkeypatch.setattr(peers, "peers", made)
    options = ("--peers", "openvino, litert:fp32", "--intra", 1, "--kmp-settings", 0, "-d", data)
    result = run("benchmark", float_model, *options)
    assert result.exit_code == 0, result.stderr
    assert [one.name for one in asked.subjects] == [str(float_model), "openvino", "litert:fp32"]
    assert asked.runtimes == [Runtime(1, intra=1, env={"KMP_SETTINGS": "0"}), *[Runtime(1, intra=1)] * 2]


def test_real_data_is_the_first_batches_of_it(
    run: Any, float_model: Path, data: Path, images: np.ndarray, asked: Asked
) -> None:
    result = run("benchmark", float_model, "-d", data, "-b", 3)
    assert result.exit_code == 0, result.stderr
    assert asked.feeds is not None
    np.testing.assert_array_equal(asked.feeds["image"], images[:24])
    run("benchmark", float_model, "-d", data, "-b", 3, "-n", 7)
    assert asked.feeds["image"].shape == (7, 12, 12, 8)


def test_training_by_name_with_labelled_data(run: Any, asked: Asked, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labelled = tmp_path / "labelled.npz"
    np.savez(labelled, x=rng.random((4, 224, 224, 3), dtype=np.float32), y=np.arange(4))
    result = run("benchmark", "ResNet-50", "--train", "-b", 2, "-d", labelled)
    assert result.exit_code == 0, result.stderr
    (subject,) = asked.subjects
    assert (subject.name, subject.runtime) == ("resnet50", Runtime(2))
    assert asked.feeds is not None
    assert {name: array.shape for name, array in asked.feeds.items()} == {"x": (4, 224, 224, 3), "y": (4,)}
    np.savez(labelled, x=np.zeros((4, 224, 224, 3), np.float32))
    assert "has no labels" in run("benchmark", "resnet50", "--train", "-d", labelled).stderr


def test_training_beside_the_default_environment_and_stock(run: Any, asked: Asked) -> None:
    options = ("--train", "--compare", "baseline,stock", "--intra", 1, "--image-size", 64)
    result = run("benchmark", "resnet50", *options, "--precision", "fp32")
    assert result.exit_code == 0, result.stderr
    assert [one.name for one in asked.subjects] == ["default environment", "stock TensorFlow", "resnet50"]
    assert asked.settings.mode == "throughput"
    assert asked.runtimes == [
        Runtime(32, env={"TF_ENABLE_ONEDNN_OPTS": "0"}),
        Runtime(32, intra=1, env={"TF_ENABLE_ONEDNN_OPTS": "1"}),
        Runtime(32, intra=1),
    ]
    how = [one.command[-3:] for one in asked.subjects]
    assert how == [("stock", "--image-size", "64")] * 2 + [("fp32", "--image-size", "64")]
    over = re.findall(r"^(.*): speedup over (.*): ", result.stdout, re.M)
    assert over == [
        ("stock TensorFlow", "the default environment"),
        ("resnet50", "the default environment"),
        ("resnet50", "stock TensorFlow"),
    ]


def test_training_in_bfloat16_under_its_other_name(run: Any, asked: Asked) -> None:
    assert run("benchmark", "resnet50", "--train", "--bf16", "--batch-size", 8).exit_code == 0
    (subject,) = asked.subjects
    assert ("bf16" in subject.command, subject.runtime) == (True, Runtime(8))


def test_the_baseline_of_training_may_be_another_network(run: Any, asked: Asked) -> None:
    run("benchmark", "nets:small", "--train", "--baseline", "mobilenet", "--baseline-batch-size", 4)
    baseline, own = asked.subjects
    assert (str(baseline.model), baseline.runtime.batch_size, str(own.model)) == ("mobilenet", 4, "nets:small")
    assert "stock" in baseline.command


def test_training_is_measured(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(
        "import keras\n"
        "def small(input_shape, classes):\n"
        "    layers = [keras.layers.Flatten(), keras.layers.Dense(classes)]\n"
        "    return keras.Sequential([keras.Input(input_shape), *layers])\n"
    )
    options = ("--image-size", 8, "--num-batches", 3, "--num-warmup-batches", 1, "--rounds", 1)
    result = run("benchmark", "nets:small", "--train", "--compare", "baseline", *options)
    assert result.exit_code == 0, result.stderr
    assert re.search(r"^1\timages/sec: [\d.]+ \+/- 0\.0 \(jitter = 0\.0\)\t", result.stdout, re.M)
    assert len(re.findall(r"^total images/sec: [\d.]+$", result.stdout, re.M)) == 2
    assert "Optimizer:   sgd" in result.stdout
    assert "nets:small: speedup over the default environment: " in result.stdout


def test_a_real_model_is_measured(run: Any, float_model: Path, data: Path) -> None:
    options = ("-d", data, "--num-batches", 4, "--num-warmup-batches", 1, "--compare", "baseline")
    result = run("benchmark", float_model, *options, "--instances", 1, "--cores-per-instance", 1, "--json")
    assert result.exit_code == 0, result.stderr
    baseline, own = json.loads(result.stdout)["models"]
    assert baseline["name"] == "default environment"
    assert own["timing"]["runs"] == 4
    assert own["speedup"]["median"] > 0
    assert own["total_images_per_second"] > 0
