"""How workers find each other, make sure of each other, and refuse those that do not belong to them.

The worker of the higher rank connects to that of the lower one, twice: once for data, once for signs of life. Both
prove that they know the same secret without sending it (a challenge and its HMAC, RFC 2104, in both directions), and
then compare the facts of their jobs. Messages are lines of JSON; nothing that comes is executed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

from eightfold.errors import PlatformError
from eightfold.training.mesh import Link
from eightfold.training.seat import Seat, is_loopback

__all__ = ["PATIENCE", "meet"]

PATIENCE = 120.0
"""Seconds in which all workers must have come."""
PROTOCOL = 2
CHANNELS = ("data", "pulse")
ANSWER = 10.0
"""Seconds in which whoever connects must say who it is, so that strangers keep nobody waiting."""
LONGEST = 65536
"""Bytes of a message."""
PAUSE = 0.2

Found = TypeVar("Found")


class Stranger(Exception):
    """What is at the other end is no worker of this job; others may still come."""


def meet(
    seat: Seat, facts: Mapping[str, str], patience: float = PATIENCE, say: Callable[[str], None] = lambda _: None
) -> dict[int, Link]:
    """Connects this worker with all others.

    Args:
        seat: of this worker.
        facts: what must be the same on all workers, such as the data's digest, by name.
        patience: seconds to wait for the others.
        say: is told of connections that are refused.

    Returns:
        The connections, by rank.

    Raises:
        PlatformError: a worker has not come in time, has another secret or other facts, or the port is taken.
    """
    deadline = time.monotonic() + patience
    with ExitStack() as stack, _listener(seat) as listener:
        links: dict[tuple[int, str], socket.socket] = {}
        for rank in range(seat.rank):
            for channel in CHANNELS:
                links[rank, channel] = _connected(seat, rank, channel, facts, deadline, patience)
                stack.callback(links[rank, channel].close)
        for (rank, channel), link in _accepted(seat, listener, facts, deadline, patience, say):
            links[rank, channel] = link
            stack.callback(link.close)
        stack.pop_all()
    return {rank: Link(links[rank, "data"], links[rank, "pulse"]) for rank, _ in sorted(links)}


def _listener(seat: Seat) -> socket.socket:
    if seat.listener is not None:
        return socket.socket(fileno=seat.listener)
    own = seat.addresses[seat.rank]
    here = all(is_loopback(place.host) for place in seat.addresses)
    both = socket.has_dualstack_ipv6() and not here
    family = socket.AF_INET6 if both or ":" in own.host else socket.AF_INET
    try:
        return socket.create_server((own.host if here else "", own.port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise PlatformError(f"{seat.name} cannot listen at {own}: {error.strerror}") from error


def _connected(
    seat: Seat, rank: int, channel: str, facts: Mapping[str, str], deadline: float, patience: float
) -> socket.socket:
    """Tries until the worker is there."""
    place = seat.addresses[rank]
    while True:
        left = deadline - time.monotonic()
        try:
            link = socket.create_connection((place.host, place.port), timeout=max(0.1, left))
        except OSError as error:
            why = error.strerror or str(error)
        else:
            try:
                _ready(link, partial(_introduced, seat=seat, rank=rank, channel=channel, facts=facts))
                return link
            except Stranger as stranger:
                why = str(stranger)
        if time.monotonic() + PAUSE > deadline:
            raise PlatformError(
                f"{seat.name} cannot reach worker {rank} at {place}: {why}; tried for {patience:.0f} s. Expected the "
                "same command to run there"
            )
        time.sleep(PAUSE)


def _accepted(
    seat: Seat,
    listener: socket.socket,
    facts: Mapping[str, str],
    deadline: float,
    patience: float,
    say: Callable[[str], None],
) -> Iterator[tuple[tuple[int, str], socket.socket]]:
    """Those of higher ranks as they come, each with its rank and channel."""
    missing = {(rank, channel) for rank in range(seat.rank + 1, seat.count) for channel in CHANNELS}
    while missing:
        listener.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            link, source = listener.accept()
        except TimeoutError:
            late = min(missing)[0]
            raise PlatformError(
                f"{seat.name} has waited {patience:.0f} s for worker {late} at {seat.addresses[late]}, which has not "
                "come; expected the same command to run there"
            ) from None
        try:
            who = _ready(link, partial(_received, seat=seat, missing=missing, facts=facts))
        except Stranger as stranger:
            say(f"refused a connection from {source[0]}: {stranger}")
            continue
        missing.discard(who)
        yield who, link


def _ready(link: socket.socket, introduce: Callable[[_Line], Found]) -> Found:
    """Lets both ends get to know each other; the connection is closed where they do not."""
    link.settimeout(ANSWER)
    try:
        found = introduce(_Line(link))
    except BaseException:
        link.close()
        raise
    link.settimeout(None)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def _introduced(line: _Line, seat: Seat, rank: int, channel: str, facts: Mapping[str, str]) -> None:
    """The part of the worker that connects."""
    nonce = secrets.token_hex(16)
    hello = {"eightfold": PROTOCOL, "from": seat.rank, "to": rank, "count": seat.count, "channel": channel}
    line.send(**hello, nonce=nonce)
    theirs = line.read(nonce=str, proof=str)
    proof = _Proof(seat.secret, hello, nonce, theirs["nonce"])
    if not proof.holds("accepts", theirs["proof"]):
        raise PlatformError(f"worker {rank} at {seat.addresses[rank]} has another secret than {seat.name}")
    line.send(proof=proof.of("connects"), facts=dict(facts))
    _compare(rank, line.read(facts=dict)["facts"], seat.rank, facts)


def _received(line: _Line, seat: Seat, missing: set[tuple[int, str]], facts: Mapping[str, str]) -> tuple[int, str]:
    """The part of the worker that is connected to."""
    hello = line.read(**{"eightfold": int, "from": int, "to": int, "count": int, "channel": str, "nonce": str})
    nonce, said = secrets.token_hex(16), hello.pop("nonce")
    wanted = {"eightfold": PROTOCOL, "to": seat.rank, "count": seat.count}
    if wrong := [name for name, value in wanted.items() if hello[name] != value]:
        line.refuse(
            f"it takes this for worker {hello['to']} of {hello['count']} (protocol {hello['eightfold']}), and this is "
            f"{seat.name} (protocol {PROTOCOL}): {', '.join(wrong)} differ"
        )
    rank, channel = hello["from"], hello["channel"]
    if (rank, channel) not in missing:
        line.refuse(f"a worker {rank} is not waited for, or is there already")
    proof = _Proof(seat.secret, hello, said, nonce)
    line.send(nonce=nonce, proof=proof.of("accepts"))
    theirs = line.read(proof=str, facts=dict)
    if not proof.holds("connects", theirs["proof"]):
        line.refuse("it has another secret")
    line.send(facts=dict(facts))
    _compare(rank, theirs["facts"], seat.rank, facts)
    return rank, channel


def _compare(rank: int, theirs: Mapping[str, Any], own_rank: int, own: Mapping[str, str]) -> None:
    for name in sorted({*theirs, *own}):
        if theirs.get(name) != own.get(name):
            raise PlatformError(
                f"worker {rank} has another job than worker {own_rank}: {name} is {theirs.get(name)} there and "
                f"{own.get(name)} here; expected the same on all workers"
            )


class _Proof:
    """That one knows the secret, for one connection alone."""

    def __init__(self, secret: str, hello: Mapping[str, Any], first: str, second: str) -> None:
        self._secret = secret.encode()
        self._about = json.dumps([hello, first, second], sort_keys=True)

    def of(self, who: str) -> str:
        return hmac.new(self._secret, f"{who} {self._about}".encode(), hashlib.sha256).hexdigest()

    def holds(self, who: str, proof: str) -> bool:
        return hmac.compare_digest(self.of(who).encode(), proof.encode())


class _Line:
    """Messages over one connection."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self._unread = link, b""

    def send(self, **message: Any) -> None:
        try:
            self._link.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise Stranger(f"it has closed the connection ({error})") from error

    def refuse(self, reason: str) -> None:
        self.send(refused=reason)
        raise Stranger(reason)

    def read(self, **fields: type) -> dict[str, Any]:
        """A message with these fields.

        Raises:
            Stranger: something else comes, or nothing.
            PlatformError: the other side refuses.
        """
        text = self._text()
        try:
            message = json.loads(text)
        except ValueError as error:
            raise Stranger(f"it does not speak as a worker does: {text[:40]!r}") from error
        if isinstance(message, dict) and "refused" in message:
            raise PlatformError(f"refused by the worker that was connected to: {message['refused']}")
        if not isinstance(message, dict) or any(type(message.get(name)) is not kind for name, kind in fields.items()):
            raise Stranger(f"it does not speak as a worker does: {text[:40]!r}")
        return {name: message[name] for name in fields}

    def _text(self) -> bytes:
        while b"\n" not in self._unread:
            try:
                came = self._link.recv(4096)
            except OSError as error:
                raise Stranger(f"it does not say who it is ({error})") from error
            if not came or len(self._unread) > LONGEST:
                raise Stranger("it has closed the connection" if not came else "its message is too long")
            self._unread += came
        text, _, self._unread = self._unread.partition(b"\n")
        return text
