"""The report centre's session: what it says to its SMSC, when, and what it tells of it."""

from typing import Any

import pytest

from smsfilter.deskmetrics import CentreMetrics, Outcome
from smsfilter.reports.backoff import Backoff
from smsfilter.reports.events import (
    Answered,
    Bind,
    Bound,
    Ended,
    Event,
    Limits,
    Unreadable,
    Why,
)
from smsfilter.reports.session import SEQUENCE_NUMBER_MOST, UNBIND_WITHIN_S, Session
from smsfilter.reports.sms import Answer, Delivered, Outgoing
from smsfilter.smpp import const as c
from smsfilter.smpp.pdu import decode
from tests.fakes import wire

BIND = Bind("centre", b"hush", "VMA", "10086999", 3, 1)
LIMITS = Limits(window=2, bind_s=10.0, enquire_link_s=30.0, response_s=20.0, drain_s=5.0)
CUSTOMER = "8613800138000"
SMS = Outgoing(CUSTOMER, "已受理".encode("utf-16-be"), 8)


class Centre:
    """A session with the octets and the events that came of it, at a time that the test sets."""

    def __init__(self, room: int = 1000, **limits: Any) -> None:
        self.now = 100.0
        self.metrics = CentreMetrics()
        self.left = room
        self.session = Session(BIND, LIMITS._replace(**limits), self.metrics, self._admit, self.now)
        self.events: list[Event] = []
        self.sent: list[bytes] = []

    def _admit(self, _message: Delivered) -> bool:
        self.left -= 1
        return self.left >= 0

    def said(self) -> list[bytes]:
        """The PDUs that were sent since the last time."""
        octets, events = self.session.take()
        self.events += events
        pdus = wire.split(octets)
        self.sent += pdus
        return pdus

    def headers(self) -> list[wire.Header]:
        return [wire.header(pdu) for pdu in self.said()]

    def hears(self, *pdus: bytes) -> list[wire.Header]:
        """What is said to these."""
        self.said()
        self.session.receive(b"".join(pdus), self.now, 1_700_000_000_000_000)
        return self.headers()

    def at(self, now: float) -> list[wire.Header]:
        """What is said when it is this time."""
        self.said()
        self.now = now
        self.session.tick(now)
        return self.headers()

    def submit(self) -> int:
        return self.session.submit(SMS, self.now)

    def happened(self) -> list[Event]:
        self.said()
        events, self.events = self.events, []
        return events


@pytest.fixture
def centre() -> Centre:
    """A session whose bind was accepted."""
    return bound()


def bound(**options: Any) -> Centre:
    centre = Centre(**options)
    (bind,) = centre.said()
    centre.hears(wire.response(bind, 0, b"SMSC\0"))
    assert centre.happened() == [Bound()]
    return centre


def deliver(number: int = 7, **fields: Any) -> bytes:
    return wire.deliver_sm(number, CUSTOMER, "10086999", b"10657555*spam", **fields)


# the bind


def test_it_binds_as_a_transceiver_for_its_short_code():
    (octets,) = Centre().said()

    bind = decode(octets)

    assert (bind.command_id, bind.sequence_number) == (c.BIND_TRANSCEIVER, 1)
    assert bind.fields == {
        "system_id": b"centre",
        "password": b"hush",
        "system_type": b"VMA",
        "interface_version": 0x34,
        "addr_ton": 3,
        "addr_npi": 1,
        "address_range": b"10086999",
    }


def test_nothing_is_submitted_before_the_bind_is_accepted():
    centre = Centre()

    assert (centre.session.bound, centre.session.room) == (False, 0)
    with pytest.raises(RuntimeError):
        centre.submit()


