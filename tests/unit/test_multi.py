"""The response to a submit_multi that lost destinations: the SMSC's own, with these added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.proxy.multi import COUNT_MOST, merged
from smsfilter.smpp.const import SUBMIT_MULTI_RESP
from smsfilter.smpp.pdu import decode
from tests.fakes import wire

OURS = (b"\1\1" + wire.cstring("8613800138001") + b"\0\0\0\x66",)


def entry(number: int, status: int = 0x14) -> bytes:
    return b"\1\1" + wire.cstring(f"86139{number:08d}") + status.to_bytes(4, "big")


def response(body: bytes) -> bytes:
    return wire.pack(SUBMIT_MULTI_RESP, 0xFFFFFFFF, body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"id\0\0", b"id\0\1" + OURS[0]),
        (b"id\0\1" + entry(1), b"id\0\2" + entry(1) + OURS[0]),
        (b"id\0\1" + entry(1) + b"\4\x20\0\1x", b"id\0\2" + entry(1) + OURS[0] + b"\4\x20\0\1x"),
        (b"id\0", b"id\0\1" + OURS[0]),  # SMSCs leave out what is 0
        (b"", b"\0\1" + OURS[0]),
    ],
)
def test_entries_are_added_behind_those_of_the_smsc(body: bytes, expected: bytes) -> None:
    assert merged(response(body), OURS) == response(expected)


@pytest.mark.parametrize("body", [b"id", b"i" * 65 + b"\0\0", b"id\0\1", b"id\0\2" + entry(1)])
def test_what_cannot_be_read_is_left_alone(body: bytes) -> None:
    assert merged(response(body), OURS) is None


def test_no_more_than_one_octet_can_count() -> None:
    theirs = tuple(map(entry, range(250)))
    ours = tuple(map(entry, range(300, 310)))
    whole = merged(response(b"id\0" + bytes((250,)) + b"".join(theirs)), ours)
    assert whole is not None
    found = decode(whole).fields["unsuccess_sme"]
    assert len(found) == COUNT_MOST
    assert [one.address for one in found[250:]] == [b"8613900000%03d" % n for n in range(300, 305)]


@given(st.integers(0, 40), st.integers(1, 40), st.binary(max_size=20).filter(lambda b: 0 not in b))
def test_the_result_says_both(theirs: int, ours: int, message_id: bytes) -> None:
    listed = [entry(n, 0x0B) for n in range(theirs)]
    added = tuple(entry(n, 0x66) for n in range(100, 100 + ours))
    whole = merged(response(message_id + b"\0" + bytes((theirs,)) + b"".join(listed)), added)
    assert whole is not None
    pdu = decode(whole)
    assert pdu.fields["message_id"] == message_id
    assert [one.status for one in pdu.fields["unsuccess_sme"]] == [0x0B] * theirs + [0x66] * ours


@given(st.binary(max_size=120))
def test_random_bodies_never_raise(body: bytes) -> None:
    merged(response(body), OURS)
