"""TLS between a transport and a leg, without a socket: octets, ends and nonsense in any pieces."""

import asyncio
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsfilter.proxy.tls import TLSTransport, names_of
from smsfilter.tls import ClientTLS, ServerTLS, told
from tests.fakes.certificates import HOST, Authority


class Wire(asyncio.Transport):
    """TCP without a network: what is written waits until the test carries it over."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.eof = self.closed = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof, "nothing may follow FIN"
        self.sent += data

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return len(self.sent)


class Leg(asyncio.Protocol):
    """Whoever uses TLS; it stays when the other side ends."""

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
        self.told.append("lost" if exc is None else "broken")


class End:
    """One side: a leg, its TLS, its wire."""

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        self.leg, self.wire = Leg(), Wire()
        self.decided: list[Exception | None] = []
        self.tls = TLSTransport(context, self.leg, self.decided.append, server_name)
        self.tls.connection_made(self.wire)

    def take_from(self, other: "End", piece: int = 1 << 20) -> bool:
        """Carry over what the other has written; whether there was any."""
        octets = bytes(other.wire.sent)
        other.wire.sent.clear()
        for at in range(0, len(octets), piece):
            self.tls.data_received(octets[at : at + piece])
        return bool(octets)


Pair = Callable[..., tuple[End, End]]


def carry(one: End, other: End, piece: int = 1 << 20) -> None:
    """Until both are silent."""
    while one.take_from(other, piece) | other.take_from(one, piece):
        pass


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """Makes the two sides, with the contexts of the configuration; the handshake is over."""
    own = authority.issue("proxy")
    server = ServerTLS(certificate=own.certificate, key=own.key).read().context
    client = ClientTLS(ca=authority.ca).read().context

    def make(
        piece: int = 1 << 20, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> tuple[End, End]:
        client.maximum_version = version
        ends = End(client, HOST), End(server)
        carry(*ends, piece)
        assert [end.decided for end in ends] == [[None], [None]]
        return ends

    return make


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
writes = st.lists(
    st.tuples(st.booleans(), st.binary(max_size=600).map(lambda data: data * 80)), max_size=8
)


@settings(deadline=None, max_examples=40)
@given(writes, st.integers(1, 40_000), st.sampled_from(VERSIONS))
def test_octets_arrive_whole_and_in_order_in_any_pieces(
    pair: Pair, written: list[tuple[bool, bytes]], piece: int, version: ssl.TLSVersion
) -> None:
    client, server = pair(version=version)
    said = {True: b"", False: b""}
    for by_client, data in written:
        (client if by_client else server).tls.write(data)
        said[by_client] += data
        if len(data) % 3 == 0:
            carry(client, server, piece)
    carry(client, server, piece)
    assert (server.leg.heard, client.leg.heard) == (said[True], said[False])


def test_a_handshake_in_single_octets(pair: Pair) -> None:
    client, server = pair(piece=1)
    client.tls.write(b"hello")
    carry(client, server, 1)
    assert server.leg.heard == b"hello"


@pytest.mark.parametrize("version", VERSIONS)
def test_who_has_said_that_it_ends_is_still_answered(pair: Pair, version: ssl.TLSVersion) -> None:
    client, server = pair(version=version)
    client.tls.write(b"the last")
    client.tls.write_eof()
    carry(client, server)
    assert client.wire.eof
    assert (server.leg.heard, server.leg.told) == (b"the last", ["made", "eof"])
    server.tls.eof_received()
    assert server.leg.told == ["made", "eof"], "it is told once"
    server.tls.write(b"the answer")
    server.tls.close()
    client.take_from(server)
    assert client.leg.heard == b"the answer"
    assert client.leg.told == ["made", "eof"]
    assert server.wire.closed


def test_who_is_closed_gets_what_was_written_and_may_go_on_speaking(pair: Pair) -> None:
    client, server = pair()
    server.tls.write(b"x" * 100_000)
    server.tls.write_eof()
    for _ in range(3):
        client.tls.write(b"not heard")
    server.take_from(client)
    server.tls.data_received(b"\x17\x03\x03\x00\x20" + bytes(32))  # what follows makes no sense
    assert not server.wire.closed
    client.take_from(server)
    assert client.leg.heard == b"x" * 100_000


def test_nothing_is_written_once_it_has_ended(pair: Pair) -> None:
    client, server = pair()
    for end in (server.tls.write_eof, server.tls.close, server.tls.abort):
        end()
        said = bytes(server.wire.sent)
        server.tls.write(b"late")
        assert bytes(server.wire.sent) == said
    client.take_from(server)
    assert client.leg.heard == b""


@settings(deadline=None, max_examples=60)
@given(octets=st.binary(max_size=400), piece=st.integers(1, 100), early=st.booleans())
def test_nonsense_ends_the_connection_and_raises_nothing(
    pair: Pair, authority: Authority, octets: bytes, piece: int, early: bool
) -> None:
    client, server = pair()
    if early:
        server = End(authority.server(authority.issue("other")))
    for at in range(0, len(octets), piece):
        server.tls.data_received(octets[at : at + piece])
    server.tls.connection_lost(None)
    client.tls.connection_lost(ConnectionResetError())
    assert server.leg.heard == b""
    assert server.leg.told[-1] in ("lost", "broken")
    assert client.leg.told == ["made", "broken"]
    assert len(server.decided) == 1


def test_a_broken_record_is_told_as_the_end(pair: Pair) -> None:
    client, server = pair()
    client.tls.write(b"good")
    server.take_from(client)
    server.tls.data_received(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert server.wire.aborted
    server.tls.connection_lost(None)
    assert server.leg.heard == b"good"
    assert server.leg.told == ["made", "broken"]


def test_an_end_in_the_middle_of_the_handshake_is_a_failure_of_it(authority: Authority) -> None:
    client = End(authority.client(), HOST)
    client.tls.connection_lost(None)
    (error,) = client.decided
    assert isinstance(error, ConnectionResetError)
    assert client.leg.told == ["made", "lost"]


@pytest.mark.parametrize("end", ["write_eof", "close", "abort"])
def test_who_is_closed_in_the_middle_of_the_handshake_hears_no_more(
    authority: Authority, end: str
) -> None:
    client, server = End(authority.client(), HOST), End(authority.server(authority.issue("proxy")))
    getattr(server.tls, end)()
    server.take_from(client)
    assert server.wire.sent == b""
    assert (server.leg.heard, server.decided) == (b"", [])


def shaken(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[End, End]:
    ends = End(client, HOST), End(server)
    carry(*ends)
    return ends


def test_a_certificate_is_named_by_fingerprint_common_name_and_dns(authority: Authority) -> None:
    proxy = authority.issue("proxy")
    own = authority.issue("esme", "A.example", "*.b.example", "192.0.2.1", common_name="Acme Ltd")
    section = ServerTLS(certificate=proxy.certificate, key=proxy.key, client_ca=authority.ca)
    client, server = shaken(authority.client(own), section.read().context)
    assert server.decided == [None]
    names = {own.fingerprint, "cn:Acme Ltd", "dns:a.example", "dns:*.b.example"}
    assert names_of(server.tls) == names
    assert f"{names_of(client.tls)}".count("dns:localhost") == 1


def test_without_a_certificate_or_without_tls_there_is_no_name(pair: Pair) -> None:
    _, server = pair()
    assert names_of(server.tls) == names_of(Wire()) == names_of(None) == frozenset()


def test_a_single_self_signed_certificate_can_be_trusted(
    authority: Authority, tmp_path: Path
) -> None:
    """As docs/tls.md makes one."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90"
    names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    own = {"certificate": tmp_path / "crt", "key": tmp_path / "key"}
    client, server = shaken(
        ClientTLS(ca=tmp_path / "crt", **own).read().context,
        ServerTLS(client_ca=tmp_path / "crt", **own).read().context,
    )
    assert (client.decided, server.decided) == ([None], [None])
    stranger = authority.client(authority.issue("stranger"))
    stranger.load_verify_locations(tmp_path / "crt")
    _, server = shaken(stranger, ServerTLS(client_ca=tmp_path / "crt", **own).read().context)
    (error,) = server.decided
    assert error is not None
    assert told(error).startswith("TLS: the certificate is not accepted: ")


def test_no_session_is_resumed(authority: Authority) -> None:
    own = authority.issue("proxy")
    server = ServerTLS(certificate=own.certificate, key=own.key).read().context
    for version in VERSIONS:
        client = authority.client(version=version)
        first, other = shaken(client, server)
        other.tls.write(b"so that tickets would come too")
        carry(first, other)
        session = first.tls.get_extra_info("ssl_object").session
        assert not (session and session.has_ticket)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "[Errno 111] Connection refused"),
        (TimeoutError(), "TimeoutError"),
        (ssl.SSLError(1, "odd"), "TLS: odd"),
    ],
)
def test_failures_in_words(error: Exception, words: str) -> None:
    assert told(error) == words


def test_what_is_left_to_send_is_counted_by_tcp(pair: Pair) -> None:
    client, server = pair()
    client.tls.write(b"x" * 40_000)
    assert client.tls.get_write_buffer_size() > 40_000
    server.take_from(client)
    assert client.tls.get_write_buffer_size() == 0
    assert len(server.leg.heard) == 40_000