@pytest.mark.parametrize(
    ("command_id", "status", "said"),
    [
        (c.BIND_TRANSCEIVER_RESP, c.ESME_RINVPASWD, c.ESME_RINVPASWD),
        (c.GENERIC_NACK, c.ESME_RINVCMDID, c.ESME_RINVCMDID),
        (c.GENERIC_NACK, 0, c.ESME_RUNKNOWNERR),
    ],
)
def test_a_refused_bind_is_the_end(command_id: int, status: int, said: int):
    centre = Centre()
    centre.hears(wire.pack(command_id, 1, command_status=status))

    assert centre.happened() == [Ended(Why.REFUSED, said)]
    assert centre.session.next_deadline() == float("inf")


@pytest.mark.parametrize(
    "pdu",
    [
        wire.pack(c.BIND_TRANSCEIVER_RESP, 2, b"SMSC\0"),
        wire.pack(c.BIND_RECEIVER_RESP, 1, b"SMSC\0"),
        wire.pack(c.SUBMIT_SM_RESP, 1, b"1\0"),
    ],
)
def test_what_is_no_answer_to_the_bind_changes_nothing(pdu: bytes):
    centre = Centre()

    assert centre.hears(pdu) == []
    assert centre.happened() == []
    assert centre.metrics.dropped["unexpected_response"] == 1


def test_a_bind_is_not_waited_for_without_end():
    centre = Centre()

    assert centre.session.next_deadline() == 110.0
    assert centre.at(109.9) == []
    centre.at(110.0)
    assert centre.happened() == [Ended(Why.BIND_TIMEOUT)]


def test_before_the_bind_only_the_link_is_answered():
    centre = Centre()

    said = centre.hears(deliver(5), wire.pack(c.ENQUIRE_LINK, 6), wire.pack(c.UNBIND, 8))

    assert [(one.command_id, one.command_status, one.sequence_number) for one in said] == [
        (c.DELIVER_SM_RESP, c.ESME_RINVBNDSTS, 5),
        (c.ENQUIRE_LINK_RESP, 0, 6),
        (c.GENERIC_NACK, c.ESME_RINVCMDID, 8),
    ]


# messages


def test_a_message_is_handed_over_and_answered_when_it_is_said_how(centre: Centre):
    tlvs = [(c.TAG_SAR_MSG_REF_NUM, b"\0\1"), (c.TAG_SAR_TOTAL_SEGMENTS, b"\2")]
    assert centre.hears(deliver(7, esm_class=0x40, data_coding=8, tlvs=tlvs)) == []

    (message,) = centre.happened()

    assert isinstance(message, Delivered)
    assert (message.command_id, message.sequence_number) == (c.DELIVER_SM, 7)
    assert (message.source, message.source_ton, message.source_npi) == (CUSTOMER.encode(), 0, 1)
    assert message.destination == b"10086999"
    assert (message.esm_class, message.data_coding, message.udhi) == (0x40, 8, True)
    assert message.octets == b"10657555*spam"
    assert message.tlvs == dict(tlvs)
    assert message.received_at == 1_700_000_000_000_000
    assert centre.session.answer(message, c.ESME_ROK)
    assert centre.said() == [wire.pack(c.DELIVER_SM_RESP, 7, b"\0")]
    assert not centre.session.answer(message, c.ESME_ROK)
    assert centre.said() == []


def test_data_sm_and_message_payload_are_messages_too(centre: Centre):
    payload = [(c.TAG_MESSAGE_PAYLOAD, b"10657555*long")]
    centre.hears(wire.data_sm(9, CUSTOMER, "10086999", tlvs=payload), deliver(10))

    first, second = centre.happened()

    assert isinstance(first, Delivered)
    assert (first.command_id, first.octets) == (c.DATA_SM, b"10657555*long")
    assert isinstance(second, Delivered)
    assert centre.session.answer(second, c.ESME_RX_T_APPN)
    assert centre.session.answer(first, c.ESME_ROK)
    assert centre.said() == [
        wire.pack(c.DELIVER_SM_RESP, 10, b"\0", c.ESME_RX_T_APPN),
        wire.pack(c.DATA_SM_RESP, 9, b"\0"),
    ]


