"""The judgement of a block by records and manifests: proven, a forward found, or not provable."""

from typing import Any

import pytest

from smsfilter.decisions.layout import End, Kind
from smsfilter.decisions.manifest import CLOCKS_APART_US, Expected, Manifest, gaps
from smsfilter.decisions.proof import Decided, Pair, Proof, Result, prove

HOUR = 3_600_000_000
SET_AT = 100 * HOUR
NOW = 110 * HOUR
PAIR = Pair(frozenset({"acme", "oldacme"}), frozenset({"10657555"}), 50, SET_AT)


def decided(seq: int, at: int = SET_AT + HOUR, kind: Kind = Kind.FORWARD, **more: Any) -> Decided:
    found: dict[str, Any] = {
        "at": at,
        "proxy": "p1",
        "segment": 1,
        "slot": 0,
        "kind": kind,
        "seq": seq,
        "companies": ("acme",),
        "source": "x",
        "policy": "v",
        "reason": "",
        **more,
    }
    return Decided(**found)


def segment(number: int, **more: Any) -> Manifest:
    """One of a chain of hours; the first one begins long before the block."""
    found: dict[str, Any] = {
        "proxy": "p1",
        "number": number,
        "key_id": "k",
        "records": 1,
        "lost": 0,
        "since": (89 + number) * HOUR,
        "until": (90 + number) * HOUR - 1,
        "end": End.ORDERLY,
        "continues": True,
        "seq_least": 1,
        "seq_most": 9,
        "sha256": f"h{number}",
        "prev": f"h{number - 1}",
        **more,
    }
    return Manifest(**found)


def chain(last: int = 20, **changed: Manifest | None) -> list[Manifest]:
    """Segments 1 to `last` and one that is open; `s7=…` takes the place of the seventh."""
    whole = {n: segment(n) for n in range(1, last + 1)}
    whole[last + 1] = segment(last + 1, until=NOW, end=End.OPEN, sha256="", prev="")
    for name, other in changed.items():
        whole.pop(int(name[1:]))
        if other is not None:
            whole[int(name[1:])] = other
    return list(whole.values())


def judged(*records: Decided, manifests: list[Manifest] | None = None, pair: Pair = PAIR) -> Proof:
    found = chain() if manifests is None else manifests
    return prove(pair, records, found, [Expected("p1")], NOW)


def test_nothing_forwarded_and_nothing_missing() -> None:
    refused = decided(50, kind=Kind.REFUSED, reason="blocked_by_report")
    put_off = decided(51, kind=Kind.PUT_OFF, reason="rate")
    proof = judged(refused, put_off)
    assert proof.result is Result.PROVEN
    assert proof.result.value == 0
    assert proof.refused == (refused, put_off)
    assert proof.until == NOW


@pytest.mark.parametrize("kind", [Kind.FORWARD, Kind.UNCHECKED])
@pytest.mark.parametrize("at", [SET_AT - HOUR, SET_AT + HOUR])
def test_a_forward_that_had_read_the_block_is_one_whatever_the_clocks_say(
    kind: Kind, at: int
) -> None:
    forward = decided(50, at, kind)
    proof = judged(forward)
    assert proof.result is Result.FORWARDED
    assert proof.violations == (forward,)
    assert not proof.before


def test_a_forward_that_had_not_read_it_was_before_it() -> None:
    forward = decided(49, SET_AT + 1000)
    proof = judged(forward)
    assert proof.result is Result.PROVEN
    assert proof.before == (forward,)


@pytest.mark.parametrize(("kind", "seq"), [(Kind.UNCHECKED, 49), (Kind.FORWARD, 0)])
def test_without_a_seq_to_go_by_there_is_doubt(kind: Kind, seq: int) -> None:
    late = decided(seq, SET_AT - CLOCKS_APART_US, kind)
    early = decided(seq, SET_AT - CLOCKS_APART_US - 1, kind)
    proof = judged(late, early)
    assert proof.result is Result.NOT_PROVABLE
    assert proof.result.value == 3
    assert (proof.doubtful, proof.before) == ((late,), (early,))
    assert judged(early).result is Result.PROVEN


@pytest.mark.parametrize(
    "who",
    [
        {"companies": ("bravo",), "source": "10658888"},
        {"companies": ("",), "source": "1065755"},
        {"companies": ("",), "source": "106575551"},
    ],
)
def test_what_others_send_is_not_of_this_pair(who: dict[str, Any]) -> None:
    proof = judged(decided(60, **who))
    assert proof.result is Result.PROVEN
    assert not proof.before


@pytest.mark.parametrize(
    "who",
    [
        {"companies": ("oldacme",)},
        {"companies": ("bravo", "acme")},
        {"companies": ("",), "source": "10657555"},
    ],
)
def test_a_merged_company_a_signature_and_a_source_are_of_this_pair(who: dict[str, Any]) -> None:
    assert judged(decided(60, **who)).result is Result.FORWARDED


def test_what_was_accepted_before_and_delivered_after() -> None:
    after = decided(7, SET_AT + 5, Kind.RECEIPT, reason="DELIVRD")
    before = decided(99, SET_AT - 5, Kind.RECEIPT, reason="DELIVRD")
    proof = judged(after, before)
    assert proof.result is Result.PROVEN, "a receipt's seq is none of the index"
    assert proof.delivered_after == (after,)


def test_a_forward_is_found_also_where_something_is_missing() -> None:
    assert judged(decided(50), manifests=[]).result is Result.FORWARDED


