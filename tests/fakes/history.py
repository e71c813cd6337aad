"""What was sent, told and received, and which of the promises it breaks.

The ESMEs' record and the SMSC's record are put side by side, session by session; nothing that the
daemon says of itself is used. A session is recognised at the SMSC by the octets of its bind, so
binds have to differ (`mark` makes them). Pure: `broken` gives every broken promise in words, and
the tests of this file feed it made-up histories that break each.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.esme import FakeESME
from tests.fakes.leg import name_of
from tests.fakes.smsc import SMSCConnection

MESSAGES = frozenset({c.SUBMIT_SM, c.DATA_SM, c.SUBMIT_MULTI})
SHOWN_MOST = 12


class Event(NamedTuple):
    """A PDU at one end, and when, in seconds of any one clock."""

    at: float
    pdu: bytes


class Block(NamedTuple):
    """A customer whom a company may not reach, from when Redis had confirmed it."""

    number: str
    account: str
    since: float
    until: float = float("inf")
    """When it was about to be taken back."""


class Broken(NamedTuple):
    """A promise that did not hold."""

    promise: str
    what: str


@dataclass
class Session:
    """Both ends of one session: an ESME's connection, and the SMSC's that belongs to it."""

    account: str
    sent: list[Event]
    """The ESME's requests, its bind first."""
    told: list[Event]
    """What the ESME was sent."""
    ended: bool
    """Its connection has ended, so that answers may be missing."""
    arrived: list[Event]
    """What the SMSC got on its connection; empty when it got none."""
    said: list[bytes] = field(default_factory=list)
    """Requests of the SMSC on that connection."""


@dataclass
class History:
    """All sessions of some time, and the blocks that were in force."""

    sessions: list[Session]
    strays: list[bytes] = field(default_factory=list)
    """What the SMSC got on connections of no session."""
    blocks: Sequence[Block] = ()
    statuses: frozenset[int] = frozenset({0})
    """What the SMSC answers messages with; the proxy says none of it by itself."""

    @classmethod
    def of(
        cls,
        esmes: Iterable[FakeESME],
        connections: Iterable[SMSCConnection],
        blocks: Sequence[Block] = (),
    ) -> "History":
        """What the fakes have recorded: ESMEs that bound once at most, and all they led to."""
        by_bind = {one.received[0]: one for one in connections if one.received}
        sessions = []
        for esme in esmes:
            sent = [Event(*both) for both in zip(esme.sent_at, esme.sent, strict=True)]
            told = [Event(*both) for both in zip(esme.received_at, esme.received, strict=True)]
            mine = by_bind.pop(esme.sent[0], None) if esme.sent else None
            arrived: list[Event] = []
            said: list[bytes] = []
            if mine is not None:
                pairs = zip(mine.received_at, mine.received, strict=True)
                arrived, said = [Event(*both) for both in pairs], mine.said
            account = system_id(esme.sent[0]) if esme.sent else ""
            ended = esme.ended is not None or esme.eof
            sessions.append(Session(account, sent, told, ended, arrived, said))
        strays = [pdu for one in by_bind.values() for pdu in one.received]
        return cls(sessions, strays, blocks)


def mark(number: int) -> dict[str, str]:
    """Fields of a bind that make it like no other."""
    return {"system_type": f"s{number}"}


def system_id(bind: bytes) -> str:
    """Who binds."""
    return bind[16 : bind.index(b"\0", 16)].decode("latin-1")


def check(history: History) -> None:
    """Fail with the broken promises, if there are any."""
    found = list(broken(history))
    if found:
        counts = dict(Counter(one.promise for one in found))
        lines = [f"{one.promise}: {one.what}" for one in found[:SHOWN_MOST]]
        raise AssertionError("\n".join([f"broken promises: {counts}", *lines]))


def broken(history: History) -> Iterator[Broken]:
    """Every promise that this history breaks."""
    for pdu in history.strays:
        yield Broken("nothing unsent", f"{name_of(pdu)} on a connection of no session")
    for session in history.sessions:
        yield from _same_octets_in_order(session)
        yield from _one_answer_each(session)
        yield from _true_answers(session, history.statuses)
        yield from _blocks_hold(session, history.blocks)
        yield from _passed_down(session)


def _requests(events: Iterable[Event]) -> list[Event]:
    return [one for one in events if not wire.header(one.pdu).command_id & c.RESPONSE_BIT]


def _responses(events: Iterable[Event]) -> list[Event]:
    return [one for one in events if wire.header(one.pdu).command_id & c.RESPONSE_BIT]


def _is_own_unbind(pdu: bytes, session: Session) -> bool:
    """The one request that the proxy makes by itself, when the ESME goes."""
    unbind = wire.header(pdu).command_id == c.UNBIND
    return unbind and pdu not in [one.pdu for one in session.sent]


