"""What a pair remembers: open requests by number, and how the proxy itself answers."""

import pytest

from smsfilter.proxy.octets import Edit, edited, nack, request, respond
from smsfilter.proxy.session import Session
from smsfilter.smpp import const as c
from smsfilter.smpp.session import State
from tests.fakes import wire


def session(interface_version: int = 0x34) -> Session:
    session = Session("192.0.2.1", 1024, 70_000)
    session.bound(State.BOUND_TRX, "acme", interface_version, 70_000)
    return session


# open requests


def test_a_response_closes_its_request_once() -> None:
    pair = session()
    pair.submitted([1, 2], 10.0)
    assert pair.in_flight() == 2
    assert pair.answered(c.SUBMIT_SM_RESP, 1)
    assert not pair.answered(c.SUBMIT_SM_RESP, 1)
    assert pair.answered(c.SUBMIT_SM_RESP, 2)
    assert pair.in_flight() == 0


def test_a_response_of_another_kind_closes_nothing() -> None:
    pair = session()
    pair.submitted([7], 10.0)
    pair.requested(c.DATA_SM, 8, 10.0)
    for command_id in (c.DATA_SM_RESP, c.QUERY_SM_RESP, c.BIND_TRANSCEIVER_RESP):
        assert not pair.answered(command_id, 7)
    assert not pair.answered(c.SUBMIT_SM_RESP, 8)
    assert pair.answered(c.DATA_SM_RESP, 8)
    assert pair.in_flight() == 1


@pytest.mark.parametrize("number", [0, 1, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF])
def test_numbers_of_any_value(number: int) -> None:
    pair = session()
    pair.submitted([number], 10.0)
    assert pair.answered(c.SUBMIT_SM_RESP, number)
    assert not pair.answered(c.SUBMIT_SM_RESP, number)


@pytest.mark.parametrize("together", [True, False])
def test_a_number_that_repeats_in_flight_is_answered_as_often(together: bool) -> None:
    pair = session()
    for batch in [[5, 5, 6, 5]] if together else [[5], [5], [6, 5]]:
        pair.submitted(batch, 10.0)
    assert pair.in_flight() == 4
    assert [pair.answered(c.SUBMIT_SM_RESP, 5) for _ in range(4)] == [True, True, True, False]
    assert pair.answered(c.SUBMIT_SM_RESP, 6)
    assert pair.in_flight() == 0
    assert not pair.repeated


def test_other_requests_may_repeat_as_well() -> None:
    pair = session()
    for _ in range(3):
        pair.requested(c.ENQUIRE_LINK, 0, 10.0)
    assert [pair.answered(c.ENQUIRE_LINK_RESP, 0) for _ in range(4)] == [True] * 3 + [False]


def test_a_nack_closes_whatever_has_its_number() -> None:
    pair = session()
    pair.submitted([1], 10.0)
    pair.requested(c.QUERY_SM, 2, 10.0)
    assert pair.answered(c.GENERIC_NACK, 1)
    assert pair.answered(c.GENERIC_NACK, 2)
    assert not pair.answered(c.GENERIC_NACK, 2)
    assert pair.in_flight() == 0


def test_the_oldest_request_is_known_by_its_time() -> None:
    pair = session()
    assert pair.oldest() is None
    pair.submitted([1, 2], 10.0)
    pair.requested(c.QUERY_SM, 3, 11.0)
    pair.submitted([4], 12.0)
    assert pair.oldest() == 10.0
    pair.answered(c.SUBMIT_SM_RESP, 1)
    pair.answered(c.SUBMIT_SM_RESP, 2)
    assert pair.oldest() == 11.0
    pair.answered(c.QUERY_SM_RESP, 3)
    assert pair.oldest() == 12.0


def test_the_number_of_the_proxys_own_unbind_is_a_free_one() -> None:
    pair = session()
    assert pair.unused_sequence_number() == 0x7FFFFFFF
    pair.submitted([0x7FFFFFFF], 10.0)
    pair.requested(c.QUERY_SM, 0x7FFFFFFE, 10.0)
    assert pair.unused_sequence_number() == 0x7FFFFFFD


# who may submit