def test_without_records_nothing_is_proven() -> None:
    proof = judged(manifests=[])
    assert proof.result is Result.NOT_PROVABLE
    assert [gap.why for gap in proof.gaps] == ["no records of this proxy"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"s13": None}, "segments 13 to 13 are missing"),
        ({"s13": segment(13, prev="hx")}, "segment 13 does not follow the one that is there"),
        ({"s13": segment(13, sha256="hx")}, "segment 14 does not follow the one that is there"),
        ({"s13": segment(13, end=End.UNCLEAN)}, "segment 13 has no clean end"),
        ({"s13": segment(13, continues=False)}, "decisions were not recorded here"),
        ({"s13": segment(13, lost=7)}, "7 messages without a record, declared in segment 13"),
    ],
)
def test_a_gap_after_the_block(changed: dict[str, Any], why: str) -> None:
    proof = judged(manifests=chain(**changed))
    assert proof.result is Result.NOT_PROVABLE
    assert [gap.why for gap in proof.gaps] == [why]
    assert proof.gaps[0].lost == (7 if "7 messages" in why else 0)
    assert SET_AT <= proof.gaps[0].since <= proof.gaps[0].until <= NOW


@pytest.mark.parametrize(
    "changed", [{"s5": None}, {"s5": segment(5, end=End.UNCLEAN)}, {"s5": segment(5, lost=1)}]
)
def test_a_gap_long_before_the_block_is_none_of_it(changed: dict[str, Any]) -> None:
    assert judged(manifests=chain(**changed)).result is Result.PROVEN


def test_a_process_that_died_and_was_recovered_leaves_no_gap() -> None:
    recovered = chain(s13=segment(13, end=End.RECOVERED, until=102 * HOUR + 5))
    assert judged(manifests=recovered).result is Result.PROVEN


def test_records_that_begin_after_the_block() -> None:
    late = [one for one in chain() if one.number > 12]
    proof = judged(manifests=late)
    assert [gap.why for gap in proof.gaps] == ["its records begin later"]
    assert prove(PAIR, [], late, [Expected("p1", 102 * HOUR)], NOW).result is Result.PROVEN, (
        "it was not in service before"
    )


def test_a_copy_that_lags_is_no_proof_up_to_now() -> None:
    copied = Expected("p1", known_until=NOW - HOUR)
    (gap,) = prove(PAIR, [], chain()[:-1], [copied], NOW).gaps
    assert (gap.since, gap.until) == (NOW - HOUR, NOW)
    assert gap.why == "its records were copied before that"


def test_a_proxy_that_does_not_run_decides_nothing() -> None:
    assert judged(manifests=chain()[:-1]).result is Result.PROVEN


def test_a_segment_that_was_known_and_is_gone_or_another_one() -> None:
    known = [segment(n) for n in (2, 19, 20)]
    there = [*chain()[:-3], segment(19, sha256="other")]
    proof = prove(PAIR, [], there, [Expected("p1")], NOW, known=known)
    assert [gap.why for gap in proof.gaps] == [
        "segment 19 is another one now",
        "segment 20 is gone",
    ]
    assert prove(PAIR, [], chain(), [Expected("p1")], NOW, known=known).result is Result.PROVEN


def test_each_proxy_that_is_expected_has_to_be_covered() -> None:
    expected = [Expected("p1"), Expected("p2")]
    proof = prove(PAIR, [], chain(), expected, NOW)
    assert [(gap.proxy, gap.why) for gap in proof.gaps] == [("p2", "no records of this proxy")]
    others = [one._replace(proxy="p2") for one in chain()]
    assert prove(PAIR, [], chain() + others, expected, NOW).result is Result.PROVEN


def test_a_proxy_that_nobody_named_counts_as_well() -> None:
    others = [one._replace(proxy="p9") for one in chain(s13=None)]
    found = gaps(chain() + others, [Expected("p1")], SET_AT, NOW)
    assert [gap.proxy for gap in found] == ["p9"]


def test_the_same_segment_twice_and_different() -> None:
    twice = [*chain(), segment(13, sha256="other")]
    assert any("twice" in gap.why for gap in gaps(twice, [Expected("p1")], SET_AT, NOW))


def test_a_first_segment_that_is_not_whole() -> None:
    (gap,) = gaps([segment(1, end=End.UNCLEAN, until=NOW)], [Expected("p1")], 90 * HOUR, NOW)
    assert gap.why == "segment 1 has no clean end"


def test_the_id_of_a_segment() -> None:
    assert segment(7).id == "p1/7"
    assert segment(7).closed
    assert not chain()[-1].closed


def test_everybody_is_every_sender() -> None:
    pair = PAIR._replace(companies=frozenset({"*"}), sources=frozenset())
    assert judged(decided(60, companies=("",)), pair=pair).violations


def test_a_source_that_became_the_companys_counts_only_where_nobody_was_known() -> None:
    pair = Pair(frozenset({"acme"}), frozenset(), 50, SET_AT, frozenset({"1069"}))
    mine = decided(60, companies=("",), source="1069")
    anothers = decided(61, companies=("bravo",), source="1069")
    assert judged(mine, anothers, pair=pair).violations == (mine,)


def test_a_source_that_is_blocked_itself_counts_whoever_sends_from_it() -> None:
    pair = Pair(frozenset(), frozenset({"1069"}), 50, SET_AT)
    anothers = decided(61, companies=("bravo",), source="1069")
    assert judged(anothers, pair=pair).violations == (anothers,)
