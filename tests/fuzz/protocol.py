"""What must hold of the protocol layer for whatever octets come.

Each function is a target: it draws a case and asserts. Only PDUError may be raised below.
"""

import random
from collections.abc import Callable
from typing import TypeVar

from smsfilter.rules.numbers import readings
from smsfilter.smpp import const as c
from smsfilter.smpp.errors import PDUError
from smsfilter.smpp.framer import Framer
from smsfilter.smpp.pdu import PDU, build, decode
from smsfilter.smpp.peek import peek, peek_bind
from smsfilter.smpp.spec import SMEAddress
from smsfilter.smpp.text import concatenation, decode_text, encode_text, parse_udh
from smsfilter.smpp.times import seconds_ahead
from tests.fakes import wire
from tests.fuzz import cases

T = TypeVar("T")
LIMIT = 70_000
CARRIERS = frozenset({c.SUBMIT_SM, c.DATA_SM, c.SUBMIT_MULTI, c.REPLACE_SM, c.DELIVER_SM})


def outcome(read: Callable[[], T]) -> T | int:
    """What was read, or the command_status of the refusal."""
    try:
        return read()
    except PDUError as refusal:
        return refusal.command_status


def framing(chance: random.Random) -> None:
    """Any chunking gives the same PDUs, and breaks at the same place."""
    stream = b"".join(cases.pdu(chance) for _ in range(chance.randint(1, 6)))
    limit = chance.choice((200, LIMIT))
    results = []
    for pieces in (iter([stream]), cases.chunks(chance, stream)):
        framer = Framer(limit)
        found: list[bytes] = []
        for piece in pieces:
            framer.feed(piece)
            while framer.ready():
                buffer, spans = framer.take(chance.randint(1, 3))
                assert len(buffer) == (spans[-1][1] if spans else 0)
                for start, end, *head in spans:
                    found.append(buffer[start:end])
                    assert tuple(wire.header(found[-1])) == (end - start, *head)
        results.append((found, framer.broken is None, framer.size))
    assert results[0] == results[1]
    assert stream.startswith(b"".join(results[0][0]))


def decoding(chance: random.Random) -> None:
    """What decode accepts, build gives back; it and the peek agree, or both refuse alike."""
    octets = cases.pdu(chance)
    read = outcome(lambda: decode(octets))
    if isinstance(read, PDU):
        assert build(read) == octets
    if int.from_bytes(octets[:4], "big") != len(octets):
        return
    command_id = wire.header(octets).command_id
    buffer = b"before" + octets + b"\0after"
    start, end = 6, 6 + len(octets)
    if command_id in c.BINDS:
        bind = outcome(lambda: peek_bind(buffer, start, end))
        if not isinstance(bind, int):
            assert isinstance(read, PDU)
            names = ("system_id", "password", "interface_version")
            assert tuple(bind) == tuple(read.fields[name] for name in names)
    elif command_id in CARRIERS:
        peeked = outcome(lambda: peek(buffer, start, end, command_id))
        if isinstance(peeked, int) or isinstance(read, int):
            assert peeked == read
            return
        fields = read.fields
        entries = fields.get("dest_address", ())
        destinations = [one.address for one in entries if isinstance(one, SMEAddress)]
        if "destination_addr" in fields:
            destinations = [fields["destination_addr"]]
        assert peeked.source == fields["source_addr"]
        assert [one for one in peeked.destinations if one is not None] == destinations
        assert peeked.schedule == (fields.get("schedule_delivery_time") or None)
        assert peeked.trailing_nuls == read.trailing_nuls


def texts(chance: random.Random) -> None:
    """Texts, headers of parts and times: read, or refused by the protocol's own error."""
    octets = b"".join(chance.choice((*cases.PIECES, chance.randbytes(5))) for _ in range(4))
    coding = chance.randrange(256)
    text = outcome(lambda: decode_text(coding, octets))
    assert isinstance(outcome(lambda: decode_text(coding, octets, "replace")), str | int)
    if isinstance(text, str):
        again = outcome(lambda: encode_text(coding, text))
        assert isinstance(again, int) or decode_text(coding, again) == text
    header = outcome(lambda: parse_udh(octets))
    if not isinstance(header, int):
        elements, rest = header
        assert 1 + sum(2 + len(value) for _, value in elements) + len(rest) == len(octets)
    tlvs = [(chance.choice((0x20C, 0x20E, 0x20F)), chance.randbytes(n)) for n in (2, 1, 1)]
    part = outcome(lambda: concatenation(chance.choice((0, 0x40)), octets, tlvs))
    if part is not None and not isinstance(part, int):
        assert 1 <= part.part <= part.total <= 255
    digits = "".join(chance.choice("0123456789" * 5 + "R+-x") for _ in range(15))
    time = (digits + chance.choice("R+-")).encode()
    assert isinstance(outcome(lambda: seconds_ahead(time, 1.8e9)), float | int)


def numbers(chance: random.Random) -> None:
    """A destination has readings of at most 15 ASCII digits, each once; or none."""
    letters = b"0123456789" * 3 + b"8600+ -.()" + bytes([chance.randrange(256)])
    address = bytes(chance.choice(letters) for _ in range(chance.randrange(22)))
    found = readings(address, chance.choice(("86", "1", "44", "852")))
    assert all(number.isdigit() and number.isascii() and len(number) <= 15 for number in found)
    assert len(set(found)) == len(found) < 12
    kept = set(address) - set(b"0123456789 -.()+")
    assert not (kept and found)


TARGETS = (framing, decoding, texts, numbers)
