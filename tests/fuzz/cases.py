"""Where fuzzed octets come from: the vectors of tests/wire, after some accidents.

Everything hangs on a seed and a number, so that a case can be run again alone. A case is a plain
`random.Random`; what is drawn from it is up to the target.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

WIRE = Path(__file__).parents[1] / "wire"
FILES = ("good.jsonl", "bad.jsonl", "vectors_node.jsonl", "vectors_smpplib.jsonl")
VECTORS = [
    octets
    for name in FILES
    for line in (WIRE / name).read_text(encoding="utf-8").splitlines()
    if len(octets := bytes.fromhex(json.loads(line)["octets"])) >= 16
]
PIECES = (
    *(b"\0", b"\0\0", b"\1", b"\xff", b"\0\0\0\1", b"86", b"+", b"8613800138001\0", b"\0" * 17),
    *(b"1" * 21, b"1" * 65, b"010101000000000+\0", b"000000010000000R\0", b"\x04\x24\0\1x"),
    *(b"\x04\x24\0\0", b"\x14\0\xff\xff", b"\x02\x04\0\2\0\1", "【某公司】".encode("utf-16-be")),
    *("【Acme】".encode(), b"\x05\0\3\7\2\1", b"\0\x01\x01\x01"),
)
"""What parsers are most likely to trip over."""

Target = Callable[[random.Random], object]


def accident(chance: random.Random, octets: bytearray) -> None:
    """Change, lose, add or double some octets behind the header."""
    at = chance.randint(16, len(octets)) if len(octets) > 16 else len(octets)
    to = min(len(octets), at + chance.randint(0, 9))
    match chance.randrange(6):
        case 0 if at < len(octets):
            octets[at] ^= 1 << chance.randrange(8)
        case 1:
            octets[at:to] = b""
        case 2:
            octets[at:to] = chance.choice(PIECES)
        case 3:
            octets[at:at] = chance.choice(PIECES)
        case 4:
            octets[at:to] = octets[at:to] * chance.randint(2, 5)
        case _:
            octets[at:to] = chance.randbytes(to - at)


def pdu(chance: random.Random, vectors: list[bytes] | None = None) -> bytes:
    """A vector after up to four accidents; nearly always with its right command_length."""
    octets = bytearray(chance.choice(vectors or VECTORS))
    for _ in range(chance.choice((0, 1, 1, 2, 3, 4))):
        accident(chance, octets)
    if not chance.randrange(20):
        octets[4:8] = chance.choice(VECTORS)[4:8]
    octets[:4] = len(octets).to_bytes(4, "big")
    if not chance.randrange(100):
        octets[:4] = chance.choice((0, 15, 16, len(octets) + 1, 70_001, 0xFFFFFFFF)).to_bytes(4)
    return bytes(octets)


def chunks(chance: random.Random, octets: bytes) -> Iterator[bytes]:
    """`octets` in pieces: all at once, by ones, or at random."""
    most = chance.choice((1, 3, 40, 400, len(octets) or 1))
    at = 0
    while at < len(octets):
        size = chance.randint(1, most)
        yield octets[at : at + size]
        at += size


def run(target: Target, seed: str, *, minutes: float = 0.0, cases: int = 0, first: int = 0) -> int:
    """Run a target so long or so often; what fails says how to run it again."""
    end = time.monotonic() + minutes * 60
    number = first
    while number < first + cases or time.monotonic() < end:
        try:
            target(random.Random(f"{target.__name__} {seed} {number}"))
        except BaseException as error:
            error.add_note(f"{target.__name__}: --seed {seed} --case {number}")
            raise
        number += 1
    return number - first
