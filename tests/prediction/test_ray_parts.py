"""What surrounds Ray in a prediction on a cluster; needs no Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eightfold.errors import DataError, MissingExtraError, PlatformError
from eightfold.prediction.job import Call, Job
from eightfold.prediction.ray_cores import take
from eightfold.prediction.ray_instance import error_answer, error_of, gathered
from eightfold.prediction.ray_nodes import Node, check, claim, look, notes, room, versions
from eightfold.running.process import this_eightfold
from eightfold.running.settings import Runtime
from eightfold.system.topology import Core, Topology

MACHINE = Topology(tuple(Core((cpu, cpu + 4), 0, 0) for cpu in range(4)))
HERE = {"Python": "3.11", "eightfold": "1.0", "tensorflow": "2.21.0", "numpy": "2.4.6"}
NODE = Node("10.0.0.1", "a", 8.0, 4, ("AVX2", "AVX-512 VNNI"), HERE, ())
TWO_CORES = Runtime(cores=2)


def test_processes_take_cores_of_their_own(tmp_path: Path) -> None:
    first, second = take(TWO_CORES, MACHINE, tmp_path), take(TWO_CORES, MACHINE, tmp_path)
    assert (first.cpus, second.cpus) == ((0, 1), (2, 3))
    assert take(TWO_CORES, MACHINE, tmp_path, patience=0.0).cpus is None
    first.release()
    assert take(TWO_CORES, MACHINE, tmp_path).cpus == (0, 1)
    second.release()


def test_cores_of_several_sizes_never_overlap(tmp_path: Path) -> None:
    one = take(Runtime(cores=1), MACHINE, tmp_path)
    two = take(TWO_CORES, MACHINE, tmp_path)
    assert (one.cpus, two.cpus) == ((0,), (2, 3))
    one.release()
    two.release()


def test_no_cores_are_taken_where_none_are_asked_for_or_too_few_are_there(tmp_path: Path) -> None:
    assert take(Runtime(), MACHINE, tmp_path).cpus is None
    assert take(Runtime(cores=8), MACHINE, tmp_path).cpus is None
    assert not list(tmp_path.iterdir())


TAKER = """
import sys
from pathlib import Path
from eightfold.prediction.ray_cores import take
from eightfold.running.settings import Runtime
from eightfold.system.topology import Core, Topology
machine = Topology((Core((0,), 0, 0), Core((1,), 0, 0)))
print(take(Runtime(cores=2), machine, Path(sys.argv[1])).cpus, flush=True)
sys.stdin.read()
"""


def test_a_process_that_is_killed_gives_its_cores_back(tmp_path: Path) -> None:
    taker = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(tmp_path)],
        env={**os.environ, **this_eightfold()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert taker.stdout is not None
        assert taker.stdout.readline() == "(0, 1)\n"
        assert take(TWO_CORES, Topology(MACHINE.cores[:2]), tmp_path, patience=0.0).cpus is None
        taker.send_signal(signal.SIGKILL)
        again = take(TWO_CORES, Topology(MACHINE.cores[:2]), tmp_path)
        assert again.cpus == (0, 1)
        again.release()
    finally:
        taker.kill()
        taker.communicate()


def test_an_instance_takes_physical_cores_however_ray_counts() -> None:
    logical, physical, small = NODE, replace(NODE, cpus=4.0), replace(NODE, cpus=1.0)
    assert claim([logical], TWO_CORES) == 4  # two CPUs of Ray's for each core
    assert claim([physical], TWO_CORES) == 2
    assert room([logical], TWO_CORES) == room([physical], TWO_CORES) == 2
    assert claim([logical, physical], TWO_CORES) == 2
    assert room([small, small], Runtime(intra=1)) == 2


def test_nodes_without_room_are_refused() -> None:
    with pytest.raises(PlatformError, match=r"has the 8 CPUs that an instance needs \(10.0.0.1 has 2\)"):
        room([replace(NODE, cpus=2.0)], Runtime(cores=8))
    with pytest.raises(PlatformError, match="it has none"):
        room([], Runtime())


def test_a_node_that_lacks_files_is_named() -> None:
    with pytest.raises(PlatformError, match=r"node 10.0.0.1 does not see /nets/net as this machine does.*share"):
        check([NODE, replace(NODE, lacking=("/nets/net",))], HERE)


def test_a_node_with_another_version_is_named() -> None:
    other = replace(NODE, name="10.0.0.2", versions={**HERE, "tensorflow": "2.16.1"})
    with pytest.raises(PlatformError, match=r"node 10.0.0.2 has tensorflow 2.16.1 and this machine has 2.21.0"):
        check([NODE, other], HERE)
    check([NODE, NODE], HERE)


def test_cpus_of_several_kinds_are_told_of() -> None:
    assert notes([NODE, NODE]) == ()
    (said,) = notes([NODE, replace(NODE, name="10.0.0.2", instructions=("AVX2",))])
    assert "10.0.0.1 has AVX2, AVX-512 VNNI; 10.0.0.2 has AVX2" in said


def test_a_node_tells_what_it_does_not_see(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    job = tmp_path / "job.json"
    content = Job(Call(str(tmp_path / "net")), 8, 100, 8, "listing.json").to_json()
    assert look(str(job), content)["lacking"] == (str(tmp_path),)
    job.write_text("another job")
    assert look(str(job), content)["lacking"] == (str(tmp_path),)
    job.write_text(content)
    seen = look(str(job), content)
    assert seen["lacking"] == ()
    assert seen["cores"] >= 1
    assert seen["versions"] == versions()
    (tmp_path / "net").rmdir()
    assert look(str(job), content)["lacking"] == (str(tmp_path / "net"),)


def test_looking_at_versions_loads_nothing() -> None:
    code = "import sys; from eightfold.prediction.ray_nodes import versions; print(versions()['tensorflow']); "
    code += "sys.exit('tensorflow' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **this_eightfold()},
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.startswith("2.")


def test_errors_come_through_as_they_were() -> None:
    error = error_of(error_answer(DataError("row 7 is bad"), "on the node a: "))
    assert type(error) is DataError
    assert str(error) == "on the node a: row 7 is bad"
    missing = error_of(error_answer(MissingExtraError("pillow", "images", "reading photos")))
    assert isinstance(missing, MissingExtraError)
    assert str(missing).startswith("reading photos needs the package 'pillow'")


def test_answers_are_gathered_without_losing_any() -> None:
    assert list(gathered(range(5), 0.0)) == [[0], [1], [2], [3], [4]]
    assert list(gathered(range(5), 60.0)) == [[0, 1, 2, 3, 4]]
    assert list(gathered([], 0.0)) == []


def test_what_was_gathered_before_an_error_is_dropped_with_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise DataError("row 2 is bad")

    with pytest.raises(DataError):
        list(gathered(failing(), 60.0))
