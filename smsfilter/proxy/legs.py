"""The two connections of a pair as asyncio protocols: they pass each event to the relay.

uvloop and asyncio close a connection when a callback raises; here the relay is told, so that the
other leg ends too and the error is logged with its session.
"""

import asyncio
from typing import Protocol, cast


class Pair(Protocol):
    """What a relay does with the events of its legs."""

    def esme_made(self, transport: asyncio.Transport) -> None:
        """The ESME's connection is ready."""

    def from_esme(self, data: bytes) -> None:
        """Octets of the ESME."""

    def esme_ended(self) -> None:
        """The ESME sends no more (FIN)."""

    def esme_lost(self, error: Exception | None) -> None:
        """The ESME's connection is gone."""

    def esme_full(self, full: bool) -> None:
        """More than the high-water mark is unread by the ESME, or no longer."""

    def from_smsc(self, data: bytes) -> None:
        """Octets of the SMSC."""

    def smsc_lost(self, leg: "SmscLeg", error: Exception | None) -> None:
        """This connection to the SMSC is gone."""

    def smsc_full(self, full: bool) -> None:
        """More than the high-water mark is not taken by the SMSC, or no longer."""

    def crash(self, error: Exception) -> None:
        """One of the above raised."""


class EsmeLeg(asyncio.Protocol):
    """The connection that the ESME made."""

    __slots__ = ("pair",)

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `Pair.esme_made`."""
        self.pair.esme_made(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        """See `Pair.from_esme`."""
        try:
            self.pair.from_esme(data)
        except Exception as error:
            self.pair.crash(error)

    def eof_received(self) -> bool:
        """See `Pair.esme_ended`. The connection stays: what is owed to it may still be read."""
        self.pair.esme_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See `Pair.esme_lost`."""
        self.pair.esme_lost(exc)

    def pause_writing(self) -> None:
        """See `Pair.esme_full`."""
        self.pair.esme_full(True)

    def resume_writing(self) -> None:
        """See `Pair.esme_full`."""
        self.pair.esme_full(False)


class SmscLeg(asyncio.Protocol):
    """The connection made to the SMSC for one ESME."""

    __slots__ = ("pair",)

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def data_received(self, data: bytes) -> None:
        """See `Pair.from_smsc`."""
        try:
            self.pair.from_smsc(data)
        except Exception as error:
            self.pair.crash(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `Pair.smsc_lost`."""
        self.pair.smsc_lost(self, exc)

    def pause_writing(self) -> None:
        """See `Pair.smsc_full`."""
        self.pair.smsc_full(True)

    def resume_writing(self) -> None:
        """See `Pair.smsc_full`."""
        self.pair.smsc_full(False)
