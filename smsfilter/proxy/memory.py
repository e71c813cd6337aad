"""How much memory the process takes, and what it does without where that is too much.

What peers can make it keep is bounded for each session, but not for ten thousand of them on a
small host. Near the limit no one new is let in and everybody may have less unread and undecided:
better that than to be ended by the kernel, with all sessions. Looked at once a second.
"""

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from smsfilter import log

UNDECIDED_MOST: Final = 256 << 10
"""Octets of an ESME that wait for a verdict before reading pauses."""
UNREAD_MOST: Final = 4 << 20
"""Unread octets for an ESME at which it is closed at once."""
UNDECIDED_SHORT: Final = 16 << 10
UNREAD_SHORT: Final = 1 << 20
"""The same where memory is short."""
SHARE: Final = 0.8
"""Of what the kernel allows: the rest is for the moment between two looks."""
RELIEF: Final = 0.95
"""Of the limit, at which all is well again."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Octets of memory that this process takes now."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE


def allowed() -> int | None:
    """Octets that the kernel allows this process: its control group's limit, or the machine's.

    None where neither is told.
    """
    found = []
    with suppress(OSError, ValueError):
        group = Path("/proc/self/cgroup").read_text().rpartition("0::/")[2].strip()
        found.append(int(Path("/sys/fs/cgroup", group, "memory.max").read_text()))
    with suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * _PAGE)
    return min(found, default=None)


def give_back() -> None:
    """Return to the kernel what was freed: the allocator keeps it after a burst."""
    with suppress(AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)


class Memory:
    """Whether memory is short, and how much each session may have of it."""

    def __init__(self, most: int | None, taken: Callable[[], int] = resident) -> None:
        self.most = most
        """In octets; None = nobody knows."""
        self.is_short = False
        self.undecided_most = UNDECIDED_MOST
        self.unread_most = UNREAD_MOST
        self._taken = taken

    def look(self) -> None:
        """See how much is taken."""
        if self.most is None or (taken := self._taken()) <= self.most * RELIEF:
            self._be_short(False, 0)
            return
        if taken > self.most:
            give_back()
            taken = self._taken()
        self._be_short(taken > self.most or (self.is_short and taken > self.most * RELIEF), taken)

    def _be_short(self, short: bool, taken: int) -> None:
        if short == self.is_short:
            return
        self.is_short = short
        self.undecided_most = UNDECIDED_SHORT if short else UNDECIDED_MOST
        self.unread_most = UNREAD_SHORT if short else UNREAD_MOST
        if short:
            log.get().error("memory_short", taken=taken, most=self.most)
        else:
            log.get().info("memory_enough", most=self.most)
