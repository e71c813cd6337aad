"""TLS of a leg: between a TCP transport and the leg's protocol, on any event loop.

The ciphers are OpenSSL's, by the `ssl` module's memory buffers. The transports of asyncio and
uvloop that do the same cannot be closed in one direction, throw away what is written after the
peer's close_notify and hide what was not sent yet; a leg needs all three as it has them on plain
TCP: an ESME that has said FIN still gets its answers, one that is closed loses none that is on its
way, and limits count octets that wait. So this passes each of them on to TCP. There is no way
back to plain text, and no error may hold more than OpenSSL's name of it.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from hashlib import sha256
from typing import Any, cast

from smsfilter.proxy.handshakes import Handshakes

RECORD_MOST = 1 << 14
"""Octets that a record of TLS holds at most (RFC 8446 §5.1)."""

Decided = Callable[[Exception | None], None]
"""Called once, at the end of a handshake, with what is wrong if it failed."""


class CrowdedError(ConnectionError):
    """Too many handshakes are under way."""


class TLSTransport(asyncio.Transport, asyncio.Protocol):
    """To the leg it is the transport, to TCP it is the protocol.

    The leg has it from the beginning, to close it; the leg's octets flow after the handshake.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        leg: asyncio.Protocol,
        decided: Decided,
        server_name: str | None = None,
        handshakes: Handshakes | None = None,
    ) -> None:
        """`server_name` is who is called; without it TLS is the server's, with `handshakes`."""
        super().__init__()
        self._handshakes = handshakes
        self._leg = leg
        self._decided: Decided | None = decided
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(
            self._in, self._out, server_side=server_name is None, server_hostname=server_name
        )
        self._secured = False  # the handshake is over
        self._deaf = False  # what still comes is thrown away
        self._silent = False  # nothing more is said
        self._ended = False  # the leg knows that the peer has ended
        self._error: Exception | None = None
        self._tcp: asyncio.Transport

    # --- to TCP it is the protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is there: introduce the leg, and say hello where that is ours to do."""
        self._tcp = cast(asyncio.Transport, transport)
        self._leg.connection_made(self)
        self._shake()

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or hand the leg what is in the records."""
        if self._deaf:
            return
        self._in.write(data)
        if self._secured:
            self._read()
        elif self._handshakes is None:
            self.go_on()
        else:
            self._tcp.pause_reading()  # until its turn comes, what is said waits with the kernel
            self._handshakes.want(self)

    def go_on(self) -> bool:
        """Go on with the handshake; whether the peer has to say more. See `handshakes.Shaking`."""
        if self._tcp.is_closing():
            return False
        if self._handshakes is not None:
            self._tcp.resume_reading()
        if not self._deaf:
            self._shake()
        if self._secured and not self._deaf:
            self._read()
        return not (self._secured or self._deaf)

    def turn_away(self) -> None:
        """Close, as there is no room for another handshake."""
        self.abort()
        self._decide(CrowdedError("too many handshakes are under way"))

    def eof_received(self) -> bool:
        """FIN, with or without a close_notify before it: PDUs that came whole are whole."""
        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """TCP is gone."""
        self._deaf = self._silent = True
        self._leg.connection_lost(self._error or exc)
        self._decide(exc or ConnectionResetError("closed in the middle of the handshake"))

    def pause_writing(self) -> None:
        """Pass it on."""
        self._leg.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._leg.resume_writing()

    def _shake(self) -> None:
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()  # the alert, which tells the peer
            self._deaf = self._silent = True
            self._decide(error)
            return
        self._secured = True
        self._flush()
        self._decide(None)

    def _decide(self, error: Exception | None) -> None:
        """Tell how the handshake has ended, once."""
        decided, self._decided = self._decided, None
        if self._handshakes is not None:
            self._handshakes.over(self)
        if decided is not None:
            decided(error)

    def _read(self) -> None:
        pieces: list[bytes] = []
        ended, error = False, None
        try:
            while not ended and (self._in.pending or self._ssl.pending()):
                piece = self._ssl.read(RECORD_MOST)
                pieces.append(piece)
                ended = not piece
        except ssl.SSLWantReadError:
            pass  # the rest of a record is still to come
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as said:
            error = said
        self._flush()  # answers of TLS itself, such as to a change of keys
        if data := b"".join(pieces):
            self._leg.data_received(data)
        if error is not None:
            self._break(error)
        elif ended:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = self._deaf = True
            if not self._leg.eof_received():
                self.close()

    def _break(self, error: Exception) -> None:
        """Nothing that comes can be trusted any more; what is on its way to the peer still can."""
        self._deaf = True
        if not self._silent:
            self._error = error
            self.abort()

    def _flush(self) -> None:
        if self._out.pending and not (self._silent or self._tcp.is_closing()):
            self._tcp.write(self._out.read())

    # --- to the leg it is the transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send. Before the handshake is over there is nothing to say."""
        if self._silent or not self._secured:
            return
        left = memoryview(data)
        try:
            while left:
                left = left[self._ssl.write(left) :]
        except ssl.SSLError as error:
            self._break(error)
            return
        self._flush()

    def can_write_eof(self) -> bool:
        """Tell that it can be closed in one direction."""
        return True

    def write_eof(self) -> None:
        """Say close_notify and FIN; the peer may go on speaking."""
        self._part()
        self._tcp.write_eof()

    def close(self) -> None:
        """Say close_notify and close TCP, once everything is sent."""
        self._part()
        self._deaf = True
        self._tcp.close()

    def abort(self) -> None:
        """Close TCP at once."""
        self._deaf = self._silent = True
        self._tcp.abort()

    def _part(self) -> None:
        if not self._silent and self._secured:
            with contextlib.suppress(ssl.SSLError):  # the peer's close_notify is not waited for
                self._ssl.unwrap()
            self._flush()
        self._silent = True
        self._deaf = self._deaf or not self._secured  # a handshake cannot go on alone

    def is_closing(self) -> bool:
        """Whether TCP is closing."""
        return self._tcp.is_closing()

    def pause_reading(self) -> None:
        """Pass it on; nothing that was read is kept back here."""
        self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Pass it on."""
        self._tcp.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pass it on."""
        self._tcp.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Count what TCP has not taken; nothing waits here."""
        return self._tcp.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, or what TCP knows."""
        return self._ssl if name == "ssl_object" else self._tcp.get_extra_info(name, default)


def names_of(transport: asyncio.Transport | None) -> frozenset[str]:
    """What the peer's verified certificate is called, as the policy's `certificates` says it."""
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    octets = tls.getpeercert(binary_form=True) if tls is not None else None
    if tls is None or octets is None:
        return frozenset()
    said: dict[str, Any] = tls.getpeercert() or {}
    subject = [pair for part in said.get("subject", ()) for pair in part]
    return frozenset(
        (
            f"sha256:{sha256(octets).hexdigest()}",
            *(f"cn:{name}" for kind, name in subject if kind == "commonName"),
            *(
                f"dns:{name.lower()}"
                for kind, name in said.get("subjectAltName", ())
                if kind == "DNS"
            ),
        )
    )
