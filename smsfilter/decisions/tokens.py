"""A customer's number as the records have it: a keyed hash, of which the number cannot be found.

Without the key there is nothing to try numbers against; with it the same number has the same token
in all segments of one proxy, and in those of no other.
"""

from collections.abc import Iterable
from hashlib import blake2b

KEY = 32
"""Octets of a key."""
TOKEN = 8


class Tokens:
    """Makes tokens with one key. `id` names the key and does not tell it."""

    __slots__ = ("_copy", "id")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY:
            raise ValueError(f"a key has {KEY} octets")
        self._copy = blake2b(key=key, digest_size=TOKEN).copy  # a copy costs half of a new one
        self.id = blake2b(key, digest_size=8, person=b"smsfilter key id"[:16]).digest()

    def __call__(self, digits: bytes) -> bytes:
        """The token of one number, in E.164 digits without a sign."""
        keyed = self._copy()
        keyed.update(digits)
        return keyed.digest()

    def of(self, numbers: Iterable[bytes]) -> list[bytes]:
        """The tokens of many numbers."""
        copy, found = self._copy, []
        for digits in numbers:
            keyed = copy()
            keyed.update(digits)
            found.append(keyed.digest())
        return found

    def handset(self, source: str) -> str:
        """What stands for a source that is a person's number."""
        return f"handset:{self(source.encode()).hex()}"
