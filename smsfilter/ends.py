"""The TCP ends of the path: where ESMEs connect, which SMSC is dialled, and with what around it.

An end may be written as its address alone; with TLS, a source address or balancers in front it is
a section. Opens no file.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from smsfilter.rules.policy import Model
from smsfilter.tls import ClientTLS, ServerTLS


class Address(NamedTuple):
    """A TCP address; port 0 lets the system choose where one listens."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    found = None
    if isinstance(value, str):
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", value)
    if found is None or int(found[3]) > 0xFFFF:
        raise ValueError(
            "not an address: write host:port, such as 127.0.0.1:2775, 0.0.0.0:2775 or [::1]:2775"
        )
    return Address(found[1] or found[2], int(found[3]))


def _with_port(address: Address) -> Address:
    if address.port == 0:
        raise ValueError("the port of an SMSC cannot be 0")
    return address


TCPAddress = Annotated[
    Address,
    PlainValidator(_address),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:2775", "[::1]:2775"]}),
]
"""`host:port`."""


def _source_address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError("not an IP address of this machine, such as 192.0.2.10") from None


class _Peer(Model):
    """A TCP end that may be written as its address alone."""

    @model_validator(mode="before")
    @classmethod
    def _address_alone(cls, value: object) -> object:
        return {"address": value} if isinstance(value, str | Address) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Tell editors that the address alone will do."""
        return {"anyOf": [{"type": "string"}, handler(core)]}


class Listen(_Peer):
    """Where ESMEs connect."""

    address: TCPAddress = Field(description="host:port to listen on; 0.0.0.0 is every interface")
    tls: ServerTLS | None = Field(None, description="TLS for this address; plain SMPP if unset")
    proxy_protocol_from: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="networks of balancers that begin each connection with a PROXY header"
    )

    def beside(self, folder: Path) -> Self:
        """Give the end with paths relative to `folder` made absolute."""
        return (
            self if self.tls is None else self.model_copy(update={"tls": self.tls.beside(folder)})
        )

    def is_balancer(self, peer: str) -> bool:
        """Whether a connection of this peer begins with a PROXY header."""
        return any(ip_address(peer) in network for network in self.proxy_protocol_from)


class Upstream(_Peer):
    """An SMSC to dial."""

    address: Annotated[TCPAddress, AfterValidator(_with_port)] = Field(
        description="host:port of the SMSC"
    )
    source_address: Annotated[str, AfterValidator(_source_address)] | None = Field(
        None,
        description="the local IP address that the SMSC is to see; the system's choice if unset",
    )
    tls: ClientTLS | None = Field(None, description="TLS to this SMSC; plain SMPP if unset")

    def beside(self, folder: Path) -> Self:
        """Give the end with paths relative to `folder` made absolute."""
        return (
            self if self.tls is None else self.model_copy(update={"tls": self.tls.beside(folder)})
        )