@pytest.mark.parametrize(
    ("state", "may"),
    [
        (State.OPEN, False),
        (State.BINDING, False),
        (State.BOUND_TX, True),
        (State.BOUND_RX, False),
        (State.BOUND_TRX, True),
        (State.UNBOUND, False),
        (State.CLOSED, False),
    ],
)
def test_who_may_submit(state: State, may: bool) -> None:
    pair = session()
    pair.state = state
    assert pair.may_submit() is may


def test_the_larger_limit_holds_from_the_bind_on() -> None:
    pair = Session("192.0.2.1", 1024, 70_000)
    assert pair.from_esme.limit == 1024
    pair.bound(State.BOUND_RX, "acme", 0x34, 70_000)
    assert pair.from_esme.limit == 70_000
    assert pair.bound_as == "rx"


# answers


@pytest.mark.parametrize(
    ("interface_version", "body"),
    [(0x00, b"\0"), (0x33, b"\0"), (0x34, b""), (0x4F, b""), (0x50, b"\0"), (0xFF, b"\0")],
)
def test_the_body_of_a_failing_submit_sm_resp_follows_the_version(
    interface_version: int, body: bytes
) -> None:
    answer = session(interface_version).refusal(c.SUBMIT_SM, 9, 0x66)
    assert answer == wire.pack(c.SUBMIT_SM_RESP, 9, body, 0x66)


@pytest.mark.parametrize("interface_version", [0x33, 0x34, 0x50])
def test_an_account_may_be_known_to_want_one_body_or_the_other(interface_version: int) -> None:
    for wanted, body in (("none", b""), ("nul", b"\0")):
        pair = Session("192.0.2.1", 1024, 70_000)
        pair.bound(State.BOUND_TRX, "acme", interface_version, 70_000, wanted)
        answer = pair.refusal(c.SUBMIT_SM, 9, 0x66)
        assert answer == wire.pack(c.SUBMIT_SM_RESP, 9, body, 0x66)


@pytest.mark.parametrize("interface_version", [0x33, 0x34, 0x50])
@pytest.mark.parametrize(
    ("command_id", "body"),
    [
        (c.DATA_SM, b"\0"),
        (c.SUBMIT_MULTI, b"\0\0"),
        (c.REPLACE_SM, b""),
        (c.QUERY_SM, b""),
        (c.CANCEL_SM, b""),
        (c.BIND_TRANSCEIVER, b""),
    ],
)
def test_the_bodies_of_other_failing_responses(
    interface_version: int, command_id: int, body: bytes
) -> None:
    answer = session(interface_version).refusal(command_id, 0x80000001, 0x03)
    assert answer == wire.pack(command_id | c.RESPONSE_BIT, 0x80000001, body, 0x03)


def test_what_has_no_response_of_its_own_is_nacked_and_responses_are_not_answered() -> None:
    pair = session()
    assert pair.refusal(0x00010203, 4, 0x03) == wire.pack(c.GENERIC_NACK, 4, b"", 0x03)
    assert pair.refusal(c.GENERIC_NACK, 4, 0x03) == b""
    assert pair.refusal(c.SUBMIT_SM_RESP, 4, 0x03) == b""


def test_headers_by_hand() -> None:
    assert respond(c.SUBMIT_SM, 1, 2, b"x") == wire.pack(c.SUBMIT_SM_RESP, 1, b"x", 2)
    assert nack(0xFFFFFFFF, 2) == wire.pack(c.GENERIC_NACK, 0xFFFFFFFF, b"", 2)
    assert request(c.UNBIND, 3) == wire.pack(c.UNBIND, 3)


@pytest.mark.parametrize(
    ("cuts", "left"),
    [
        ([], b"0123456789"),
        ([(0, 2, b"")], b"23456789"),
        ([(8, 10, b"")], b"01234567"),
        ([(2, 4, b""), (4, 6, b"")], b"016789"),
        ([(6, 8, b""), (0, 2, b"")], b"234589"),
        ([(6, 7, b"xyz"), (0, 2, b"-")], b"-2345xyz789"),
        ([(0, 10, b"")], b""),
    ],
)
def test_what_is_left_when_pieces_are_taken_out(cuts: list[Edit], left: bytes) -> None:
    assert edited(b"0123456789", cuts) == left
