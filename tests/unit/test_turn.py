"""One turn: which octets go to the SMSC, which answers go to the ESME, whatever the index says."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import hiredis
import pytest

from smsfilter.metrics import Metrics
from smsfilter.proxy.batch import QUESTIONS_MOST, Batch
from smsfilter.proxy.limits import Allowances
from smsfilter.proxy.session import MEMO_MOST, Session
from smsfilter.proxy.turn import Turn
from smsfilter.rules.judge import Judge
from smsfilter.rules.policy import Policy
from smsfilter.rules.senders import Registry, RegistryFile
from smsfilter.rules.verdict import Kind, Reason
from smsfilter.smpp import const as c
from smsfilter.smpp.framer import Framer
from smsfilter.smpp.session import State
from tests.fakes import wire

NOW = 1_795_000_000.0
FROM, TO, BLOCKED = "10657555", "8613800138000", "8613800138001"
REGISTRY = Registry(
    RegistryFile.model_validate(
        {
            "companies": {
                "acme": {"accounts": ["acme"], "sources": [FROM], "headers": ["ACME"]},
                "bravo": {"accounts": ["bravo"], "sources": ["10658888"]},
            }
        }
    ),
    ZoneInfo("Asia/Shanghai"),
)
ERROR = hiredis.ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")

Index = Callable[[str, list[str]], object]


def index(members: dict[str, set[str]]) -> Index:
    """A healthy Redis with these sets."""
    return lambda key, asked: [int(member in members.get(key, ())) for member in asked]


CLEAN = {f"block:{{{BLOCKED}}}": {"acme"}, "approved:{acme}": {"*"}, "approved:{bravo}": {"*"}}

HEALTHY = index(CLEAN)


def judge(**policy: Any) -> Judge:
    return Judge(Policy.model_validate(policy), REGISTRY)


def bound(account: str = "acme", state: State = State.BOUND_TRX) -> Session:
    session = Session("192.0.2.1", 1024, 70_000)
    session.bound(state, account, 0x34, 70_000)
    return session


def batch_of(judge: Judge, now: float = NOW, allowances: Allowances | None = None) -> Batch:
    return Batch(judge, "", now, 50.0, allowances or Allowances())


class Outcome:
    """What a turn left, and the questions of its batch."""

    def __init__(self, turn: Turn, batch: Batch, questions: list[list[str]]) -> None:
        self.turn = turn
        self.forward = turn.forward
        self.answers = wire.split(b"".join(turn.answers))
        self.questions = questions
        self.metrics = turn.metrics
        self.batch = batch

    @property
    def statuses(self) -> list[tuple[int, int]]:
        """(sequence_number, command_status) of each answer."""
        return [(h.sequence_number, h.command_status) for h in map(wire.header, self.answers)]


def scanned(session: Session, batch: Batch, *pdus: bytes) -> Turn:
    framer = Framer(70_000)
    framer.feed(b"".join(pdus))
    buffer, spans = framer.take(1000)
    turn = Turn(session, buffer, spans, 50.0, Metrics())
    turn.scan(batch)
    return turn


def settled(batch: Batch, turn: Turn, redis: Index | None) -> Outcome:
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(batch.octets(b"*2\r\n$3\r\nGET\r\n$5\r\nEPOCH\r\n"))
    words: list[list[str]] = []
    while (command := reader.gets()) is not False:
        words.append(command)
    assert words[0] == words[-1] == ["GET", "EPOCH"]
    asked = words[1:-1]
    assert all(command[0] == "SMISMEMBER" for command in asked)
    replies = None
    if redis is not None:
        replies = [b"e:1", *(redis(key, members) for _, key, *members in asked), b"e:1"]
    turn.settle(batch, replies, batch.granted(replies))
    return Outcome(turn, batch, asked)


def run(
    *pdus: bytes,
    redis: Index | None = HEALTHY,
    session: Session | None = None,
    paused: bool = False,
    **policy: Any,
) -> Outcome:
    batch = batch_of(judge(**policy), NOW)
    batch.paused = paused
    return settled(batch, scanned(session or bound(), batch, *pdus), redis)


def submits(*numbers: str, source: str = FROM, **fields: Any) -> list[bytes]:
    return [wire.submit_sm(n, source, to, **fields) for n, to in enumerate(numbers, 1)]


# submissions


def test_clean_messages_pass_as_the_very_buffer_they_came_in() -> None:
    session = bound()
    outcome = run(*submits(TO, "+86 138-0013-8002", "13800138003"), session=session)
    assert outcome.forward is outcome.turn.buffer
    assert not outcome.answers
    assert session.forwarded == 3
    assert session.in_flight() == 3
    assert session.oldest() == 50.0
    assert outcome.metrics.forwarded == 3


def test_what_is_asked_for_one_message() -> None:
    outcome = run(*submits(TO))
    assert outcome.questions == [
        ["SMISMEMBER", f"block:{{{TO}}}", "acme", f"source:{FROM}", "*"],
        ["SMISMEMBER", "approved:{acme}", FROM, "*"],
    ]


def test_every_reading_is_asked_and_each_approval_once_a_batch() -> None:
    outcome = run(*submits("13800138000", TO, TO), *submits(TO, source="ACME"))
    keys = [key for _, key, *_ in outcome.questions]
    assert keys.count(f"block:{{{TO}}}") == 4
    assert keys.count("block:{13800138000}") == 1
    assert keys.count("approved:{acme}") == 2, "one for each source"


def test_a_blocked_one_is_cut_out_and_answered_and_the_rest_keep_their_octets() -> None:
    pdus = submits(TO, BLOCKED, "8613800138002")
    session = bound()
    outcome = run(*pdus, session=session)
    assert outcome.forward == pdus[0] + pdus[2]
    assert outcome.answers == [wire.pack(c.SUBMIT_SM_RESP, 2, b"", 0x66)]
    assert (session.forwarded, session.refused, session.in_flight()) == (2, 1, 2)


@pytest.mark.parametrize("at", range(4))
def test_a_block_is_found_wherever_it_stands_in_the_batch(at: int) -> None:
    numbers = [f"86138001390{n:02d}" for n in range(4)]
    sets = CLEAN | {f"block:{{{numbers[at]}}}": {"*"}}
    outcome = run(*submits(*numbers), redis=index(sets))
    assert outcome.statuses == [(at + 1, 0x66)]


def test_a_block_under_any_reading_counts() -> None:
    for number in ("13800138001", "+8613800138001", "008613800138001", "86013800138001"):
        outcome = run(*submits(number))
        assert outcome.statuses == [(1, 0x66)], number


@pytest.mark.parametrize("member", ["acme", f"source:{FROM}", "*"])
def test_each_of_those_accused_may_be_the_one_blocked(member: str) -> None:
    outcome = run(*submits(TO), redis=index(CLEAN | {f"block:{{{TO}}}": {member}}))
    assert outcome.statuses == [(1, 0x66)]


def test_without_an_index_everything_is_put_off() -> None:
    outcome = run(*submits(TO, BLOCKED), redis=None)
    assert outcome.forward == b""
    assert outcome.statuses == [(1, 0x58), (2, 0x58)]


def test_without_an_index_what_needs_none_is_still_refused_for_good() -> None:
    outcome = run(*submits("x"), *submits(TO, source="10658888"), redis=None)
    assert outcome.statuses == [(1, 0x0B), (1, 0x0A)]


@pytest.mark.parametrize(
    "reply", [ERROR, None, 0, 1, b"0", [], [0], [0, 0], [0, 0, 0, 0], [0, 0, ERROR], b"OK"]
)
def test_a_reply_that_is_not_the_expected_one_is_no_permission(reply: object) -> None:
    pdus = submits(TO, "8613800138002")
    healthy = index(CLEAN)

    def odd(key: str, members: list[str]) -> object:
        return reply if TO in key else healthy(key, members)

    outcome = run(*pdus, redis=odd)
    assert outcome.forward == pdus[1], "the others of the batch go on"
    assert outcome.statuses == [(1, 0x58)]


@pytest.mark.parametrize("reply", [ERROR, None, 1, b"1", []])
def test_an_approval_that_could_not_be_read_is_none(reply: object) -> None:
    healthy = index(CLEAN)
    outcome = run(
        *submits(TO, BLOCKED),
        redis=lambda key, asked: reply if key == "approved:{acme}" else healthy(key, asked),
    )
    assert outcome.forward == b""
    assert outcome.statuses[1] == (2, 0x66), "a block that is known stands"
    assert outcome.statuses[0][1] in (0x58, 0x0A)


def test_a_failed_lookup_under_one_reading_and_a_block_under_another() -> None:
    sets = index(CLEAN)

    def half(key: str, members: list[str]) -> object:
        return ERROR if key == "block:{13800138001}" else sets(key, members)

    assert run(*submits("13800138001"), redis=half).statuses == [(1, 0x66)]
    half_clean = run(
        *submits("13800138000"), redis=lambda k, m: ERROR if "{138" in k else sets(k, m)
    )
    assert half_clean.statuses == [(1, 0x58)]


def test_a_company_without_approval_is_refused_and_told_apart_in_one_batch() -> None:
    sets = {key: value for key, value in CLEAN.items() if key != "approved:{acme}"}
    assert run(*submits(TO, BLOCKED), redis=index(sets)).statuses == [(1, 0x0A), (2, 0x66)]


def test_sessions_of_one_batch_do_not_get_each_others_answers() -> None:
    batch = batch_of(judge(), NOW)
    turns = [
        scanned(bound(), batch, *submits(TO, BLOCKED)),
        scanned(bound("bravo"), batch, *submits(BLOCKED, "13800138001", source="10658888")),
        scanned(bound(), batch, *submits("x", "8613800138002")),
    ]
    redis = index(CLEAN)
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(batch.octets(b""))
    replies: list[object] = [b"e:1"]
    while (command := reader.gets()) is not False:
        replies.append(redis(command[1], command[2:]))
    replies.append(b"e:1")
    for turn in turns:
        turn.settle(batch, replies, batch.granted(replies))
    refused = [Outcome(turn, batch, []).statuses for turn in turns]
    assert refused == [[(2, 0x66)], [], [(1, 0x0B)]]


# other messages


def test_a_data_sm_is_judged_like_a_submit_sm() -> None:
    clean, blocked = wire.data_sm(1, FROM, TO), wire.data_sm(2, FROM, BLOCKED)
    session = bound()
    outcome = run(clean, blocked, session=session)
    assert outcome.forward == clean
    assert outcome.answers == [wire.pack(c.DATA_SM_RESP, 2, b"\0", 0x66)]
    assert session.answered(c.DATA_SM_RESP, 1)


def replace_sm(number: int) -> bytes:
    body = wire.cstring("id1") + b"\0\1" + wire.cstring(FROM) + b"\0\0\0\0\2hi"
    return wire.pack(c.REPLACE_SM, number, body)


def test_a_replace_sm_is_refused_unless_its_rule_is_off() -> None:
    outcome = run(replace_sm(5))
    assert outcome.answers == [wire.pack(c.REPLACE_SM_RESP, 5, b"", 0x13)]
    rules = [{"id": "replace", "type": "replace", "mode": "off"}]
    session = bound()
    outcome = run(replace_sm(5), session=session, rules=rules)
    assert outcome.forward == replace_sm(5)
    assert session.answered(c.REPLACE_SM_RESP, 5)


# everything else in the order it came


def test_order_is_kept_between_messages_and_other_requests() -> None:
    enquire = wire.pack(c.ENQUIRE_LINK, 9)
    query = wire.pack(c.QUERY_SM, 10, wire.cstring("id1") + b"\0\0" + wire.cstring(FROM))
    first, blocked, last = submits(TO, BLOCKED, "8613800138002")
    outcome = run(first, enquire, blocked, query, last)
    assert outcome.forward == first + enquire + query + last
    assert outcome.statuses == [(2, 0x66)]
    assert outcome.turn.session.in_flight() == 4


@pytest.mark.parametrize(
    "command_id",
    [
        *(c.DELIVER_SM_RESP, c.DATA_SM_RESP, c.ENQUIRE_LINK_RESP, c.UNBIND_RESP),
        c.GENERIC_NACK,
    ],
)
def test_responses_to_what_the_smsc_asks_pass(command_id: int) -> None:
    pdu = wire.pack(command_id, 3, b"\0", 8)
    assert run(pdu).forward == pdu


@pytest.mark.parametrize(
    "command_id",
    [
        *(c.SUBMIT_SM_RESP, c.BIND_TRANSCEIVER_RESP, c.QUERY_SM_RESP, 0x80010203),
        c.ALERT_NOTIFICATION,
    ],
)
def test_what_needs_no_answer_and_does_not_belong_here_is_dropped(command_id: int) -> None:
    outcome = run(wire.pack(command_id, 3, b"\0" * 6), *submits(TO))
    assert outcome.forward == submits(TO)[0]
    assert outcome.answers == []
    assert sum(outcome.metrics.pdus_dropped.values()) == 1


@pytest.mark.parametrize("command_id", [c.DELIVER_SM, c.OUTBIND, c.BROADCAST_SM, 0x00010203])
def test_requests_that_are_not_an_esmes_to_make_are_nacked(command_id: int) -> None:
    outcome = run(wire.pack(command_id, 0x80000003, b"\0" * 40), *submits(TO))
    assert outcome.forward == submits(TO)[0]
    assert outcome.answers == [wire.pack(c.GENERIC_NACK, 0x80000003, b"", 0x03)]


@pytest.mark.parametrize("command_id", [c.BIND_TRANSCEIVER, c.BIND_RECEIVER, c.BIND_TRANSMITTER])
def test_a_second_bind(command_id: int) -> None:
    outcome = run(wire.bind(command_id, 3, "bravo"), *submits(TO))
    assert outcome.answers == [wire.pack(command_id | c.RESPONSE_BIT, 3, b"", 0x05)]
    assert outcome.forward == submits(TO)[0]
    assert outcome.turn.session.account == "acme"


def test_what_comes_after_an_unbind_is_refused() -> None:
    unbind = wire.pack(c.UNBIND, 7)
    before, after = submits(TO, "8613800138002")
    outcome = run(before, unbind, after, wire.data_sm(9, FROM, TO))
    assert outcome.forward == before + unbind
    assert outcome.statuses == [(2, 0x04), (9, 0x04)]
    assert outcome.turn.unbound


@pytest.mark.parametrize("state", [State.BOUND_RX, State.UNBOUND])
def test_who_may_not_submit(state: State) -> None:
    outcome = run(
        *submits(TO), wire.data_sm(2, FROM, TO), replace_sm(3), session=bound(state=state)
    )
    assert outcome.forward == b""
    assert outcome.statuses == [(1, 0x04), (2, 0x04), (3, 0x04)]
    assert outcome.questions == []


def test_while_the_proxy_is_paused_submissions_wait_and_the_rest_goes_on() -> None:
    enquire = wire.pack(c.ENQUIRE_LINK, 9)
    outcome = run(*submits(TO), enquire, wire.data_sm(2, FROM, TO), paused=True)
    assert outcome.forward == enquire
    assert outcome.statuses == [(1, 0x58), (2, 0x58)]


# malformed ones


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        (wire.submit_sm(3, "1" * 21, TO), wire.pack(c.SUBMIT_SM_RESP, 3, b"", 0x01)),
        (wire.submit_sm(3, FROM, TO, sm_length=9), wire.pack(c.SUBMIT_SM_RESP, 3, b"", 0x01)),
        (wire.submit_sm(3, FROM, TO, trailing=b"x"), wire.pack(c.SUBMIT_SM_RESP, 3, b"", 0xC0)),
        (wire.pack(c.SUBMIT_SM, 3), wire.pack(c.SUBMIT_SM_RESP, 3, b"", 0x01)),
        (wire.pack(c.DATA_SM, 3), wire.pack(c.DATA_SM_RESP, 3, b"\0", 0x01)),
        (wire.pack(c.SUBMIT_MULTI, 3), wire.pack(c.SUBMIT_MULTI_RESP, 3, b"\0\0", 0x01)),
        (wire.pack(c.REPLACE_SM, 3), wire.pack(c.REPLACE_SM_RESP, 3, b"", 0x01)),
        (wire.pack(c.QUERY_SM, 3), wire.pack(c.QUERY_SM_RESP, 3, b"", 0x01)),
        (wire.pack(c.CANCEL_SM, 3, b"xx"), wire.pack(c.CANCEL_SM_RESP, 3, b"", 0x01)),
    ],
)
def test_a_malformed_one_is_answered_and_its_neighbours_go_on(pdu: bytes, answer: bytes) -> None:
    before, after = submits(TO, "8613800138002")
    outcome = run(before, pdu, after)
    assert outcome.forward == before + after
    assert outcome.answers == [answer]


def test_trailing_nuls_pass_and_are_counted() -> None:
    pdus = submits(TO, trailing=b"\0\0\0")
    outcome = run(*pdus)
    assert outcome.forward == pdus[0]
    assert outcome.metrics.trailing_nuls == 3


def test_a_trailing_nul_hides_no_block() -> None:
    assert run(*submits(BLOCKED, trailing=b"\0\0\0")).statuses == [(1, 0x66)]


# shadow, bypass, memory


def test_in_shadow_all_passes_and_is_counted_as_what_it_would_have_been() -> None:
    pdus = submits(TO, BLOCKED)
    outcome = run(*pdus, mode="shadow")
    assert outcome.forward == b"".join(pdus)
    assert outcome.metrics.shadow["blocked", "blocked_by_report"] == 1
    assert not outcome.answers


def test_a_bypass_is_counted() -> None:
    rules = [{"id": "blocked", "type": "block", "on_error": "pass"}]
    pdus = submits(TO, BLOCKED)
    outcome = run(*pdus, redis=None, rules=rules)
    assert outcome.forward == b"".join(pdus)
    assert outcome.metrics.bypassed["blocked"] == 2


def test_what_another_rule_refuses_has_not_passed_by_a_bypass() -> None:
    rules = [
        {"id": "blocked", "type": "block", "on_error": "pass"},
        {"id": "scheduled", "type": "scheduled"},
    ]
    tomorrow = "261127000000000+"
    pdus = [*submits(TO), wire.submit_sm(7, FROM, TO, schedule_delivery_time=tomorrow)]
    outcome = run(*pdus, redis=None, rules=rules)
    assert outcome.statuses == [(7, 0x61)]
    assert outcome.metrics.bypassed["blocked"] == 1


def test_a_bind_on_a_bound_session_is_no_message() -> None:
    session = bound()
    outcome = run(wire.bind(c.BIND_TRANSMITTER, 5, "bravo"), session=session)
    assert outcome.statuses == [(5, 0x05)]
    assert outcome.metrics.binds["already_bound"] == 1
    assert not any(outcome.metrics.refused.values())
    assert session.refused == 0


def test_no_verdict_is_kept() -> None:
    """The same message, the same session: what the index says now is what counts."""
    session = bound()
    free, full = index({"approved:{acme}": {"*"}}), index(CLEAN)
    statuses = [
        run(*submits(BLOCKED), session=session, redis=r).statuses for r in (free, full, free)
    ]
    assert statuses == [[], [(1, 0x66)], []]


def test_the_meanings_of_sources_are_bounded_and_go_with_the_registry() -> None:
    session = bound()
    many = [wire.submit_sm(n, f"{FROM}{n:05d}", TO) for n in range(MEMO_MOST + 10)]
    one = judge()
    for at in range(0, len(many), 500):
        batch = batch_of(one, NOW)
        outcome = settled(batch, scanned(session, batch, *many[at : at + 500]), index(CLEAN))
        assert not outcome.answers
        assert len(session.memo) <= MEMO_MOST
    nobody = Registry(RegistryFile.model_validate({"companies": {}}), ZoneInfo("UTC"))
    batch = batch_of(Judge(Policy(), nobody), NOW)
    outcome = settled(batch, scanned(session, batch, *many[:1]), index(CLEAN))
    assert outcome.statuses == [(0, 0x0A)]


def test_a_meaning_ends_with_its_validity() -> None:
    end = NOW + 100
    registry = Registry(
        RegistryFile.model_validate(
            {
                "companies": {
                    "acme": {
                        "accounts": ["acme"],
                        "sources": [{"prefix": FROM, "valid_to": "2026-11-18T11:08:20"}],
                    }
                }
            }
        ),
        ZoneInfo("UTC"),
    )
    session = bound()
    one = Judge(Policy(), registry)
    statuses = []
    for now in (NOW, end - 0.1, end):
        batch = batch_of(one, now)
        statuses.append(
            settled(batch, scanned(session, batch, *submits(TO)), index(CLEAN)).statuses
        )
    assert statuses == [[], [], [(1, 0x0A)]]


# submit_multi


def multi(number: int, *destinations: str, text: str = "hi") -> bytes:
    entries = [wire.sme(to) if to.isdigit() else wire.dl(to) for to in destinations]
    return wire.submit_multi(number, FROM, entries, text)


def unsuccess(to: str, status: int) -> bytes:
    return b"\1\1" + wire.cstring(to) + status.to_bytes(4, "big")


def multi_resp(number: int, status: int, *entries: bytes) -> bytes:
    body = b"\0" + bytes((len(entries),)) + b"".join(entries)
    return wire.pack(c.SUBMIT_MULTI_RESP, number, body, status)


def test_a_clean_submit_multi_passes_as_it_came() -> None:
    session = bound()
    pdu = multi(5, TO, "8613800138002", TO)
    outcome = run(pdu, session=session)
    assert outcome.forward == pdu
    assert (session.forwarded, session.refused, session.in_flight()) == (3, 0, 1)
    assert not session.merges
    assert session.answered(c.SUBMIT_MULTI_RESP, 5)


def test_a_refused_destination_is_taken_out_whatever_its_place_and_spelling() -> None:
    others = (TO, "8613800138002")
    for place in range(3):
        for spelling in (BLOCKED, "13800138001", "08613800138001"):
            given = [*others[:place], spelling, *others[place:]]
            session = bound()
            outcome = run(multi(5, *given), *submits(TO), session=session)
            assert outcome.forward == multi(5, *others) + submits(TO)[0]
            assert not outcome.answers
            assert session.merges == {5: (unsuccess(spelling, 0x66),)}
            assert (session.forwarded, session.refused) == (3, 1)


def test_all_refused_for_one_reason_or_for_several() -> None:
    outcome = run(multi(5, BLOCKED, "13800138001"))
    entries = (unsuccess(BLOCKED, 0x66), unsuccess("13800138001", 0x66))
    assert outcome.answers == [multi_resp(5, 0x66, *entries)]
    assert outcome.forward == b""
    assert not outcome.turn.session.in_flight()
    outcome = run(multi(5, BLOCKED, "000"))
    assert outcome.answers == [multi_resp(5, 0x66, entries[0], unsuccess("000", 0x0B))]
    outcome = run(multi(5, "000", "0"))
    assert outcome.answers == [multi_resp(5, 0x0B, unsuccess("000", 0x0B), unsuccess("0", 0x0B))]


def test_254_destinations_in_one_batch() -> None:
    many = [f"86139{n:08d}" for n in range(254)]
    outcome = run(multi(5, *many))
    assert len(outcome.questions) == 255
    assert outcome.forward == multi(5, *many)


def test_a_list_refuses_all_unless_its_rule_is_off() -> None:
    outcome = run(multi(5, TO, "friends"))
    assert outcome.answers == [multi_resp(5, 0x34)]
    rules = [{"id": "blocked", "type": "block"}, {"id": "lists", "type": "lists", "mode": "off"}]
    outcome = run(multi(5, BLOCKED, "friends"), rules=rules)
    assert outcome.forward == multi(5, "friends")
    assert run(multi(5, "friends"), rules=rules[:1]).forward == multi(5, "friends")


def test_a_number_that_waits_for_a_merge_is_not_used_again() -> None:
    session = bound()
    outcome = run(multi(5, TO, BLOCKED), multi(5, TO), multi(6, TO), session=session)
    assert outcome.forward == multi(5, TO) + multi(6, TO)
    assert outcome.answers == [multi_resp(5, 0x58)]
    assert outcome.metrics.refused[Kind.TEMPORARY, Reason.WINDOW] == 1
    outcome = run(multi(6, TO, BLOCKED), session=session)
    assert outcome.answers == [multi_resp(6, 0x58)], "an open one whose answer is nobody's to tell"


def test_a_submit_multi_is_put_off_when_nothing_can_be_looked_up() -> None:
    outcome = run(multi(5, TO, BLOCKED), redis=None)
    entries = (unsuccess(TO, 0x58), unsuccess(BLOCKED, 0x58))
    assert outcome.answers == [multi_resp(5, 0x58, *entries)]


def test_a_flood_of_submit_multi_is_decided_in_portions() -> None:
    session = bound()
    many = [f"86139{n:08d}" for n in range(255)]
    pdus = [multi(number, *many) for number in range(20)]
    session.from_esme.limit = 70_000
    session.from_esme.feed(b"".join(pdus))
    passed = b""
    while session.from_esme.ready():
        buffer, spans = session.from_esme.take(256)
        batch = batch_of(judge())
        turn = Turn(session, buffer, spans, 50.0, Metrics())
        turn.scan(batch)
        assert len(batch.commands) < QUESTIONS_MOST + 255
        passed += settled(batch, turn, HEALTHY).forward
    assert passed == b"".join(pdus)


# signatures

SIGNED = Registry(
    RegistryFile.model_validate(
        {
            "companies": {
                "acme": {"accounts": ["acme"], "sources": [FROM], "signatures": ["ACME"]},
                "bravo": {"accounts": ["bravo"], "sources": ["10658888"], "signatures": ["乙"]},
            }
        }
    ),
    ZoneInfo("Asia/Shanghai"),
)
BLOCKS_BRAVO = index({**CLEAN, f"block:{{{TO}}}": {"bravo"}, "block:{8613800138002}": {"nobody"}})


def signed(*pdus: bytes, session: Session | None = None, **policy: Any) -> Outcome:
    batch = batch_of(Judge(Policy.model_validate(policy), SIGNED))
    return settled(batch, scanned(session or bound(), batch, *pdus), BLOCKS_BRAVO)


def ucs2(text: str) -> bytes:
    return text.encode("utf-16-be")


@pytest.mark.parametrize("text", ["【乙】x", "hello【乙】", "［乙］hello", " 【乙】hello\u3000"])
def test_a_text_signed_with_the_name_of_another_company(text: str) -> None:
    fields = {"text": ucs2(text), "data_coding": 8}
    assert signed(*submits(TO, **fields)).statuses == [(1, 0x0A)]
    shadow = [
        {"id": "signature", "type": "signature", "mode": "shadow"},
        {"id": "blocked", "type": "block"},
    ]
    outcome = signed(*submits(TO, "8613800138002", **fields), rules=shadow)
    assert outcome.statuses == [(1, 0x66)], "the block is asked for whom the text names"
    assert outcome.metrics.shadow["signature", Reason.SOURCE_MISMATCHED] == 2


@pytest.mark.parametrize("text", ["【ACME】hello", "【乙", "hello", "x【乙】y", "【nobody】", ""])
def test_a_text_that_names_its_own_company_or_none(text: str) -> None:
    pdus = submits(TO, text=ucs2(text), data_coding=8)
    assert signed(*pdus).forward == b"".join(pdus)


def test_every_road_of_a_text() -> None:
    payload = [(c.TAG_MESSAGE_PAYLOAD, ucs2("【乙】"))]
    for pdu in (
        wire.submit_sm(1, FROM, TO, b"", tlvs=payload, data_coding=8),
        wire.data_sm(1, FROM, TO, tlvs=[(c.TAG_MESSAGE_PAYLOAD, "[乙]".encode())]),
        wire.submit_sm(1, FROM, TO, "【乙】x".encode("gbk"), tlvs=[(0x1400, b"x")], trailing=b"\0"),
        multi(1, TO, text="[乙]"),
    ):
        assert b"\0\0\0\x0a" in signed(pdu).answers[0]


def test_the_later_parts_of_a_text_are_signed_like_its_first() -> None:
    def part(number: int, part: int, text: str, reference: int = 7, to: str = TO) -> bytes:
        octets = bytes((5, 0, 3, reference, 2, part)) + ucs2(text)
        return wire.submit_sm(number, FROM, to, octets, esm_class=0x40, data_coding=8)

    session = bound()
    pdus = (part(1, 1, "【乙】hello"), part(2, 2, "world"), part(3, 2, "world", reference=8))
    assert signed(*pdus, session=session).statuses == [(1, 0x0A), (2, 0x0A)]
    other = part(4, 2, "world", to="8613800138002")
    assert signed(other, session=session).forward == other
    again = part(5, 1, "hello"), part(6, 2, "world")
    assert signed(*again, session=session).forward == b"".join(again), "the reference is reused"


# limits


def test_a_rate_is_shared_by_the_sessions_of_an_account_and_comes_back_with_time() -> None:
    one = judge(accounts={"acme": {"rate": 3}})
    allowances, sessions = Allowances(), [bound(), bound()]
    statuses = []
    for at, session in ((50.0, sessions[0]), (50.0, sessions[1]), (50.7, sessions[0])):
        batch = Batch(one, "", NOW, at, allowances)
        outcome = settled(batch, scanned(session, batch, *submits(TO, TO)), HEALTHY)
        statuses.append(outcome.statuses)
    assert statuses == [[], [(2, 0x58)], []]
    assert outcome.metrics.forwarded == 2


def test_a_window_is_that_of_one_session() -> None:
    policy = {"accounts": {"acme": {"window": 2}, "bravo": {"rate": 1}}}
    session = bound()
    outcome = run(*submits(TO, TO, TO), session=session, **policy)
    assert outcome.statuses == [(3, 0x58)]
    assert outcome.metrics.refused[Kind.TEMPORARY, Reason.WINDOW] == 1
    assert session.answered(c.SUBMIT_SM_RESP, 1)
    enquire = wire.pack(c.ENQUIRE_LINK, 77)
    outcome = run(enquire, *submits(TO), session=session, **policy)
    assert outcome.forward == enquire + submits(TO)[0], "what is no message takes no place"
    data = wire.data_sm(9, FROM, TO)
    assert run(data, session=session, **policy).statuses == [(9, 0x58)]
    assert run(data, session=bound(), **policy).forward == data


def test_what_is_noted_of_a_destination_that_cannot_be_read() -> None:
    outcome = run(*submits("86138001380O0"))
    assert [(note[3], note[5]) for note in outcome.turn.noted] == [
        (b"86138001380O0", Reason.UNUSABLE_DESTINATION)
    ]
