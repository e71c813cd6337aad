"""The history checker against made-up histories: it must find each broken promise, and no other."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.history import Block, Broken, Event, History, Session, broken, check, slowest_s
from tests.fakes.signs import Fault, Uses, kept, unseen

FROM, FREE, BLOCKED = "10657555", "8613800138000", "8613800138001"
BIND = wire.bind(c.BIND_TRANSCEIVER, 1, "acme", system_type="s1")
FIRST, SECOND, THIRD = (wire.submit_sm(n, FROM, f"861380013900{n}") for n in (2, 3, 4))
STOPPED = wire.submit_sm(5, FROM, BLOCKED)
MULTI = wire.pack(c.QUERY_SM, 6, b"id\0\0\0\0")
DELIVER = wire.deliver_sm(1, FREE, FROM)
UNBIND = wire.pack(c.UNBIND, 0x7FFFFFFF)


def ok(request: bytes) -> bytes:
    return wire.response(request, 0, b"id\0")


def events(*pdus: bytes) -> list[Event]:
    return [Event(float(n), pdu) for n, pdu in enumerate(pdus)]


def good() -> History:
    """Three messages pass, one is refused, something comes down."""
    return History(
        [
            Session(
                "acme",
                sent=events(BIND, FIRST, STOPPED, SECOND, MULTI, THIRD),
                told=events(
                    ok(BIND),
                    ok(FIRST),
                    wire.response(STOPPED, 0x66),
                    DELIVER,
                    ok(THIRD),
                    ok(SECOND),
                    ok(MULTI),
                ),
                ended=False,
                arrived=[Event(at + 0.5, pdu) for at, pdu in events(BIND, FIRST, SECOND)]
                + [Event(5.5, MULTI), Event(5.6, THIRD), Event(9.0, wire.response(DELIVER))],
                said=[DELIVER],
            )
        ],
        blocks=[Block(BLOCKED, "acme", since=0.0)],
    )


def test_a_good_history_breaks_nothing() -> None:
    assert list(broken(good())) == []
    check(good())
    assert slowest_s(good().sessions[0]) == 2.0


def test_a_session_that_has_ended_may_lack_answers_and_is_unbound() -> None:
    history = good()
    session = history.sessions[0]
    session.ended = True
    del session.told[3:]
    session.arrived.append(Event(9.5, UNBIND))
    assert list(broken(history)) == []


def test_nothing_has_to_reach_the_smsc_of_an_esme_that_never_bound() -> None:
    session = Session("acme", events(BIND), events(wire.response(BIND, 8)), False, [])
    assert list(broken(History([session]))) == []


Damage = Callable[[History], object]


def arrived(*pdus: bytes, at: float = 9.5) -> Damage:
    return lambda history: history.sessions[0].arrived.extend(Event(at, pdu) for pdu in pdus)


def told(*pdus: bytes) -> Damage:
    return lambda history: history.sessions[0].told.extend(Event(9.5, pdu) for pdu in pdus)


def not_told(at: int) -> Damage:
    return lambda history: history.sessions[0].told.pop(at)


def swapped(history: History) -> None:
    seen = history.sessions[0].arrived
    seen[1], seen[2] = seen[2]._replace(at=1.0), seen[1]._replace(at=2.0)


def other_octets(history: History) -> None:
    seen = history.sessions[0].arrived
    seen[1] = seen[1]._replace(pdu=FIRST.replace(b"hi", b"ho"))


def passed_and_refused(history: History) -> None:
    history.sessions[0].told[1] = Event(1.0, wire.response(FIRST, 0x58))


def ok_for_nothing(history: History) -> None:
    del history.sessions[0].arrived[1]


def someone_elses(history: History) -> None:
    other = Session("bravo", events(UNBIND), events(ok(UNBIND)), False, events(UNBIND, FIRST))
    history.sessions.append(other)


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        (arrived(wire.submit_sm(77, FROM, FREE)), "nothing unsent"),
        (someone_elses, "nothing unsent"),
        (lambda history: history.strays.append(FIRST), "nothing unsent"),
        (arrived(THIRD), "nothing repeated"),
        (arrived(UNBIND, UNBIND, FIRST), "nothing repeated"),
        (swapped, "order"),
        (other_octets, "same octets"),
        (told(ok(FIRST)), "one answer each"),
        (told(wire.pack(c.GENERIC_NACK, 3, b"", 3)), "one answer each"),
        (told(wire.pack(c.SUBMIT_SM_RESP, 99)), "one answer each"),
        (told(wire.pack(c.DATA_SM_RESP, 3)), "one answer each"),
        (not_told(4), "one answer each"),
        (not_told(6), "one answer each"),
        (passed_and_refused, "true answers"),
        (ok_for_nothing, "true answers"),
        (not_told(3), "nothing lost"),
        (lambda history: history.sessions[0].said.insert(0, wire.deliver_sm(9, "1", "2")), "lost"),
        (told(DELIVER), "same octets"),
        (told(wire.deliver_sm(2, FREE, FROM)), "same octets"),
    ],
)
def test_each_broken_promise_is_found(damage: Damage, promise: str) -> None:
    history = good()
    damage(history)
    assert any(promise in one.promise for one in broken(history))
    with pytest.raises(AssertionError, match=promise):
        check(history)


@pytest.mark.parametrize(
    ("sent", "came", "since", "until", "held"),
    [
        (5.0, 5.5, 4.9, 99.0, False),
        (5.0, 5.5, 5.1, 99.0, True),  # sent before the block was confirmed
        (5.0, 5.5, 4.0, 5.4, True),  # taken back before it came
        (5.0, 5.5, 4.0, 5.6, False),
    ],
)
def test_what_passes_for_a_blocked_customer_is_found(
    sent: float, came: float, since: float, until: float, held: bool
) -> None:
    session = Session(
        "acme",
        [Event(0.0, BIND), Event(sent, STOPPED)],
        events(ok(BIND), ok(STOPPED)),
        False,
        [Event(0.1, BIND), Event(came, STOPPED)],
    )
    history = History([session], blocks=[Block(BLOCKED, "acme", since, until)])
    assert [one.promise for one in broken(history)] == ([] if held else ["blocks hold"])
    others = [Block(BLOCKED, "bravo", since, until), Block(FREE, "acme", since, until)]
    assert list(broken(replace(history, blocks=others))) == []


def test_a_nack_answers_the_request_it_names_and_one_for_a_stream_answers_none() -> None:
    session = good().sessions[0]
    session.told[-1] = Event(9.0, wire.pack(c.GENERIC_NACK, 6, b"", 3))
    session.told.append(Event(9.1, wire.pack(c.GENERIC_NACK, 77, b"", c.ESME_RINVCMDLEN)))
    assert list(broken(History([session]))) == []


def multi(*numbers: str, text: bytes = b"hi") -> bytes:
    entries = b"".join(b"\1\1\1" + wire.cstring(number) for number in numbers) + b"\2friends\0"
    head = b"\0\0\1" + wire.cstring(FROM) + bytes((len(numbers) + 1,))
    return wire.pack(c.SUBMIT_MULTI, 8, head + entries + bytes(9) + b"\2" + text)


@pytest.mark.parametrize(
    ("came", "promises"),
    [
        (multi(FREE, BLOCKED), {"blocks hold"}),
        (multi(FREE), set()),
        (multi(), set()),
        (multi(FREE, text=b"ho"), {"same octets"}),
        (multi(BLOCKED, FREE), {"same octets", "blocks hold"}),
        (multi("8613800138009"), {"same octets"}),
    ],
)
def test_a_submit_multi_may_lose_destinations_and_nothing_else(
    came: bytes, promises: set[str]
) -> None:
    sent = multi(FREE, BLOCKED)
    session = Session("acme", events(BIND, sent), events(ok(BIND), ok(sent)), False, [])
    session.arrived = [Event(0.1, BIND), Event(1.5, came)]
    history = History([session], blocks=[Block(BLOCKED, "acme", 0.5)])
    assert {one.promise for one in broken(history)} == promises
    assert wire.customers(wire.data_sm(1, FROM, FREE)) == [FREE.encode()]


# faults seen, and what they took given back


def log_line(second: int, event: str) -> dict[str, str]:
    return {"ts": f"1970-01-01T00:00:{second:02}.5Z", "event": event}


def test_a_fault_has_to_be_seen_in_time_and_so_has_its_end() -> None:
    fault = Fault("frozen", 10.0, 20.0, "redis_away", "redis_up")
    quiet = Fault("slow", 10.0, 20.0)
    seen = [log_line(12, "redis_away"), log_line(25, "redis_up")]
    assert list(unseen([fault, quiet], seen)) == []
    for bad in (seen[:1], seen[1:], [log_line(9, "redis_away"), seen[1]], [log_line(21, "x")] * 2):
        assert "frozen" in next(unseen([fault], bad)).what
    for late in (log_line(31, "redis_up"), log_line(11, "redis_up")):
        assert [one.promise for one in unseen([fault], [seen[0], late])] == ["faults are seen"]
    by_itself = [log_line(10, "redis_away"), log_line(11, "redis_up")]
    assert list(unseen([fault], by_itself)) == []


def test_what_is_kept_is_found() -> None:
    before = Uses(rss_kib=50_000, descriptors=20, sessions=8, in_flight=0)
    more = {"rss_kib": 60_000, "descriptors": 25, "sessions": 9, "in_flight": 1}
    assert list(kept(before, before._replace(rss_kib=50_900), 1000)) == []
    for name, value in more.items():
        found = list(kept(before, before._replace(**{name: value}), 1000))
        assert [one.promise for one in found] == ["bounded"]
        assert isinstance(found[0], Broken)
