"""One-time codes: two halves that go to two people, and both are needed to enrol.

What is kept of a code is a hash of the hashes of its halves, so that the second half can be made
later than the first, by somebody who never sees that.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final, Self

VALID_US: Final = 7 * 86_400 * 1_000_000
"""A week: whoever is on leave meanwhile gets a new one."""
_OCTETS: Final = 10
"""80 bits a half: 16 characters, in four groups as people read them aloud."""
_GROUP: Final = 4
_FIRST_ONLY: Final = "half:"
_MISREAD: Final = str.maketrans("018", "OIB", " -\t")
"""Base 32 has no 0, 1 and 8, so that none of them can be meant."""


@dataclass(frozen=True, slots=True)
class Code:
    """Both halves, as they are told."""

    first: str
    second: str

    @classmethod
    def make(cls) -> Self:
        """Make a new one."""
        return cls(half(), half())

    @property
    def hash(self) -> str:
        """What is kept of it."""
        return completed(FirstHalf(self.first).hash, self.second)


@dataclass(frozen=True, slots=True)
class FirstHalf:
    """The half that is made first, where the other one is given out later and elsewhere."""

    first: str

    @property
    def hash(self) -> str:
        """What is kept meanwhile: nobody can enrol by it."""
        return _FIRST_ONLY + _hash(self.first)


def half() -> str:
    """Make half a code: ABCD-EFGH-JKLM-NPQR."""
    text = base64.b32encode(secrets.token_bytes(_OCTETS)).decode()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def waits_for_second(kept: str | None) -> bool:
    """Whether only the first half has been made: nobody can enrol by it yet."""
    return kept is not None and kept.startswith(_FIRST_ONLY)


def completed(kept: str, second: str) -> str:
    """Return what is kept once the second half has been made too."""
    halves = kept.removeprefix(_FIRST_ONLY) + _hash(second)
    return hashlib.sha256(halves.encode()).hexdigest()


def fits(kept: str | None, first: str, second: str) -> bool:
    """Whether these are the two halves, whichever is named first."""
    known = kept or ""
    tries = (Code(first, second).hash, Code(second, first).hash)
    return hmac.compare_digest(known, tries[0]) | hmac.compare_digest(known, tries[1])


def _hash(half: str) -> str:
    return hashlib.sha256(half.upper().translate(_MISREAD).encode()).hexdigest()
