"""How workers find each other, and whom they refuse."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest
from joined import seats, together

from eightfold.errors import PlatformError, RecipeError
from eightfold.training.rendezvous import meet
from eightfold.training.seat import Address, Seat, addresses, cluster, given

FACTS = {"recipe": "12ab", "data": "98cd"}


def met(places: list[Seat], facts: list[dict[str, str]], patience: float = 10, say: Any = print) -> list[Any]:
    found = together([lambda s=s, f=f: meet(s, f, patience, say) for s, f in zip(places, facts, strict=True)])
    for links in found:
        for link in links.values() if isinstance(links, dict) else ():
            link.data.close()
            link.pulse.close()
    return found


def test_all_are_connected_with_all() -> None:
    assert [sorted(links) for links in met(seats(3), [FACTS] * 3)] == [[1, 2], [0, 2], [0, 1]]


def test_another_job_is_refused_by_both() -> None:
    errors = met(seats(2), [FACTS, {**FACTS, "data": "0000"}])
    assert all(isinstance(error, PlatformError) for error in errors)
    assert "worker 1 has another job than worker 0: data is 0000 there and 98cd here" in str(errors[0])
    assert "worker 0 has another job than worker 1: data is 98cd there and 0000 here" in str(errors[1])


def test_another_secret_is_refused() -> None:
    first, second = seats(2)
    said: list[str] = []
    errors = met([first, replace(second, secret="guess")], [FACTS] * 2, patience=1, say=said.append)
    assert "has another secret than worker 1 of 2" in str(errors[1])
    assert "has waited 1 s for worker 1" in str(errors[0])
    assert len(said) == 1
    assert said[0].startswith("refused a connection from 127.0.0.1")


def test_another_number_of_workers_is_refused() -> None:
    first, second, third = seats(3)
    two = replace(first, addresses=first.addresses[:2])
    errors = met([two, replace(second, addresses=third.addresses)], [FACTS] * 2, patience=1)
    assert "it takes this for worker 0 of 3 (protocol 2), and this is worker 0 of 2" in str(errors[1])


def test_strangers_keep_nobody_out() -> None:
    first, second = seats(2)
    said: list[str] = []

    def scan() -> None:
        for sent in (b"GET / HTTP/1.1\r\n\r\n", b'{"eightfold": "1"}\n', b"x" * 70000, b""):
            with socket.create_connection((first.addresses[0].host, first.addresses[0].port)) as link:
                link.sendall(sent)

    scan()
    found = met([first, second], [FACTS] * 2, say=said.append)
    assert [sorted(links) for links in found] == [[1], [0]]
    assert len(said) == 4
    assert "does not speak as a worker does: b'GET / HTTP" in said[0]


def test_who_does_not_come_is_named() -> None:
    first, second = seats(2)
    with pytest.raises(PlatformError, match=r"worker 0 of 2 has waited 0 s for worker 1 at 127.0.0.1:\d+"):
        meet(first, FACTS, 0.3)
    with pytest.raises(
        PlatformError, match=r"worker 1 of 2 cannot reach worker 0 at 127.0.0.1:\d+: Connection refused"
    ):
        meet(second, FACTS, 0.3)


def test_a_cluster_is_read() -> None:
    assert addresses("a:1, [::1]:22") == (Address("a", 1), Address("::1", 22))
    assert [str(one) for one in addresses("a:1,[::1]:22")] == ["a:1", "[::1]:22"]
    seat = cluster("192.0.2.1:2222,127.0.0.1:2222", secret="word")
    assert (seat.rank, seat.name) == (1, "worker 1 of 2")
    assert "word" not in repr(seat)
    assert cluster("192.0.2.1:2222,127.0.0.1:2222", 0).rank == 0


@pytest.mark.parametrize(
    ("text", "index", "message"),
    [
        ("a", None, "cannot read 'a' as the address of a worker; expected host:port"),
        ("a:x", None, "cannot read 'a:x'"),
        ("a:70000", None, "cannot read 'a:70000'"),
        ("a:1,a:1", None, "an address stands twice"),
        ("192.0.2.1:1", None, "none of the hosts in '192.0.2.1:1' are this machine"),
        ("127.0.0.1:1,127.0.0.1:2", None, "2 of the hosts .* expected one, or its number with --worker-index"),
        ("a:1", 1, "there is no worker 1; expected 0 to 0"),
    ],
)
def test_what_makes_no_sense_is_told(text: str, index: int | None, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        cluster(text, index)


def test_a_process_that_nobody_launched_has_no_seat() -> None:
    assert given({}) is None


def test_a_worker_without_its_launcher_does_not_begin() -> None:
    import subprocess
    import sys

    code = (
        "import os; from eightfold.training.seat import *; "
        "given(Seat(0, (Address('127.0.0.1', 1),)).variables(os.getpid()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "PlatformError: the process that started this worker has ended" in done.stderr


def test_ports_of_ones_own_are_listened_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        text = ",".join(f"127.0.0.1:{each.getsockname()[1]}" for each in (one, two))
        with pytest.raises(PlatformError, match="worker 0 of 2 cannot listen at .*: Address already in use"):
            meet(cluster(text, 0), FACTS, 1)
    found = met([cluster(text, 0), cluster(text, 1)], [FACTS] * 2)
    assert [sorted(links) for links in found] == [[1], [0]]
