"""What the benchmark sends: submit_sm PDUs of one size, built before the clock starts.

Every PDU of a pool is 158 octets long (100 octets of UCS-2 text, SMPP v3.4 §4.4.1) and goes to a
random number of its own; its sequence_number is its place in the pool, from 1. So the generator
sends by slicing, the SMSC finds sequence_numbers by striding, and neither looks at a message by
itself. One session sends for one company; one message in a hundred goes to a customer who has
blocked that company. Where those stand follows from the session's number alone.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from struct import pack

SESSIONS = 8
BLOCKED_PER_MESSAGES = 100
MESSAGE_ID = b"00000000C0FFEE"  # no octet ≥ 0x80: it cannot look like the head of a response
ANSWER_SIZE = 16 + len(MESSAGE_ID) + 1
REFUSAL_SIZE = 16  # header only, for a bind with interface_version 0x34

_TEXT = ("验证您的身份" * 9)[:50].encode("utf-16-be")


def account(session: int) -> str:
    """The system_id of a session, and the id of the company that owns it."""
    return f"bench{session}"


def source(session: int) -> str:
    """The registered source of a session's company; what is sent has three more digits."""
    return f"10655{session:04d}"


def submit_sm(session: int, sequence_number: int, destination: str) -> bytes:
    """One submit_sm of 158 octets."""
    body = b"\0\0\0" + source(session).encode() + b"001\0\1\1" + destination.encode() + b"\0"
    body += b"\0\0\0\0\0\1\0\x08\0" + pack("!B", len(_TEXT)) + _TEXT
    return pack("!IIII", 16 + len(body), 4, 0, sequence_number) + body


SUBMIT_SIZE = len(submit_sm(0, 1, "8613800138000"))


def bind_transceiver(system_id: str) -> bytes:
    """A bind with interface_version 3.4."""
    body = system_id.encode() + b"\0secret\0\0\x34\0\0\0"
    return pack("!IIII", 16 + len(body), 9, 0, 1) + body


UNBIND = pack("!IIII", 16, 6, 0, 0x7FFFFFFF)


def blocked(session: int, messages: int) -> list[int]:
    """The places in a session's pool, from 0, whose customers have blocked its company."""
    rng = random.Random(session)
    return sorted(rng.sample(range(messages), messages // BLOCKED_PER_MESSAGES))


def destinations(count: int) -> list[str]:
    """So many distinct random mobile numbers, the same ones each time."""
    return [f"86138{n:08d}" for n in random.Random(1).sample(range(10**8), count)]


def pool_path(folder: Path, session: int) -> Path:
    """Where the pool of one session lies."""
    return folder / f"pool{session}"


def write_pools(folder: Path, messages: int, keys: int) -> Iterator[tuple[str, str]]:
    """Write a pool for each session, and yield `keys` blocks: (destination, company).

    Those that refuse a message, about as many of customers who receive messages but have blocked
    some other company, and the rest of customers nobody writes to.
    """
    numbers = destinations(SESSIONS * messages + keys)
    left = keys
    for session in range(SESSIONS):
        mine = numbers[session * messages : (session + 1) * messages]
        pdu = submit_sm(session, 0, "8613800138000")
        middle, end = pdu.index(b"8613800138000"), pdu.index(b"8613800138000") + 13
        pool_path(folder, session).write_bytes(
            b"".join(
                pdu[:12] + number.to_bytes(4) + pdu[16:middle] + to.encode() + pdu[end:]
                for number, to in enumerate(mine, 1)
            )
        )
        refused = set(blocked(session, messages))
        for place in refused:
            yield mine[place], account(session)
        others = {place ^ 1 for place in refused} - refused
        for place in others:
            yield mine[place], "other"
        left -= len(refused) + len(others)
    for number in numbers[SESSIONS * messages :][: max(left, 0)]:
        yield number, "other"
