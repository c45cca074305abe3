from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuned_models import machine, tuned

from eightfold.errors import RecipeError
from eightfold.running.chosen import Chosen
from eightfold.running.forms import FORMS, Deployment
from eightfold.running.forms import deployment as module
from eightfold.running.forms.deployment import assigned
from eightfold.running.forms.serving import session_config
from eightfold.running.settings import Mode, Runtime
from eightfold.system.topology import Topology, topology

ONE = Runtime(cores=2, intra=2, inter=1, env={"TF_ONEDNN_X": 'a "b" 5%'})
SEVERAL = Runtime(batch_size=8, instances=2, cores=2, intra=2, inter=1, allocator="tcmalloc", layout="NHWC")
LIBRARY = "/lib/libtcmalloc_minimal.so.4"


@pytest.fixture(autouse=True)
def an_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "library", lambda allocator: None if allocator == "system" else LIBRARY)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    folder = tmp_path / "My_Net.v1"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(bytes(2**20))
    return folder


def deployed(model: Path, settings: Runtime, there: Topology | None = None, mode: Mode = "throughput") -> Deployment:
    notes = ("something to know",)
    return Deployment.of(Chosen(model, mode, tuned(settings), settings, notes, there or machine(2, 2)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("settings", [ONE, SEVERAL, Runtime()])
def test_every_form_says_what_the_settings_are_and_where_they_come_from(
    net: Path, form: str, settings: Runtime
) -> None:
    text = FORMS[form](deployed(net, settings))
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments[0] == f"# my-net-v1, throughput: {settings}"
    assert "95.5 images/s, p50 10.50 ms, p99 12.50 ms" in comments[1]
    assert "# something to know" in comments


@pytest.mark.parametrize("form", ["shell", "docker", "systemd", "tf-serving"])
@pytest.mark.parametrize("settings", [ONE, SEVERAL, Runtime()])
def test_what_is_for_a_shell_is_understood_by_one(net: Path, form: str, settings: Runtime) -> None:
    subprocess.run(["sh", "-n"], input=FORMS[form](deployed(net, settings)), text=True, check=True)


def in_shell(text: str) -> list[str]:
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_shell_runs_programs_with_the_settings(net: Path) -> None:
    here = topology()
    count = min(2, here.usable)
    settings = Runtime(instances=count, cores=1, intra=1, env={"TF_ONEDNN_X": "a 'b'"})
    text = FORMS["shell"](deployed(net, settings, here))
    script = 'echo "$EIGHTFOLD_INSTANCE/$EIGHTFOLD_INSTANCES $TF_NUM_INTRAOP_THREADS $TF_ONEDNN_X $1"; taskset -cp $$'
    lines = in_shell(f"{text}\nrun_tuned sh -c {shlex.quote(script)} sh 'an argument'")
    first = [line for line in lines if "/" in line]
    places = [line.rpartition(": ")[2] for line in lines if "affinity" in line]
    assert sorted(first) == [f"{number}/{count} 1 a 'b' an argument" for number in range(count)]
    assert sorted(places) == [str(core.cpus[0]) for core in here.cores[:count]]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Programs that say what they were given, where the real ones are not installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("docker", "tensorflow_model_server", "taskset"):
        file = folder / name
        following = 'shift 2; "$@"' if name == "taskset" else ":"
        said = f'said=$(printf "%s" {name}; printf "|%s" "$@")\nprintf "%s\\n" "$said"'  # whole: others print beside it
        file.write_text(f"#!/bin/sh\n{said}\nenv | grep TF_ONEDNN_X\n{following}\n")
        file.chmod(0o755)
    return folder


def given(programs: Path, text: str) -> list[list[str]]:
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True, env=env, cwd=programs)
    return [line.split("|") for line in done.stdout.splitlines()]


def test_docker_gets_cpus_memory_and_variables_for_each_instance(net: Path, programs: Path) -> None:
    first, second = given(programs, FORMS["docker"](deployed(net, SEVERAL)))
    options = ["docker", "run", "--detach", "--name", "my-net-v1-1", "--cpuset-cpus", "2-3", "--cpuset-mems", "1"]
    assert second[: len(options)] == options
    assert first[-1] == second[-1] == "my-net-v1:latest"
    variables = {word for word in second if "=" in word}
    assert variables == {
        "TF_NUM_INTRAOP_THREADS=2",
        "TF_NUM_INTEROP_THREADS=1",
        "LD_PRELOAD=libtcmalloc_minimal.so.4",  # wherever the image has it
        "EIGHTFOLD_MODE=throughput",
        "EIGHTFOLD_INSTANCE=1",
        "EIGHTFOLD_INSTANCES=2",
    }
    (only,) = given(programs, FORMS["docker"](deployed(net, ONE, machine(4))))
    assert 'TF_ONEDNN_X=a "b" 5%' in only
    assert "--cpuset-mems" not in only  # there is but one node
    (free,) = given(programs, FORMS["docker"](deployed(net, Runtime())))
    assert "--cpuset-cpus" not in free


def test_systemd_adds_to_a_service(net: Path) -> None:
    text = FORMS["systemd"](deployed(net, ONE, machine(4)))
    assert "my-net-v1.service.d/eightfold.conf" in text
    assert 'Environment="TF_ONEDNN_X=a \\"b\\" 5%%"\n' in text
    assert "CPUAffinity=\nCPUAffinity=0 1\nEND" in text
    assert text.endswith("sudo systemctl daemon-reload\nsudo systemctl restart my-net-v1.service\n")


def test_systemd_adds_to_a_template_and_to_each_of_its_instances(net: Path) -> None:
    text = FORMS["systemd"](deployed(net, SEVERAL))
    files = text.split("sudo mkdir -p ")[1:]
    assert [file.splitlines()[0].rpartition("/")[2] for file in files] == [
        "my-net-v1@.service.d",
        "my-net-v1@0.service.d",
        "my-net-v1@1.service.d",
    ]
    assert 'Environment="EIGHTFOLD_INSTANCE=%i"\n' in files[0]
    assert f'Environment="LD_PRELOAD={LIBRARY}"\n' in files[0]
    assert "[Service]\nCPUAffinity=\nCPUAffinity=2 3\nNUMAPolicy=bind\nNUMAMask=1\n" in files[2]
    assert text.endswith("sudo systemctl restart my-net-v1@0 my-net-v1@1\n")


def test_a_kubernetes_manifest_asks_for_whole_cpus(net: Path) -> None:
    yaml = pytest.importorskip("yaml")
    manifest: Any = yaml.safe_load(FORMS["kubernetes"](deployed(net, SEVERAL, machine(4, threads=2))))
    assert manifest["kind"] == "Deployment"
    assert manifest["spec"]["replicas"] == 2
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    resources = container["resources"]
    assert resources["requests"] == resources["limits"] == {"cpu": 4, "memory": "1280Mi"}  # both CPUs of each core
    env = {one["name"]: one["value"] for one in container["env"]}
    assert env["TF_NUM_INTRAOP_THREADS"] == "2"
    assert env["LD_PRELOAD"] == "libtcmalloc_minimal.so.4"
    assert "EIGHTFOLD_INSTANCE" not in env


def test_kubernetes_says_how_many_threads_where_the_settings_leave_it_open(net: Path) -> None:
    text = FORMS["kubernetes"](deployed(net, Runtime(cores=2), machine(4, threads=2)))
    assert '- name: TF_NUM_INTRAOP_THREADS\n          value: "2"\n' in text
    assert "full-pcpus-only=true" in text


def test_model_servers_have_flags_files_and_ports_of_their_own(net: Path, programs: Path) -> None:
    said = given(programs, FORMS["tf-serving"](deployed(net, SEVERAL)))
    servers = sorted(words for words in said if words[0] == "tensorflow_model_server")
    assert sorted(words[1:3] for words in said if words[0] == "taskset") == [["-c", "0-1"], ["-c", "2-3"]]
    for words, port in zip(servers, (8500, 8502), strict=True):
        assert {f"--port={port}", f"--rest_api_port={port + 1}"} < set(words)
    assert {
        "--model_name=my-net-v1",
        "--model_base_path=/models/my-net-v1",
        "--tensorflow_intra_op_parallelism=2",
        "--tensorflow_inter_op_parallelism=1",
        "--enable_batching=true",
        "--batching_parameters_file=my-net-v1-batching.pbtxt",
        "--tensorflow_session_config_file=my-net-v1-session.pbtxt",
    } < set(servers[0])
    batching = (programs / "my-net-v1-batching.pbtxt").read_text()
    assert "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 1050 }\n" in batching
    assert "NCHW_TO_NHWC" in (programs / "my-net-v1-session.pbtxt").read_text()


def test_operations_in_the_callers_thread_are_for_a_variable(net: Path, programs: Path) -> None:
    text = FORMS["tf-serving"](deployed(net, Runtime(intra=1, inter=-1)))
    assert "env TF_NUM_INTEROP_THREADS=-1 \\\n" in text
    assert "inter_op_parallelism" not in text


def test_a_server_for_one_image_at_a_time_has_no_batching(net: Path, programs: Path) -> None:
    text = FORMS["tf-serving"](deployed(net, ONE, machine(4)))
    assert "batching" not in text
    assert "session.pbtxt" not in text
    assert ['TF_ONEDNN_X=a "b" 5%'] in given(programs, text)


def test_tensorflow_reads_the_session_configuration() -> None:
    from google.protobuf import text_format
    from tensorflow.core.protobuf.config_pb2 import ConfigProto

    from eightfold.tf.prepared import session_config as in_process

    for settings in (Runtime(layout="NHWC"), Runtime(layout="NHWC", precision="bf16"), Runtime(precision="bf16")):
        read = text_format.Parse(session_config(settings), ConfigProto())
        ours = in_process(layout=settings.layout, bfloat16=settings.precision == "bf16")
        assert read.graph_options == ours.graph_options


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_settings_is_enough(tmp_path: Path, form: str) -> None:
    file = tmp_path / "server.json"
    file.write_text("{}")
    text = FORMS[form](deployed(file, SEVERAL))
    assert text.startswith("# server, throughput: ")


def test_serving_takes_no_frozen_graph(tmp_path: Path) -> None:
    graph = tmp_path / "net.pb"
    graph.write_bytes(b"")
    with pytest.raises(RecipeError, match=r"takes SavedModels, and .*net.pb is a frozen graph"):
        FORMS["tf-serving"](deployed(graph, ONE))
    assert "docker run" in FORMS["docker"](deployed(graph, ONE))


def several_here(net: Path) -> str:
    here = topology()
    if here.usable < 2:
        pytest.skip("one core")
    return FORMS["shell"](deployed(net, Runtime(instances=2, cores=1), here))


def test_a_copy_that_fails_is_told_by_the_exit_code(net: Path) -> None:
    text = several_here(net)
    script = "[ $EIGHTFOLD_INSTANCE = 1 ] || exit 7"
    done = subprocess.run(["sh", "-uc", f"{text}\nrun_tuned sh -c '{script}'; exit $?"], check=False)
    assert done.returncode == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_copies_end_with_the_shell_that_started_them(net: Path, tmp_path: Path, number: int) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("a shell cannot hear what was ignored when it started")
    text = several_here(net)
    copy = f"echo $$ > {tmp_path}/new$$; mv {tmp_path}/new$$ {tmp_path}/copy$EIGHTFOLD_INSTANCE; exec sleep 600"
    shell = subprocess.Popen(["sh", "-c", f"{text}\nrun_tuned sh -c '{copy}'"], start_new_session=True)
    files = [tmp_path / "copy0", tmp_path / "copy1"]
    until(lambda: all(file.exists() for file in files))
    os.killpg(shell.pid, number)  # as a terminal does
    assert shell.wait(60) != 0
    until(lambda: not any(Path("/proc", file.read_text().strip(), "exe").exists() for file in files))


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_libraries_that_are_preloaded_already_stay(net: Path) -> None:
    assignment = assigned("LD_PRELOAD", "/a b/malloc.so")
    assert in_shell(f'unset LD_PRELOAD; export {assignment}; printf "%s" "$LD_PRELOAD"') == ["/a b/malloc.so"]
    assert in_shell(f'LD_PRELOAD=/mine.so; {assignment}; printf "%s" "$LD_PRELOAD"') == ["/a b/malloc.so:/mine.so"]
    for form in ("shell", "tf-serving"):
        assert f'LD_PRELOAD={LIBRARY}"${{LD_PRELOAD:+:$LD_PRELOAD}}"' in FORMS[form](deployed(net, SEVERAL))
