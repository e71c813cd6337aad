"""Signed text: a few `name: value` lines that a person can read, under one Ed25519 signature.

The first line says what the text is, so that no signature serves for another kind. The signature,
base64 in the last line, covers all octets before that line. A text has one spelling only: what is
read is written again and compared, so that nothing can stand in it that was not understood.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_MAX_TEXT = 4096
_SIGNATURE = re.compile(r"signature: ([A-Za-z0-9+/]{86}==)\n")
_LINE = re.compile(r"([a-z]+): ([!-~]+)\n")
_KEY_ID = re.compile(r"[0-9a-f]{16}")


class UnsignedError(ValueError):
    """A text is what it should be but for its signature."""


class BadSignatureError(UnsignedError):
    """The signature is not that of the key that the text names."""


class UnknownKeyError(UnsignedError):
    """The text names a key that was not given."""


def key_id(public: Ed25519PublicKey) -> str:
    """Name a public key: the first 16 hexadecimal digits of SHA-256 over its 32 octets."""
    return sha256(public.public_bytes_raw()).hexdigest()[:16]


def public_pem(public: Ed25519PublicKey) -> str:
    """Write a public key as PEM (SubjectPublicKeyInfo), which openssl reads."""
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode("ascii")


def read_public_pem(pem: bytes) -> Ed25519PublicKey:
    """Read a public key. ValueError if it is not an Ed25519 public key in PEM."""
    try:
        public = load_pem_public_key(pem)
    except Exception as error:  # the library raises half a dozen kinds for the same thing
        raise ValueError("not a public key in PEM") from error
    if not isinstance(public, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return public


def write_time(at: int) -> str:
    """Spell microseconds of Unix time: 2026-01-31T12:00:00.000000Z. ValueError beyond 9999."""
    since = timedelta(microseconds=at) if 0 <= at < 2**63 else None
    if since is None or since > _LAST_SECOND:
        raise ValueError("a time before 1970 or after 9999")
    return (_EPOCH + since).strftime(_TIME)


def read_time(text: str) -> int:
    """Read what `write_time` wrote, in microseconds; ValueError for anything else."""
    at = (datetime.strptime(text, _TIME).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
    if write_time(at) != text:
        raise ValueError("a time in another spelling")
    return at


def time_or_number(at: int) -> str:
    """Spell a time for a person, as a number where no calendar reaches."""
    try:
        return write_time(at)
    except ValueError:
        return f"{at} µs"


def seal(domain: str, fields: Mapping[str, str], private: Ed25519PrivateKey) -> str:
    """Write a text of these fields under a signature. Values are printable ASCII without blanks.

    The text must name the key that signs it, as `key`: ValueError if it names another.
    """
    if fields["key"] != key_id(private.public_key()):
        raise ValueError("the text names another key than the one that signs it")
    text = _spell(domain, fields)
    return text + f"signature: {b64encode(private.sign(text.encode())).decode()}\n"


def unseal(domain: str, names: tuple[str, ...], text: str) -> dict[str, str]:
    """Read the fields of a text without looking at its signature. ValueError if it is another."""
    fields, _, _ = _split(domain, names, text)
    return fields


def check_seal(
    domain: str, names: tuple[str, ...], text: str, keys: Mapping[str, Ed25519PublicKey]
) -> dict[str, str]:
    """Read the fields of a text whose signature holds.

    ValueError if it is no such text, UnknownKeyError and BadSignatureError by name.
    """
    fields, message, signature = _split(domain, names, text)
    public = keys.get(fields["key"])
    if public is None:
        raise UnknownKeyError(f"it is signed by the key {fields['key']}, which was not given")
    try:
        public.verify(signature, message)
    except InvalidSignature:
        raise BadSignatureError(f"its signature is not that of the key {fields['key']}") from None
    return fields


def _spell(domain: str, fields: Mapping[str, str]) -> str:
    lines = [f"{name}: {value}\n" for name, value in fields.items()]
    if not all(_LINE.fullmatch(line) for line in lines):
        raise ValueError("a value is empty or has blanks")
    return "".join((domain, "\n", *lines))


def _split(domain: str, names: tuple[str, ...], text: str) -> tuple[dict[str, str], bytes, bytes]:
    """Take a text apart: its fields, the octets that are signed, and the signature."""
    if len(text) > _MAX_TEXT or not text.startswith(f"{domain}\n"):
        raise ValueError(f"it does not begin with the line '{domain}'")
    lines = text.splitlines(keepends=True)
    signature = _SIGNATURE.fullmatch(lines[-1])
    parts = [_LINE.fullmatch(line) for line in lines[1:-1]]
    fields = {part[1]: part[2] for part in parts if part is not None}
    message = "".join(lines[:-1])
    if signature is None or tuple(fields) != names or _spell(domain, fields) != message:
        raise ValueError(f"it does not have the lines {', '.join((*names, 'signature'))}")
    if not _KEY_ID.fullmatch(fields["key"]):
        raise ValueError("its key is not spelled as one")
    octets = b64decode(signature[1])
    if b64encode(octets).decode() != signature[1]:
        raise ValueError("its signature is not spelled as base64 spells it")
    return fields, message.encode(), octets
