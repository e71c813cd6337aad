"""The `tls:` sections of the configuration, and what their files hold.

A section is read whole before it is used: every file, whether key and certificate belong together,
when they expire. The daemon at start and at reload and `smsfilter check` read them alike. What is
wrong is named with its file; nothing of a private key is ever quoted. TLS is 1.2 or later, and no
session is resumed: SMPP sessions are long, and so a certificate is looked at for each of them.
"""

import ssl
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from pydantic import Field, model_validator

from smsfilter.rules.policy import Model

if TYPE_CHECKING:
    from cryptography import x509

EXPIRES_SOON_S: Final = 30 * 86_400
"""Certificates of public CAs are renewed a month before they end."""


class Role(StrEnum):
    """What a file of certificates is for; the `role` label of the metric."""

    LISTEN_CERTIFICATE = "listen_certificate"
    LISTEN_CLIENT_CA = "listen_client_ca"
    SMSC_CERTIFICATE = "smsc_certificate"
    SMSC_CA = "smsc_ca"


class Certificate(NamedTuple):
    """What is told of a file of certificates; `key` is the section's key that names it."""

    role: Role
    key: str
    file: Path
    expires_at: datetime
    fingerprint: str
    """SHA-256 of the first certificate, in hex digits."""


class Credentials(NamedTuple):
    """What a section gives when it is read."""

    context: ssl.SSLContext
    certificates: tuple[Certificate, ...]


class FileError(ValueError):
    """A file cannot be used; `key` is the section's key that names it."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)


class _Section(Model):
    def beside(self, folder: Path) -> Self:
        """Give the section with paths relative to `folder` made absolute."""
        paths = {name: folder / value for name, value in self if isinstance(value, Path)}
        return self.model_copy(update=paths)


class ServerTLS(_Section):
    """How the proxy shows itself to ESMEs, and which of their certificates it wants."""

    certificate: Path = Field(description="PEM file: the certificate, then those that issued it")
    key: Path = Field(description="PEM file: its private key, without a passphrase")
    client_ca: Path | None = Field(
        None, description="PEM file: who issues the certificates that ESMEs then must have"
    )

    def read(self) -> Credentials:
        """Read the files. Raises FileError."""
        found = [_own(self.certificate, self.key, Role.LISTEN_CERTIFICATE)]
        context = _context(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0
        _use(context, self.certificate, self.key)
        if self.client_ca is not None:
            found.append(_issuers(self.client_ca, "client_ca", Role.LISTEN_CLIENT_CA))
            context.verify_mode = ssl.CERT_REQUIRED
            _trust(context, self.client_ca, "client_ca")
        return Credentials(context, tuple(found))


class ClientTLS(_Section):
    """How the proxy knows the SMSC, and how it shows itself to it."""

    ca: Path | None = Field(
        None, description="PEM file: who issues the SMSC's certificate; the system's CAs if unset"
    )
    certificate: Path | None = Field(
        None, description="PEM file: the proxy's own certificate, if the SMSC wants one"
    )
    key: Path | None = Field(None, description="PEM file: its private key, without a passphrase")
    server_name: str | None = Field(
        None, description="the name in the SMSC's certificate; the host of its address if unset"
    )
    verify: bool = Field(
        True, description="false: take any certificate; then anybody can pose as the SMSC"
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: write both or none")
        return self

    def read(self) -> Credentials:
        """Read the files. Raises FileError."""
        found = []
        context = _context(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca is not None:
            found.append(_issuers(self.ca, "ca", Role.SMSC_CA))
            _trust(context, self.ca, "ca")
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None and self.key is not None:
            found.append(_own(self.certificate, self.key, Role.SMSC_CERTIFICATE))
            _use(context, self.certificate, self.key)
        return Credentials(context, tuple(found))


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    # so that an issuer below a root, or a single self-signed certificate, can be trusted alone
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _use(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")  # without, it asks the terminal
    except OSError as error:
        raise FileError("certificate", f"{certificate} cannot be used: {_why(error)}") from None


def _trust(context: ssl.SSLContext, ca: Path, key: str) -> None:
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        raise FileError(key, f"{ca} cannot be used: {_why(error)}") from None


def _why(error: OSError) -> str:
    return _words(error) if isinstance(error, ssl.SSLError) else error.strerror or str(error)


def _words(error: ssl.SSLError) -> str:
    """OpenSSL's name of an error; Python makes some without one."""
    return (getattr(error, "reason", None) or str(error)).lower().replace("_", " ")


def _own(certificate: Path, key: Path, role: Role) -> Certificate:
    """Read a certificate of our own, with its key; it ends when the first of its chain does."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - where TLS is used
        Encoding,
        PublicFormat,
    )

    chain = _certificates(certificate, "certificate")
    der, form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if _public_key(key) != chain[0].public_key().public_bytes(der, form):
        raise FileError("key", f"{key} is not the key of the first certificate in {certificate}")
    ends = min(one.not_valid_after_utc for one in chain)
    return Certificate(role, "certificate", certificate, ends, _fingerprint(chain[0]))


def _issuers(file: Path, key: str, role: Role) -> Certificate:
    """Read certificates that are trusted; the file is of use until the last of them ends."""
    found = _certificates(file, key)
    ends = max(one.not_valid_after_utc for one in found)
    return Certificate(role, key, file, ends, _fingerprint(found[0]))


def _certificates(file: Path, key: str) -> "list[x509.Certificate]":
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    try:
        return load_pem_x509_certificates(_octets(file, key))
    except FileError:
        raise
    except ValueError:
        message = f"{file} holds no certificate in PEM form, or a broken one"
        raise FileError(key, message) from None


def _public_key(file: Path) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    octets = _octets(file, "key")
    try:
        private = load_pem_private_key(octets, None)
    except TypeError:
        message = f"the key in {file} has a passphrase: write it without one"
        raise FileError("key", message) from None
    except (ValueError, UnsupportedAlgorithm):
        message = f"{file} holds no private key in PEM form, or a broken one"
        raise FileError("key", message) from None
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _octets(file: Path, key: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise FileError(key, f"{file} cannot be read: {error.strerror}") from None


def _fingerprint(certificate: "x509.Certificate") -> str:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    return certificate.fingerprint(SHA256()).hex()


def told(error: Exception) -> str:
    """Put a failure of TCP or TLS in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {_words(error)}"
    return str(error) or type(error).__name__