def test_a_repeated_sequence_number_is_another_message(centre: Centre):
    centre.hears(deliver(7), deliver(7))

    first, second = centre.happened()

    assert isinstance(first, Delivered)
    assert isinstance(second, Delivered)
    assert centre.session.answer(first, 0)
    assert centre.session.answer(second, 0)
    assert len(centre.said()) == 2


def test_a_message_that_cannot_be_read_is_refused_and_the_next_one_is_taken(centre: Centre):
    bad = wire.submit_sm(3, CUSTOMER, "10086999", command_id=c.DELIVER_SM, sm_length=200)

    (answer,) = centre.hears(bad, deliver(4))

    assert (answer.command_id, answer.command_status) == (c.DELIVER_SM_RESP, c.ESME_RX_P_APPN)
    unreadable, message = centre.happened()
    assert unreadable == Unreadable(c.DELIVER_SM, "sm_length goes past the end")
    assert isinstance(message, Delivered)
    assert centre.metrics.deliveries[Outcome.MALFORMED] == 1


def test_what_is_over_the_limit_is_answered_as_temporary():
    centre = bound(room=1)

    (answer,) = centre.hears(deliver(1), deliver(2))

    assert (answer.sequence_number, answer.command_status) == (2, c.ESME_RX_T_APPN)
    assert len(centre.happened()) == 1
    assert centre.metrics.deliveries[Outcome.BUSY] == 1


@pytest.mark.parametrize("command_id", [c.SUBMIT_SM, c.BIND_RECEIVER, c.QUERY_SM, 0x00007777])
def test_what_an_smsc_has_no_business_to_ask_is_nacked(centre: Centre, command_id: int):
    assert centre.hears(wire.pack(command_id, 12)) == [
        wire.Header(16, c.GENERIC_NACK, c.ESME_RINVCMDID, 12)
    ]
    assert centre.metrics.dropped["unexpected_request"] == 1


def test_an_alert_has_no_answer(centre: Centre):
    assert centre.hears(wire.pack(c.ALERT_NOTIFICATION, 12, b"\1\0011\0\0\0002\0")) == []
    assert centre.happened() == []


def test_a_stream_that_cannot_be_cut_is_answered_once_and_ends(centre: Centre):
    said = centre.hears(deliver(1), b"HTTP/1.1 200 OK\r\n\r\n")

    assert [(one.command_id, one.command_status) for one in said] == [
        (c.GENERIC_NACK, c.ESME_RINVCMDLEN)
    ]
    message, ended = centre.happened()
    assert ended == Ended(Why.FRAMING)
    assert isinstance(message, Delivered)
    assert not centre.session.answer(message, 0)
    assert centre.hears(deliver(2)) == []


# SMS


def test_an_sms_comes_from_the_short_code(centre: Centre):
    number = centre.submit()

    (octets,) = centre.said()
    pdu = decode(octets)
    assert (pdu.command_id, pdu.sequence_number) == (c.SUBMIT_SM, number)
    shown = {name: value for name, value in pdu.fields.items() if value}
    assert shown == {
        "source_addr_ton": 3,
        "source_addr_npi": 1,
        "source_addr": b"10086999",
        "dest_addr_ton": 1,
        "dest_addr_npi": 1,
        "destination_addr": CUSTOMER.encode(),
        "registered_delivery": 1,
        "data_coding": 8,
        "short_message": "已受理".encode("utf-16-be"),
    }


