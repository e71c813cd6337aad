"""What a balancer sends in front of a connection: PROXY headers, in both versions."""

from ipaddress import IPv4Address

V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes((192, 0, 2, 1, 127, 0, 0, 1)) + b"\x30\x39\x0a\xd7"
"""From 192.0.2.1:12345 to 127.0.0.1:2775."""


def v1(peer: str) -> bytes:
    """The line that names `peer`."""
    kind, here = ("TCP6", "::1") if ":" in peer else ("TCP4", "127.0.0.1")
    return f"PROXY {kind} {peer} {here} 12345 2775\r\n".encode()


def v2(
    body: bytes = V4, command: int = 0x21, family: int = 0x11, length: int | None = None
) -> bytes:
    """The octets of version 2, right or wrong."""
    size = len(body) if length is None else length
    return V2_SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + body


def v2_of(peer: str) -> bytes:
    """The octets that name an IPv4 address."""
    return v2(IPv4Address(peer).packed + V4[4:])


LOCAL = v2(b"", command=0x20, family=0)
"""The balancer speaks for itself."""
