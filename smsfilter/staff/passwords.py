"""Passwords: what one has to be, and argon2, which is slow on purpose and so runs in threads.

At most two are hashed at once: a hash takes 64 MiB and a core for a tenth of a second, and a flood
of logins must leave the rest of the desk its share. Of an account that there is not the password is
looked at all the same, against a hash that nothing fits: the time tells nobody who has an account.
"""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

T = TypeVar("T")

LEAST: Final = 12
"""Characters."""
MOST: Final = 128
"""Characters: what is longer is no password, and costs time to hash."""
_DISTINCT: Final = 5
_AT_ONCE: Final = 2


class PasswordError(ValueError):
    """It will not do; says why."""


def check(password: str, staff: str) -> None:
    """Refuse a new password that is easily guessed. Raises PasswordError."""
    if len(password) < LEAST:
        raise PasswordError(f"a password has at least {LEAST} characters")
    if len(password) > MOST:
        raise PasswordError(f"a password has at most {MOST} characters")
    if staff.casefold() in password.casefold():
        raise PasswordError(f"a password does not contain what you log in with: {staff}")
    if len(set(password)) < _DISTINCT:
        raise PasswordError(f"a password has at least {_DISTINCT} different characters")


class Passwords:
    """Hashes, and compares with a hash."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()  # argon2id as RFC 9106 has it for small machines
        self._threads = ThreadPoolExecutor(_AT_ONCE, "argon2")
        self._nobodys: str | None = None

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        return await self._run(self._hasher.hash, _octets(password))

    async def fits(self, kept: str | None, password: str) -> bool:
        """Whether it is the password; None is that of nobody."""
        if kept is None:
            if self._nobodys is None:
                self._nobodys = await self.hash(secrets.token_hex())
            await self._run(self._verify, self._nobodys, _octets(password))
            return False
        return await self._run(self._verify, kept, _octets(password))

    def _verify(self, kept: str, octets: bytes) -> bool:
        try:
            return self._hasher.verify(kept, octets)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., T], *given: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)


def _octets(password: str) -> bytes:
    """Return the same octets for the same characters, whatever keyboard wrote them."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