def _same_octets_in_order(session: Session) -> Iterator[Broken]:
    """What the SMSC got is what the ESME sent, less what was refused."""
    waiting = deque(one.pdu for one in session.sent)
    passed: list[bytes] = []
    for _, pdu in _requests(session.arrived):
        if _is_own_unbind(pdu, session):
            continue
        if pdu in waiting:
            while waiting.popleft() != pdu:
                pass
            passed.append(pdu)
            continue
        kept = [one.pdu for one in session.sent]
        if pdu in passed and passed.count(pdu) >= kept.count(pdu):
            yield Broken("nothing repeated", name_of(pdu))
        elif pdu in kept:
            yield Broken("order", f"{name_of(pdu)} came after what was sent later")
        elif any(_is_shortened(one, pdu) for one in kept):
            continue
        elif _key(pdu) in map(_key, kept):
            yield Broken("same octets", f"{name_of(pdu)} is {pdu.hex()}")
        else:
            yield Broken("nothing unsent", name_of(pdu))


def _is_shortened(sent: bytes, came: bytes) -> bool:
    """Whether a submit_multi has only lost destinations: the one change that the proxy makes."""
    if _key(sent) != _key(came) or _key(sent)[0] != c.SUBMIT_MULTI:
        return False
    whole, less = wire.read_submit_multi(sent), wire.read_submit_multi(came)
    left = iter(whole.entries)
    in_order = all(entry in left for entry in less.entries)
    return in_order and (whole.before, whole.after) == (less.before, less.after)


def _key(pdu: bytes) -> tuple[int, int]:
    head = wire.header(pdu)
    return head.command_id, head.sequence_number


def _one_answer_each(session: Session) -> Iterator[Broken]:
    """Each request is answered once, or the session has ended."""
    open_: Counter[tuple[int, int]] = Counter(
        (command_id | c.RESPONSE_BIT, number)
        for command_id, number in (_key(one.pdu) for one in session.sent)
    )
    for _, pdu in _responses(session.told):
        command_id, number = _key(pdu)
        key = (command_id, number)
        if command_id == c.GENERIC_NACK:
            if wire.header(pdu).command_status == c.ESME_RINVCMDLEN:
                continue  # said of a stream, not of a request
            key = next((one for one in open_ if one[1] == number and open_[one]), key)
        if open_[key] < 1:
            yield Broken("one answer each", f"{name_of(pdu)} answers nothing, or again")
        open_[key] -= 1
    if not session.ended:
        for (command_id, number), count in open_.items():
            if count > 0:
                request = wire.pack(command_id & ~c.RESPONSE_BIT, number)
                yield Broken("one answer each", f"{name_of(request)} was never answered")


def _true_answers(session: Session, statuses: frozenset[int]) -> Iterator[Broken]:
    """Who is told ok has got through; who is refused has not."""
    arrived = Counter(_key(one.pdu) for one in session.arrived)
    sent = Counter(_key(one.pdu) for one in session.sent)
    for _, pdu in _responses(session.told):
        head = wire.header(pdu)
        key = (head.command_id & ~c.RESPONSE_BIT, head.sequence_number)
        if key[0] not in MESSAGES or sent[key] != 1:
            continue
        if head.command_status in statuses and not arrived[key]:
            yield Broken("true answers", f"{name_of(pdu)}, but the SMSC never got it")
        elif head.command_status not in statuses and arrived[key]:
            yield Broken("true answers", f"{name_of(pdu)}, but the SMSC got it")


def _blocks_hold(session: Session, blocks: Sequence[Block]) -> Iterator[Broken]:
    """Nothing passes for a customer who was blocked all the while it was under way."""
    mine: dict[bytes, list[Block]] = {}
    for block in blocks:
        if block.account == session.account:
            mine.setdefault(block.number.encode(), []).append(block)
    if not mine:
        return
    sent_at = {_key(one.pdu): one.at for one in reversed(session.sent)}  # the first counts
    for at, pdu in session.arrived:
        for block in [one for to in wire.customers(pdu) for one in mine.get(to, ())]:
            if block.since < sent_at.get(_key(pdu), at) and at < block.until:
                yield Broken("blocks hold", f"{name_of(pdu)} for a blocked customer")


def _passed_down(session: Session) -> Iterator[Broken]:
    """What the SMSC asks reaches its ESME as it was said, in that order, once."""
    waiting = deque(session.said)
    lost: list[bytes] = []
    for _, pdu in _requests(session.told):
        if pdu not in waiting:
            yield Broken("same octets", f"{name_of(pdu)} at the ESME: not said, again, or late")
            continue
        while (one := waiting.popleft()) != pdu:
            lost.append(one)
    if not session.ended:
        lost += waiting
    for pdu in lost:
        yield Broken("nothing lost", f"{name_of(pdu)} of the SMSC never came")


def slowest_s(session: Session) -> float:
    """The longest that one of its messages waited for an answer, in seconds."""
    asked: dict[tuple[int, int], float] = {}
    for at, pdu in session.sent:
        command_id, number = _key(pdu)
        if command_id in MESSAGES:
            asked[command_id | c.RESPONSE_BIT, number] = at
    waits = (at - asked[_key(pdu)] for at, pdu in _responses(session.told) if _key(pdu) in asked)
    return max(waits, default=0.0)
