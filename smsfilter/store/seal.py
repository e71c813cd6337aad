"""What keeps customers' numbers and texts out of sight: tokens to find by, ciphertext to keep.

A plain hash of an 11-digit number is undone by trying them all, so the token is an HMAC under a
key of its own. The ciphertext is AES-256-GCM; where it stands (table, column, row) is bound to it,
so that one row's ciphertext cannot be passed off as another's. Both name their key, so that keys
can be replaced.
"""

import hmac
import os
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE: Final = 12


class SealError(ValueError):
    """A ciphertext that cannot be opened: altered, moved, or of a key that is not here."""


class Seal:
    """Token and cipher under the newest of the given keys; the older ones still open.

    `token_keys` and `data_keys` are keys of 32 octets by their id, the newest last.
    """

    def __init__(self, token_keys: Mapping[str, bytes], data_keys: Mapping[str, bytes]) -> None:
        self._tokens = {
            key_id: hmac.new(key, digestmod="sha256") for key_id, key in token_keys.items()
        }
        self._ciphers = {key_id: AESGCM(key) for key_id, key in data_keys.items()}
        self.token_key_id = list(self._tokens)[-1]
        self._data_key_id = list(self._ciphers)[-1]

    def token(self, digits: str) -> str:
        """Return what a number (E.164 digits) is found by: `key id:HMAC-SHA-256`."""
        return f"{self.token_key_id}:{self.fingerprint(digits.encode())}"

    def tokens(self, digits: str) -> list[str]:
        """Return the tokens of a number under every key, the newest first."""
        return [
            f"{key_id}:{self._mac(key_id, digits.encode())}" for key_id in reversed(self._tokens)
        ]

    def fingerprint(self, octets: bytes) -> str:
        """Return a keyed hash in hexadecimal, for octets that have to be compared, not read."""
        return self._mac(self.token_key_id, octets)

    def close(self, plain: bytes, place: str) -> bytes:
        """Encrypt what will stand at `place` (table|column|row id)."""
        key_id, nonce = self._data_key_id, os.urandom(_NONCE)
        head = f"{key_id}:".encode()
        return head + nonce + self._ciphers[key_id].encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Decrypt what stands at `place`. Raises SealError."""
        key_id, found, rest = sealed.partition(b":")
        cipher = self._ciphers.get(key_id.decode("ascii", "replace"))
        if not found or cipher is None:
            raise SealError(f"{place}: sealed with a key that is not here")
        try:
            return cipher.decrypt(rest[:_NONCE], rest[_NONCE:], place.encode())
        except (InvalidTag, ValueError):
            raise SealError(f"{place}: was altered, or stood elsewhere") from None

    def _mac(self, key_id: str, octets: bytes) -> str:
        mac = self._tokens[key_id].copy()
        mac.update(octets)
        return mac.hexdigest()


def place(table: str, column: str, row: object) -> str:
    """Say where a ciphertext stands, as it is bound to it."""
    return f"{table}|{column}|{row}"
