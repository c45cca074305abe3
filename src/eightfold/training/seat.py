"""Which worker a process is, and where the others are."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import json
import os
import signal
import socket
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass, field

from eightfold.errors import PlatformError, RecipeError

__all__ = ["SEAT", "SECRET", "Address", "Seat", "addresses", "cluster", "given"]

SEAT = "EIGHTFOLD_WORKER"
"""The variable in which the launcher tells a worker its seat, as JSON."""
SECRET = "EIGHTFOLD_CLUSTER_SECRET"
"""The variable with the word that workers on several machines know each other by."""
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Address:
    """Where a worker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of one worker among the others.

    Attributes:
        rank: its number, from 0.
        addresses: where each worker listens, by rank.
        secret: what all of them know and nobody else does.
        listener: the file descriptor of a socket that listens for it already; None: it opens its own.
        memory: that of memory which all of them share; None: they are on several machines.
    """

    rank: int
    addresses: tuple[Address, ...]
    secret: str = field(default="", repr=False)
    listener: int | None = None
    memory: int | None = None

    @property
    def count(self) -> int:
        """How many workers there are."""
        return len(self.addresses)

    @property
    def name(self) -> str:
        """For messages: "worker 1 of 2"."""
        return f"worker {self.rank} of {self.count}"

    def variables(self, parent: int) -> dict[str, str]:
        """The environment that `given` reads.

        Args:
            parent: the process that the worker ends with.
        """
        return {SEAT: json.dumps({**asdict(self), "parent": parent})}


def given(env: MutableMapping[str, str]) -> Seat | None:
    """The seat that the launcher has given to this process; None where it was started by somebody else.

    It is taken out of the environment, so that a process which this one starts is no worker too.

    From now on the process ends when the launcher does, even by kill -9: a worker without one would compute on for
    nobody.

    Raises:
        PlatformError: the launcher has ended already.
    """
    if SEAT not in env:
        return None
    said = json.loads(env.pop(SEAT))
    _end_with(said.pop("parent"))
    return Seat(**{**said, "addresses": tuple(Address(**one) for one in said["addresses"])})


def cluster(text: str, index: int | None = None, secret: str = "") -> Seat:
    """The seat of this machine in a cluster.

    Args:
        text: "host:port,host:port", the same on all machines; the first is worker 0.
        index: which of them this one is; None finds the one whose host is this machine.
        secret: what all workers know; those with another are refused.

    Raises:
        RecipeError: the text or the index makes no sense, or none or several of the hosts are this machine.
        PlatformError: a host has no address.
    """
    places = addresses(text)
    if index is None:
        here = [number for number, place in enumerate(places) if _is_here(place.host)]
        if len(here) != 1:
            which = "none" if not here else f"{len(here)}"
            raise RecipeError(
                f"{which} of the hosts in {text!r} are this machine; expected one, or its number with --worker-index"
            )
        index = here[0]
    if not 0 <= index < len(places):
        raise RecipeError(f"there is no worker {index}; expected 0 to {len(places) - 1}, one for each of {text!r}")
    return Seat(index, places, secret)


def addresses(text: str) -> tuple[Address, ...]:
    """The addresses in "host:port,host:port"; that of an IPv6 host is written [::1]:port.

    Raises:
        RecipeError: it is something else, or one stands there twice.
    """
    found = tuple(_address(part.strip()) for part in text.split(","))
    if len(set(found)) < len(found):
        raise RecipeError(f"an address stands twice in {text!r}; expected one for each worker")
    return found


def _address(part: str) -> Address:
    host, colon, port = part.rpartition(":")
    if not host or not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise RecipeError(f"cannot read {part!r} as the address of a worker; expected host:port, as in 10.0.0.1:2222")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def resolved(host: str) -> list[str]:
    """The numeric addresses of a host.

    Raises:
        PlatformError: it has none.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise PlatformError(f"the host {host!r} has no address: {error.strerror}") from error
    return [str(place[0]) for *_, place in found]


def is_loopback(host: str) -> bool:
    """Whether a host can be reached from its own machine only."""
    return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in resolved(host))


def _is_here(host: str) -> bool:
    """A socket can be bound to addresses of this machine alone."""
    for one in resolved(host):
        family = socket.AF_INET6 if ":" in one else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((one, 0))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:  # which is the answer "elsewhere"
                    raise
            else:
                return True
    return False


def _end_with(parent: int) -> None:
    """Lets the kernel kill this process when its parent ends; man 2 prctl, PR_SET_PDEATHSIG."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise PlatformError(f"a worker cannot be tied to its launcher: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it ended before this was said
        raise PlatformError("the process that started this worker has ended")
