"""What holds of the report centre's session whatever its SMSC says, in whatever pieces and order.

Each request is answered exactly once, no response ever is, the window is kept, and each SMS has
one outcome.
"""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from smsfilter.deskmetrics import CentreMetrics
from smsfilter.reports.events import Answered, Bind, Ended, Limits, Unreadable, Why
from smsfilter.reports.session import Session
from smsfilter.reports.sms import Delivered, Outgoing
from smsfilter.smpp import const as c
from smsfilter.smpp.pdu import decode
from tests.fakes import wire

WINDOW, ROOM = 3, 4
LIMITS = Limits(WINDOW, bind_s=10.0, enquire_link_s=30.0, response_s=20.0, drain_s=5.0)
NUMBERS = st.integers(0, 5) | st.sampled_from((0x7FFFFFFF, 0xFFFFFFFF))
STATUSES = st.sampled_from((0, 0, c.ESME_RTHROTTLED, c.ESME_RX_T_APPN, c.ESME_RINVDSTADR))
REQUESTS = (c.ENQUIRE_LINK, c.SUBMIT_SM, c.QUERY_SM, c.BIND_RECEIVER, c.OUTBIND, 0x7777)
RESPONSES = (c.SUBMIT_SM_RESP, c.ENQUIRE_LINK_RESP, c.GENERIC_NACK, c.DELIVER_SM_RESP, 0x80007777)


class AnSMSC(RuleBasedStateMachine):
    """An SMSC that says anything at any time, and a desk that answers when it likes."""

    @initialize(accepted=st.booleans())
    def bind(self, accepted: bool) -> None:
        self.now = 0.0
        self.messages: list[Delivered] = []
        self.held = 0  # of those, how many take room
        self.owed: Counter[tuple[int, int]] = Counter()  # (command_id, sequence_number), or nack
        self.nacks_owed: Counter[int] = Counter()
        self.unbinds: Counter[int] = Counter()
        self.submitted: Counter[int] = Counter()
        self.open: set[int] = set()
        self.ended = 0
        self.kept = b""
        bind = Bind("centre", b"hush", "", "10086999", 0, 1)
        self.session = Session(bind, LIMITS, CentreMetrics(), self._admit, self.now)
        self.take()
        if accepted:
            self.hear(wire.pack(c.BIND_TRANSCEIVER_RESP, 1, b"SMSC\0"))

    def _admit(self, _message: Delivered) -> bool:
        if self.held >= ROOM:
            return False
        self.held += 1
        return True

    def take(self) -> None:
        """Look at everything that was said and has happened."""
        octets, events = self.session.take()
        for pdu in wire.split(octets):
            self._sent(pdu)
        for event in events:
            if isinstance(event, Delivered):
                self.messages.append(event)
            elif isinstance(event, Answered):
                self.open.remove(event.sequence_number)
            elif isinstance(event, Ended):
                self.ended += 1
            else:
                assert not isinstance(event, Unreadable) or event.command_id == c.DELIVER_SM

    def _sent(self, pdu: bytes) -> None:
        decode(pdu)
        _, command_id, _, number = wire.header(pdu)
        if command_id == c.GENERIC_NACK:
            assert self.nacks_owed[number] > 0
            self.nacks_owed[number] -= 1
        elif command_id == c.UNBIND_RESP:
            assert self.unbinds[number] > 0
            self.unbinds[number] -= 1
        elif command_id & c.RESPONSE_BIT:
            assert self.owed[command_id, number] > 0
            self.owed[command_id, number] -= 1
        else:
            assert 1 <= number <= 0x7FFFFFFF
            assert self.ended == 0

    def hear(self, pdu: bytes, pieces: int = 1) -> None:
        size = max(len(pdu) // pieces, 1)
        for at in range(0, len(pdu), size):
            self.session.receive(pdu[at : at + size], self.now, 0)
        self.take()

    @rule(number=NUMBERS, pieces=st.integers(1, 40), readable=st.booleans())
    def brings_a_message(self, number: int, pieces: int, readable: bool) -> None:
        if not self.session.ended:
            self.owed[c.DELIVER_SM_RESP, number] += 1
        pdu = wire.deliver_sm(number, "8613800138000", "10086999", b"10657555*spam")
        if not readable:
            pdu = wire.pack(c.DELIVER_SM, number, b"\0\0\0no end")
        self.hear(pdu, pieces)

    @rule(command_id=st.sampled_from(REQUESTS), number=NUMBERS)
    def asks(self, command_id: int, number: int) -> None:
        if not self.session.ended:
            if command_id == c.ENQUIRE_LINK:
                self.owed[c.ENQUIRE_LINK_RESP, number] += 1
            else:
                self.nacks_owed[number] += 1
        self.hear(wire.pack(command_id, number))

    @rule(command_id=st.sampled_from(RESPONSES), number=st.integers(0, 12), status=STATUSES)
    def answers(self, command_id: int, number: int, status: int) -> None:
        self.hear(wire.pack(command_id, number, b"" if status else b"1\0", status))

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), status=STATUSES)
    def the_desk_answers(self, data: st.DataObject, status: int) -> None:
        message = data.draw(st.sampled_from(self.messages))
        self.messages.remove(message)
        self.held -= 1
        before = self.session.ended
        sent = self.session.answer(message, status)
        assert sent <= (not before)
        assert not self.session.answer(message, status)
        self.take()

    @precondition(lambda self: self.session.room > 0)
    @rule()
    def the_desk_submits(self) -> None:
        number = self.session.submit(Outgoing("8613800138000", b"ok", 0), self.now)
        assert number not in self.open
        self.open.add(number)
        self.take()

    @rule(seconds=st.sampled_from((0.1, 1.0, 4.0, 6.0)))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        while self.session.next_deadline() <= self.now:
            self.session.tick(self.session.next_deadline())
        self.take()

    @rule(number=NUMBERS)
    def unbinds_it(self, number: int) -> None:
        if self.session.bound or self.session.state.name in ("BOUND_TRX", "UNBOUND"):
            self.unbinds[number] += 1
        elif not self.session.ended:
            self.nacks_owed[number] += 1
        self.hear(wire.pack(c.UNBIND, number))

    @rule(seldom=st.integers(0, 9))
    def the_desk_stops(self, seldom: int) -> None:
        if seldom == 0:
            self.session.drain()
        elif seldom == 1:
            self.session.unbind(self.now)
        self.take()

    @rule(seldom=st.integers(0, 19))
    def it_breaks(self, seldom: int) -> None:
        if seldom == 0:
            self.session.lost(Why.RESET)
        elif seldom == 1:
            if not self.session.ended:
                self.nacks_owed[0] += 1
            self.hear(b"\0\0\0\3")
        self.take()

    @invariant()
    def the_window_is_kept(self) -> None:
        assert len(self.open) == self.session.in_flight <= WINDOW

    @invariant()
    def what_is_owed_is_owed_to_open_messages_alone(self) -> None:
        if not self.session.ended:
            assert not +self.nacks_owed
            open_messages = Counter(
                (one.command_id | c.RESPONSE_BIT, one.sequence_number) for one in self.messages
            )
            assert +self.owed == open_messages

    @invariant()
    def it_ends_once_and_nothing_is_open_then(self) -> None:
        assert self.ended == int(self.session.ended)
        assert not (self.session.ended and self.open)


TestAnySMSC = AnSMSC.TestCase
TestAnySMSC.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