def test_a_long_sms_goes_as_payload(centre: Centre):
    centre.session.submit(Outgoing(CUSTOMER, b"x" * 255, 0), centre.now)

    (octets,) = centre.said()
    pdu = decode(octets)
    assert pdu.fields["short_message"] == b""
    assert pdu.tlvs == [(c.TAG_MESSAGE_PAYLOAD, b"x" * 255)]


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        (wire.pack(c.SUBMIT_SM_RESP, 2, b"0a1\0"), Answer(0, b"0a1")),
        (wire.pack(c.SUBMIT_SM_RESP, 2), Answer(0, b"")),
        (wire.pack(c.SUBMIT_SM_RESP, 2, b"no end"), Answer(0, b"")),
        (wire.pack(c.SUBMIT_SM_RESP, 2, command_status=0x58), Answer(0x58, b"")),
        (wire.pack(c.GENERIC_NACK, 2, command_status=0x02), Answer(0x02, b"")),
        (wire.pack(c.GENERIC_NACK, 2), Answer(c.ESME_RUNKNOWNERR, b"")),
    ],
)
def test_answers_to_an_sms(centre: Centre, pdu: bytes, answer: Answer):
    assert centre.submit() == 2

    centre.hears(pdu)

    assert centre.happened() == [Answered(2, answer)]
    assert centre.session.in_flight == 0


def test_which_answers_are_final():
    assert Answer(0, b"1").accepted
    assert all(Answer(status, b"").temporary for status in (0x08, 0x14, 0x45, 0x58, 0x64))
    assert not any(Answer(status, b"").temporary for status in (0x00, 0x0B, 0x66, 0xFF))


def test_the_window_opens_with_each_answer(centre: Centre):
    first, second = centre.submit(), centre.submit()
    assert centre.session.room == 0
    with pytest.raises(RuntimeError):
        centre.submit()

    centre.hears(wire.pack(c.SUBMIT_SM_RESP, second, b"2\0"))

    assert centre.session.room == 1
    assert centre.submit() not in (first, second)


def test_an_answer_that_does_not_come_is_not_waited_for_and_then_is_late(centre: Centre):
    number = centre.submit()
    assert centre.session.next_deadline() == 120.0

    centre.at(120.0)
    assert centre.happened() == [Answered(number, None)]
    assert centre.session.room == 2
    centre.hears(wire.pack(c.SUBMIT_SM_RESP, number, b"1\0"))

    assert centre.happened() == []
    assert centre.metrics.dropped["unexpected_response"] == 1


def test_a_response_is_never_answered(centre: Centre):
    for command_id in (c.SUBMIT_SM_RESP, c.QUERY_SM_RESP, c.GENERIC_NACK, 0x80007777):
        assert centre.hears(wire.pack(command_id, 999)) == []
    assert centre.metrics.dropped["unexpected_response"] == 4


def test_sequence_numbers_begin_anew_and_pass_over_those_in_use(centre: Centre):
    first = centre.submit()
    centre.session._last_number = SEQUENCE_NUMBER_MOST - 1

    second = centre.submit()
    centre.hears(wire.pack(c.SUBMIT_SM_RESP, second, b"1\0"))
    numbers = []
    for _ in range(2):
        numbers.append(centre.submit())
        centre.hears(wire.pack(c.SUBMIT_SM_RESP, numbers[-1], b"1\0"))

    assert (first, second) == (2, SEQUENCE_NUMBER_MOST)
    assert numbers == [1, 3]


# time


def test_a_silent_link_is_asked_and_an_answer_is_enough(centre: Centre):
    assert centre.session.next_deadline() == 130.0
    (asked,) = centre.at(130.0)
    assert asked.command_id == c.ENQUIRE_LINK
    assert centre.session.next_deadline() == 150.0

    centre.now = 149.0
    assert centre.hears(wire.pack(c.ENQUIRE_LINK_RESP, asked.sequence_number)) == []

    assert centre.session.next_deadline() == 179.0
    assert centre.happened() == []


def test_any_pdu_is_a_sign_of_life_and_half_of_one_is_none(centre: Centre):
    centre.at(130.0)
    centre.now = 140.0
    centre.hears(deliver(1)[:10])
    assert centre.session.next_deadline() == 150.0
    centre.hears(deliver(1)[10:])
    assert centre.session.next_deadline() == 170.0


def test_a_link_that_stays_silent_ends_and_its_sms_have_no_answer(centre: Centre):
    centre.at(130.0)
    centre.now = 131.0
    number = centre.submit()

    centre.at(150.0)

    assert centre.happened() == [Answered(number, None), Ended(Why.SILENT)]


