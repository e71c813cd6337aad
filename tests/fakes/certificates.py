"""Certificates for tests: authorities that are made on the spot, and contexts of the other side.

The contexts are Python's own, used by asyncio's own TLS: neither knows anything of the daemon's.
"""

import ssl
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import trustme

HOST = "localhost"


class Issued(NamedTuple):
    """The two files of a certificate."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """As the policy writes it."""
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        return f"sha256:{sha256(der).hexdigest()}"

    def section(self) -> dict[str, str]:
        """The two keys of a `tls:` section."""
        return {"certificate": str(self.certificate), "key": str(self.key)}


class Authority:
    """A CA whose certificate is in the file `ca`."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self.name = name
        self.authority = trustme.CA()
        self.ca = directory / f"{name}.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))

    def issue(
        self,
        name: str,
        *hosts: str,
        common_name: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Issued:
        """Write a certificate for these hosts into the files of this name, anew each time."""
        made = self.authority.issue_cert(
            *(hosts or (HOST, "127.0.0.1")),
            common_name=common_name,
            not_before=not_before,
            not_after=not_after,
        )
        issued = Issued(
            self.directory / f"{self.name}-{name}.crt", self.directory / f"{self.name}-{name}.key"
        )
        issued.key.touch(0o600)
        made.private_key_pem.write_to_path(str(issued.key))
        for position, pem in enumerate(made.cert_chain_pems):
            pem.write_to_path(str(issued.certificate), append=position > 0)
        return issued

    def client(
        self, own: Issued | None = None, *, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """Build the context of a peer that connects and trusts this authority."""
        context = ssl.create_default_context(cafile=str(self.ca))
        return _finished(context, own, version)

    def server(self, own: Issued, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Build the context of a peer that listens."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        return _finished(context, own, version)

    def server_for_known(self, own: Issued) -> ssl.SSLContext:
        """Build the context of a peer that listens for those who have our certificates."""
        context = self.server(own)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.ca)
        return context


def _finished(
    context: ssl.SSLContext, own: Issued | None, version: ssl.TLSVersion | None
) -> ssl.SSLContext:
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context
