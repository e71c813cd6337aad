"""Octets in front of a connection: whatever their pieces, none is lost and none is read twice."""

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from smsfilter.proxy.entrance import Entrance

HEADER = b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 2775\r\n"


class Transport(asyncio.Transport):
    """One that only knows its protocol."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class Behind(asyncio.Protocol):
    """What stands behind the entrance."""

    def __init__(self) -> None:
        self.heard = b""
        self.told: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        assert data
        self.heard += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")


class Door:
    """An entrance with everything around it."""

    def __init__(self) -> None:
        self.behind = Behind()
        self.came: list[str | None] = []
        self.refused: list[Exception] = []
        self.transport = Transport()
        self.entrance = Entrance(self.behind, self.came.append, self.refused.append)
        self.transport.set_protocol(self.entrance)
        self.entrance.connection_made(self.transport)

    def feed(self, octets: bytes, cuts: set[int]) -> None:
        """Hand the octets over in pieces, as a transport does."""
        edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(octets)), len(octets)]
        for start, end in itertools.pairwise(edges):
            if start < end:
                protocol = self.transport.protocol
                assert isinstance(protocol, asyncio.Protocol)
                protocol.data_received(octets[start:end])


@given(st.binary(max_size=100), st.sets(st.integers(0, 150), max_size=20))
def test_what_follows_the_header_arrives_whole(rest: bytes, cuts: set[int]) -> None:
    door = Door()
    door.feed(HEADER + rest, cuts)
    assert (door.came, door.refused) == (["192.0.2.1"], [])
    assert door.behind.heard == rest
    assert door.transport.protocol is door.behind


@given(st.sets(st.integers(0, 60), max_size=20))
def test_what_is_no_header_is_refused_once_and_reaches_nobody(cuts: set[int]) -> None:
    door = Door()
    door.feed(b"PROXY TCP5 " + HEADER, cuts)
    assert (door.came, len(door.refused)) == ([], 1)
    assert door.behind.heard == b""


def test_the_connection_is_that_of_the_protocol_behind_from_the_beginning() -> None:
    door = Door()
    door.feed(HEADER[:20], set())
    assert door.entrance.eof_received() is True
    door.entrance.connection_lost(None)
    assert door.behind.told == ["made", "eof", "lost"]
    assert (door.came, door.refused, door.behind.heard) == ([], [], b"")