# the end


def test_the_smsc_is_unbound_once_neither_side_owes_anything(centre: Centre):
    number = centre.submit()
    centre.hears(deliver(7))
    (message,) = centre.happened()
    assert isinstance(message, Delivered)

    assert centre.hears(wire.pack(c.UNBIND, 40), deliver(8)) == [
        wire.Header(17, c.DELIVER_SM_RESP, c.ESME_RX_T_APPN, 8)
    ]
    assert not centre.session.bound
    centre.session.answer(message, 0)
    assert [one.command_id for one in centre.headers()] == [c.DELIVER_SM_RESP]
    said = centre.hears(wire.pack(c.SUBMIT_SM_RESP, number, b"1\0"))

    assert said == [wire.Header(16, c.UNBIND_RESP, 0, 40)]
    assert centre.happened() == [Answered(number, Answer(0, b"1")), Ended(Why.UNBOUND)]


def test_an_unbind_does_not_wait_for_ever(centre: Centre):
    number = centre.submit()
    centre.hears(wire.pack(c.UNBIND, 40))
    assert centre.session.next_deadline() == 105.0

    assert centre.at(105.0) == [wire.Header(16, c.UNBIND_RESP, 0, 40)]
    assert centre.happened() == [Answered(number, None), Ended(Why.UNBOUND)]


def test_draining_takes_nothing_new_and_answers_what_is_open(centre: Centre):
    number = centre.submit()
    centre.hears(deliver(7))
    (message,) = centre.happened()
    assert isinstance(message, Delivered)

    centre.session.drain()

    assert (centre.session.bound, centre.session.room) == (False, 0)
    assert centre.hears(deliver(8)) == [wire.Header(17, c.DELIVER_SM_RESP, c.ESME_RX_T_APPN, 8)]
    assert centre.metrics.deliveries[Outcome.STOPPING] == 1
    assert centre.session.answer(message, 0)
    assert not centre.session.quiet
    centre.hears(wire.pack(c.SUBMIT_SM_RESP, number, b"1\0"))
    assert centre.session.quiet


@pytest.mark.parametrize("answered", [True, False])
def test_our_unbind_ends_it_answered_or_not(centre: Centre, answered: bool):
    centre.said()
    centre.session.unbind(centre.now)
    (unbind,) = centre.said()
    assert wire.header(unbind).command_id == c.UNBIND

    if answered:
        assert centre.hears(wire.response(unbind)) == []
    else:
        assert centre.session.next_deadline() == 100.0 + UNBIND_WITHIN_S
        centre.at(102.0)

    assert centre.happened() == [Ended(Why.STOPPED)]


def test_unbinds_that_cross_are_both_answered(centre: Centre):
    centre.session.unbind(centre.now)
    (unbind,) = centre.said()

    assert centre.hears(wire.pack(c.UNBIND, 40)) == [wire.Header(16, c.UNBIND_RESP, 0, 40)]
    centre.hears(wire.response(unbind))

    assert centre.happened() == [Ended(Why.STOPPED)]


def test_a_connection_that_breaks_leaves_sms_without_an_answer(centre: Centre):
    number = centre.submit()

    centre.session.lost(Why.RESET)
    centre.session.lost(Why.CLOSED)

    assert centre.happened() == [Answered(number, None), Ended(Why.RESET)]


# how soon it is tried again


def test_pauses_double_up_to_half_a_minute_and_a_steady_bind_begins_anew():
    backoff = Backoff(lambda _least, most: most)

    assert [backoff.failed() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.bound_for(1.0)
    assert backoff.failed() == 30
    backoff.bound_for(60.0)
    assert backoff.failed() == 0.5


def test_a_refused_bind_is_tried_more_slowly():
    backoff = Backoff(lambda least, _most: least)

    assert [backoff.refused() for _ in range(6)] == [2.5, 5, 10, 20, 30, 30]
    assert backoff.failed() == 0
