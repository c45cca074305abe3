from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuned_models import tuned

from eightfold.errors import ModelError
from eightfold.running.file import RUNTIME_FILE, place, read, tuned_model, write
from eightfold.running.settings import Runtime

FAST = Runtime(batch_size=8, instances=2, cores=1, intra=1, inter=1, env={"A": "1"}, allocator="tcmalloc")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    folder = tmp_path / "net"
    folder.mkdir()
    return folder


def test_both_modes_are_kept_beside_each_other(net: Path) -> None:
    file = write(net, "throughput", tuned(FAST))
    assert file == net / RUNTIME_FILE
    write(net, "latency", tuned(Runtime(intra=2)))
    write(net, "latency", tuned(Runtime(intra=4), model="../net-int8"))
    back = read(net)
    assert back.modes["throughput"] == tuned(FAST)
    assert back.modes["latency"] == tuned(Runtime(intra=4), model="../net-int8")
    assert read(file) == back
    assert [path.name for path in file.parent.iterdir()] == ["runtime.json"]  # nothing half-written is left


def test_a_frozen_graph_has_the_file_beside_it(tmp_path: Path) -> None:
    graph = tmp_path / "net.pb"
    graph.write_bytes(b"")
    assert write(graph, "latency", tuned(FAST)) == tmp_path / "net.runtime.json"
    assert read(graph).modes["latency"].settings == FAST
    assert tuned_model(tmp_path / "net.runtime.json", read(graph).modes["latency"]) == graph


def test_which_model_the_settings_are_for(net: Path) -> None:
    other = net.with_name("net-int8")
    plain, elsewhere = tuned(FAST), tuned(FAST, model="../net-int8")
    assert tuned_model(net, plain) == net
    assert tuned_model(net / RUNTIME_FILE, plain) == net
    with pytest.raises(ModelError, match=r"are for the model .*net-int8, which is not there"):
        tuned_model(net, elsewhere)
    other.mkdir()
    assert tuned_model(net, elsewhere) == tuned_model(net / RUNTIME_FILE, elsewhere) == other


def test_a_file_of_settings_by_itself(tmp_path: Path) -> None:
    file = write(tmp_path / "server.json", "latency", tuned(FAST))
    assert read(file).modes["latency"].settings == FAST
    assert tuned_model(file, tuned(FAST)) is None
    (tmp_path / "net-int8").mkdir()
    assert tuned_model(file, tuned(FAST, model="net-int8")) == tmp_path / "net-int8"


def test_which_mode(net: Path) -> None:
    write(net, "throughput", tuned(FAST))
    assert read(net).choose(None)[0] == "throughput"
    with pytest.raises(ModelError, match=r"no settings for latency, only for: throughput.*tune MODEL --mode latency"):
        read(net).choose("latency")
    write(net, "latency", tuned(Runtime()))
    assert read(net).choose(None)[0] == "latency"
    assert read(net).choose("throughput")[1].settings == FAST


def test_a_model_that_nobody_has_tuned(net: Path) -> None:
    with pytest.raises(ModelError, match=r"net has no runtime.json.*eightfold tune"):
        read(net)
    with pytest.raises(ModelError, match="nothing at"):
        read(net / "nowhere")
    with pytest.raises(ModelError, match="nothing at"):
        write(net / "nowhere", "latency", tuned(FAST))


def _without(name: str) -> Callable[[Any], None]:
    return lambda document: document["modes"]["latency"].pop(name)


def _with(*path: str, value: object) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = value

    return change


LATENCY = ("modes", "latency")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_with("format", value=9), "format is 9, expected 1"),
        (_with("modes", value=[]), r"modes is \[\], expected a table"),
        (_with("modes", "speed", value={}), "unknown mode 'speed'; expected some of latency, throughput"),
        (_without("settings"), "in latency: settings is missing"),
        (_without("measured"), "in latency: measured is missing"),
        (_without("when"), "in latency: when is missing"),
        (_with(*LATENCY, "settings", "intra", value=0), "in latency: the run-time setting intra cannot be 0"),
        (_with(*LATENCY, "settings", "speed", value=1), "unknown run-time setting 'speed'"),
        (_with(*LATENCY, "measured", "p50_ms", value="1"), "measured p50_ms is '1', expected a number"),
        (_with(*LATENCY, "machine", value=7), "in latency: machine is 7, expected a table"),
        (_with(*LATENCY, "model", value=7), "model is 7, expected a path as text, or null"),
        (_with(*LATENCY, "trials", value=[1]), "a trial is 1, expected a table"),
        (_with(*LATENCY, "extra", value=1), "unknown name 'extra'"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(net: Path, damage: Callable[[Any], None], words: str) -> None:
    file = write(net, "latency", tuned(FAST))
    document = json.loads(file.read_text())
    damage(document)
    file.write_text(json.dumps(document))
    with pytest.raises(ModelError, match=f"runtime.json is damaged: .*{words}"):
        read(net)
    with pytest.raises(ModelError, match="is damaged"):
        write(net, "throughput", tuned(FAST))
    assert json.loads(file.read_text()) == document


def test_no_json(net: Path) -> None:
    place(net).parent.mkdir()
    place(net).write_text("{")
    with pytest.raises(ModelError, match="is damaged: it is no JSON"):
        read(net)


def test_what_may_be_left_out(net: Path) -> None:
    file = write(net, "latency", tuned(FAST))
    document = json.loads(file.read_text())
    for name in ("model", "trials"):
        del document["modes"]["latency"][name]
    file.write_text(json.dumps(document))
    assert read(net).modes["latency"].trials == ()
