"""The PROXY header: what is one, what is none, and that its pieces do not matter."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.proxy.proxy_protocol import (
    V1_MOST,
    V2_MOST,
    Header,
    HeaderError,
    parse,
)
from tests.fakes.balancer import V2_SIGNATURE, V4, v2

V6 = IPv6Address("2001:db8::1").packed + IPv6Address("::1").packed + b"\x30\x39\x0a\xd7"


WHOLE = [
    (b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 2775\r\n", "192.0.2.1"),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    (b"PROXY TCP6 2001:db8::1 ::1 0 1\r\n", "2001:db8::1"),
    (b"PROXY TCP6 2001:0DB8:0:0:0:0:0:1 ::1 0 1\r\n", "2001:db8::1"),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1\r\n", "192.0.2.1"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff what ever 1 2\r\n", None),
    (v2(), "192.0.2.1"),
    (v2(V4 + b"\x04\0\x01x"), "192.0.2.1"),  # an extension
    (v2(V6, family=0x21), "2001:db8::1"),
    (v2(IPv6Address("::ffff:192.0.2.1").packed + V6[16:], family=0x21), "192.0.2.1"),
    (v2(command=0x20), None),
    (v2(b"", command=0x20, family=0), None),
    (v2(b"", family=0), None),  # the balancer does not know
    (v2(bytes(V2_MOST - 16), command=0x20), None),
]


@pytest.mark.parametrize(("octets", "peer"), WHOLE)
def test_a_whole_header_is_read_and_measured(octets: bytes, peer: str | None) -> None:
    assert parse(octets) == Header(peer, len(octets))
    assert parse(octets + b"PROXY and what follows\r\n") == Header(peer, len(octets))


@pytest.mark.parametrize("octets", [octets for octets, _ in WHOLE])
def test_a_part_of_a_header_is_neither_whole_nor_wrong(octets: bytes) -> None:
    assert all(parse(octets[:end]) is None for end in range(len(octets)))


@pytest.mark.parametrize(
    "octets",
    [
        b"\0\0\0\x2f\0\0\0\x09",  # a bind
        b"\x16\x03\x01",  # a hello of TLS
        b"proxy TCP4 ",
        b"PROXY\tTCP4 ",
        b"PROXY\r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 192.0.2.1 127.0.0.1 12345\r\n",
        b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 2775 \r\n",
        b"PROXY TCP4  192.0.2.1 127.0.0.1 12345 2775\r\n",
        b"PROXY TCP4 192.0.2.1\n127.0.0.1 12345 2775\r\n",
        b"PROXY TCP4 192.0.2.01 127.0.0.1 12345 2775\r\n",
        b"PROXY TCP4 192.0.2 127.0.0.1 12345 2775\r\n",
        b"PROXY TCP4 2001:db8::1 ::1 1 1\r\n",
        b"PROXY TCP6 192.0.2.1 ::1 1 1\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
        b"PROXY TCP4 192.0.2.1 nowhere 12345 2775\r\n",
        b"PROXY TCP4 192.0.2.1 127.0.0.1 65536 2775\r\n",
        b"PROXY TCP4 192.0.2.1 127.0.0.1 -1 2775\r\n",
        b"PROXY TCP4 192.0.2.1 127.0.0.1 1 \xb2\r\n",
        b"PROXY UDP4 192.0.2.1 127.0.0.1 1 2\r\n",
        b"PROXY UNKNOWN" + b" " * (V1_MOST - 13),
        b"\r\n\r\n\0\r\nQUIT\r",
        v2(command=0x11),
        v2(command=0x22),
        v2(V4[:-1]),
        v2(V6[:-1], family=0x21),
        v2(bytes(216), family=0x31),  # a UNIX socket
        v2(family=0x12),  # UDP
        v2(family=0x41),
        v2(b"", command=0x20, length=V2_MOST - 15),
    ],
)
def test_what_is_no_header(octets: bytes) -> None:
    with pytest.raises(HeaderError):
        parse(octets)


addresses = st.ip_addresses().map(
    lambda address: (
        address,
        str(getattr(address, "ipv4_mapped", None) or address),
    )
)
ports = st.integers(0, 0xFFFF)


@given(addresses, ports, ports, st.binary(max_size=64))
def test_any_address_in_version_1(
    address: tuple[IPv4Address | IPv6Address, str], port: int, own: int, rest: bytes
) -> None:
    peer, text = address
    kind, here = ("TCP4", "0.0.0.0") if peer.version == 4 else ("TCP6", "::")
    line = f"PROXY {kind} {peer} {here} {port} {own}\r\n".encode()
    assert parse(line + rest) == Header(text, len(line))


@given(addresses, st.binary(max_size=256), st.binary(max_size=64))
def test_any_address_in_version_2(
    address: tuple[IPv4Address | IPv6Address, str], extensions: bytes, rest: bytes
) -> None:
    peer, text = address
    family = 0x11 if peer.version == 4 else 0x21
    header = v2(peer.packed * 2 + bytes(4) + extensions, family=family)
    assert parse(header + rest) == Header(text, len(header))


@given(
    st.one_of(
        st.binary(max_size=3000),
        st.binary(max_size=200).map(lambda tail: b"PROXY " + tail),
        st.binary(max_size=200).map(lambda tail: b"PROXY TCP4 " + tail + b"\r\n"),
        st.binary(max_size=3000).map(lambda tail: V2_SIGNATURE + tail),
        st.binary(max_size=300).map(lambda tail: V2_SIGNATURE + b"\x21" + tail),
    )
)
def test_any_octets_are_a_header_or_its_part_or_an_error_and_more_of_them_agree(
    octets: bytes,
) -> None:
    """However the octets are cut, what is said first of them stays true."""
    said: object = None
    for end in range(len(octets) + 1):
        try:
            found: object = parse(octets[:end])
        except HeaderError:
            found = HeaderError
        assert said is None or found == said
        said = found
        if isinstance(found, Header):
            assert found.length <= end <= V2_MOST + len(octets)
    if said is None:
        assert len(octets) < V2_MOST
