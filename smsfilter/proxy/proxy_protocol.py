"""The PROXY protocol, versions 1 and 2: who is behind a balancer. Octets in, value out, no I/O.

The header is what a balancer such as HAProxy sends before anything else (proxy-protocol.txt of
HAProxy, sections 2.1 and 2.2). What is not surely a header is an error: the address in it opens
doors. Extensions (TLVs) of version 2 are skipped.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

V1_PREFIX = b"PROXY "
V1_MOST = 107
"""Octets of the longest line, CRLF included (section 2.1)."""
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2_FIXED = 16
V2_MOST = 2_048
"""Addresses take 36 octets at most; the rest is room for extensions, such as the name in TLS."""
V2_LOCAL, V2_PROXY = 0x20, 0x21
V2_UNSPECIFIED, V2_TCP4, V2_TCP6 = 0x00, 0x11, 0x21


class HeaderError(ValueError):
    """These octets are not the beginning of a PROXY header."""


class Header(NamedTuple):
    """A whole header: who is behind it, and how many octets it takes."""

    peer: str | None
    """The IP address of the peer; None where the balancer speaks for itself or does not know."""
    length: int


def parse(octets: bytes | bytearray) -> Header | None:
    """Read the header at the head of `octets`; None while it is not whole. Raises HeaderError."""
    head = bytes(octets[: max(V1_MOST, V2_FIXED)])
    if V1_PREFIX.startswith(head[: len(V1_PREFIX)]):
        return _v1(head)
    if V2_SIGNATURE.startswith(head[: len(V2_SIGNATURE)]):
        return _v2(head, octets)
    raise HeaderError("no PROXY header")


def _v1(head: bytes) -> Header | None:
    line, end, _ = head.partition(b"\r\n")
    if not end:
        if len(head) >= V1_MOST:
            raise HeaderError("the line of a PROXY header does not end")
        return None
    length = len(line) + len(end)
    _, protocol, *rest = line.split(b" ")
    if protocol == b"UNKNOWN":
        return Header(None, length)
    if protocol not in (b"TCP4", b"TCP6") or len(rest) != 4:
        raise HeaderError("not PROXY TCP4 or TCP6 with two addresses and two ports")
    version = 4 if protocol == b"TCP4" else 6
    peer, _ = (_address(each, version) for each in rest[:2])
    if not all(each.isdigit() and len(each) <= 5 and int(each) <= 0xFFFF for each in rest[2:]):
        raise HeaderError("a port of the PROXY header is no port")
    return Header(peer, length)


def _address(text: bytes, version: int) -> str:
    try:
        address = ip_address(text.decode("ascii"))
    except ValueError:
        raise HeaderError("an address of the PROXY header is no address") from None
    if address.version != version or b"%" in text:
        raise HeaderError("an address of the PROXY header is of another kind")
    return _plain(address)


def _v2(head: bytes, octets: bytes | bytearray) -> Header | None:
    if len(head) < V2_FIXED:
        return None
    command, family = head[12], head[13]
    length = V2_FIXED + int.from_bytes(head[14:16])
    if command not in (V2_LOCAL, V2_PROXY):
        raise HeaderError("neither PROXY nor LOCAL of version 2")
    if length > V2_MOST:
        raise HeaderError("the PROXY header is too long")
    if len(octets) < length:
        return None
    body = bytes(octets[V2_FIXED:length])
    if command == V2_LOCAL or family == V2_UNSPECIFIED:
        return Header(None, length)
    if family == V2_TCP4 and len(body) >= 12:
        return Header(_plain(IPv4Address(body[:4])), length)
    if family == V2_TCP6 and len(body) >= 36:
        return Header(_plain(IPv6Address(body[:16])), length)
    raise HeaderError("the PROXY header is not of TCP over IP")


def _plain(address: IPv4Address | IPv6Address) -> str:
    """Write an address in one way only: IPv4 inside IPv6 is IPv4."""
    return str(getattr(address, "ipv4_mapped", None) or address)
