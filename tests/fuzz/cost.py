"""No octets cost much more than plain messages of the same size, whatever is in them.

CPU time of the whole session in memory, with an index that is away, so that what is measured is
reading, judging and answering. The bound is a loose one: it is there to find what grows with the
square, or a PDU of a few octets that keeps the loop busy.
"""

import random
import time

from tests.fakes import wire
from tests.fuzz import cases
from tests.fuzz.path import Case, run

SIZE = 16 << 10
TIMES_MOST = 100
"""How many times as much as plain messages, octet by octet."""
TRIES = 3
"""Others share the cores: a figure counts when it is there each time."""
ENTRIES = (
    *(b"\x02\x04\0\2\0\1", b"\x14\0\0\0", b"\x04\x24\0\0", b"\x03\x81\0\3\1\2\3", b"\0\0\0\0"),
    *(b"\1\1\1" + b"13800138000\0", b"\2friends\0", b"\1\0\0\0", b"1", b"\xe3\x80\x90", b"\x1b"),
)
"""What may stand many times in one PDU: TLVs, destinations, characters."""


def plain(size: int) -> bytes:
    """Messages like those of every day."""
    pdus = [wire.submit_sm(n, "10657555", f"86138{n:08d}", b"x" * 100) for n in range(size // 150)]
    return b"".join(pdus)


def stuffed(chance: random.Random) -> bytes:
    """A PDU full of one thing."""
    octets = bytearray(chance.choice(cases.VECTORS))
    at = chance.randint(16, len(octets))
    entry = chance.choice(ENTRIES)
    octets[at:at] = entry * (chance.randint(1, SIZE) // len(entry))
    octets[:4] = len(octets).to_bytes(4)
    return bytes(octets)


def spent(octets: bytes) -> float:
    """CPU seconds for these octets, one after the other through a bound session."""

    async def play(case: Case) -> float:
        await case.bind()
        started = time.process_time()
        case.leg.data_received(octets)
        await case.rest("away")
        return time.process_time() - started

    return run(play, random.Random(1))


def cost(chance: random.Random) -> None:
    """A stream of anything against a stream of plain messages."""
    one = stuffed(chance) if chance.randrange(2) else cases.pdu(chance)
    octets = one * max(1, SIZE // len(one))
    ratios = []
    for _ in range(TRIES):
        ratios.append(spent(octets) / spent(plain(len(octets) + 150)))
        if ratios[-1] < TIMES_MOST:
            return
    raise AssertionError(f"{min(ratios):.0f} times as much: {one[:100].hex()} × {len(octets)}")
