"""The demo's promises: kept by good counts, and each found out when it is broken."""

import json

import pytest

from smsfilter.cli.demo.summary import (
    Checked,
    Count,
    Line,
    Phase,
    Promise,
    Reports,
    Summary,
    added,
    answered,
    proven,
    summarise,
)

ONE, OTHERS = "138****8000", "3 others"


def line(company: str, road: str, customer: str, *counts: Count) -> Line:
    """A line, with its counts before the report, after it, and after the withdrawal."""
    before, after, again = counts
    return Line(
        company=company,
        approved=company != "Corner Shop",
        road=road,
        account=road,
        customer=customer,
        accused=company == "Acme",
        to_reporter=customer == ONE,
        counts=(before, after, Count(), again),
        status=0,
    )


def passed(sent: int) -> Count:
    return Count(sent, forwarded=sent)


def refused(sent: int) -> Count:
    return Count(sent, refused=sent)


def good() -> list[Line]:
    """What a demo counts in which all goes well."""
    return [
        line("Acme", "acme", ONE, passed(5), refused(7), passed(2)),
        line("Acme", "acme", OTHERS, passed(5), passed(7), passed(2)),
        line("Acme", "resell7", ONE, Count(5, forwarded=4, refused=1), refused(7), passed(2)),
        line("Acme", "resell7", OTHERS, passed(5), passed(7), passed(2)),
        line("Bravo Bank", "bravo", ONE, passed(5), passed(7), passed(2)),
        line("Bravo Bank", "bravo", OTHERS, passed(5), passed(7), passed(2)),
        line("Corner Shop", "corner", ONE, refused(5), refused(7), refused(2)),
        line("Corner Shop", "corner", OTHERS, refused(5), refused(7), refused(2)),
    ]


def changed(at: int, **counts: Count) -> Summary:
    """The judgement when one line of the good counts is another."""
    lines = good()
    found = list(lines[at].counts)
    for name, count in counts.items():
        found[Phase[name.upper()]] = count
    lines[at] = lines[at]._replace(counts=tuple(found))
    return summarise(lines)


def broken(summary: Summary) -> list[str]:
    return [promise.text for promise in summary.promises if not promise.held]


ACCOUNTED = "sent = forwarded + refused"
CLOSED = "Acme to 138****8000: 2 roads closed"
OPEN_AGAIN = "Acme to 138****8000: open again"
OPEN = "Acme to 3 others: open"
BRAVO = "Bravo Bank: open"
CORNER = "Corner Shop, not approved: closed"


def test_good_counts_keep_every_promise() -> None:
    summary = summarise(good())
    assert summary.held
    assert [promise.text for promise in summary.promises] == [
        ACCOUNTED,
        CLOSED,
        OPEN_AGAIN,
        OPEN,
        BRAVO,
        CORNER,
    ]
    assert summary.total == Count(112, 69, 43)
    assert [promise.evidence for promise in summary.promises[:4]] == [
        "112 = 69 + 43",
        "14 sent after the report, 0 arrived",
        "4 sent after the withdrawal, 4 arrived",
        "18 sent after the report, 18 arrived",
    ]


@pytest.mark.parametrize(
    ("at", "counts", "found"),
    [
        pytest.param(0, {"after": Count(7, 1, 6)}, [CLOSED], id="one slips through"),
        pytest.param(2, {"after": passed(7)}, [CLOSED], id="one road stays open"),
        pytest.param(2, {"after": Count()}, [CLOSED], id="a road was not tried"),
        pytest.param(0, {"before": refused(5)}, [CLOSED], id="a road was never open"),
        pytest.param(0, {"again": Count(2, 1, 1)}, [OPEN_AGAIN], id="one is refused after it"),
        pytest.param(2, {"again": refused(2)}, [OPEN_AGAIN], id="a road stays closed"),
        pytest.param(2, {"again": Count()}, [OPEN_AGAIN], id="nothing shows that it is open"),
        pytest.param(1, {"after": Count(7, 6, 1)}, [OPEN], id="another customer is refused once"),
        pytest.param(1, {"taking_back": Count(2, 1, 1)}, [OPEN], id="and while it is taken back"),
        pytest.param(3, {"after": refused(7)}, [OPEN], id="a road closes for all customers"),
        pytest.param(
            1, {"after": Count(), "again": Count()}, [OPEN], id="nothing shows it goes on"
        ),
        pytest.param(4, {"after": Count(7, 6, 1)}, [BRAVO], id="another company is refused once"),
        pytest.param(5, {"after": refused(7)}, [BRAVO], id="another company is closed"),
        pytest.param(6, {"before": Count(5, 1, 4)}, [CORNER], id="one passes without approval"),
        pytest.param(
            7,
            {"before": Count(), "after": Count(), "again": Count()},
            [CORNER],
            id="no approval was not tried",
        ),
        pytest.param(5, {"before": Count(5, 4, 0)}, [ACCOUNTED], id="one is lost"),
        pytest.param(5, {"before": Count(5, 6, 0)}, [ACCOUNTED], id="one is doubled"),
        pytest.param(4, {"before": Count(5, 5, 1)}, [ACCOUNTED], id="refused and forwarded"),
        pytest.param(0, {"after": Count(7, 0, 6)}, [ACCOUNTED], id="one is not answered"),
    ],
)
def test_a_broken_promise_is_found(at: int, counts: dict[str, Count], found: list[str]) -> None:
    summary = changed(at, **counts)
    assert broken(summary) == found
    assert not summary.held


def test_what_evens_out_over_roads_is_not_accounted_for() -> None:
    lines = good()
    lines[4] = lines[4]._replace(counts=(Count(5, 6, 0), *lines[4].counts[1:]))
    lines[5] = lines[5]._replace(counts=(Count(5, 4, 0), *lines[5].counts[1:]))
    summary = summarise(lines)
    assert broken(summary) == [ACCOUNTED]
    assert summary.promises[0].evidence.endswith("; the roads do not add up")


def test_a_message_that_nobody_sent_breaks_the_account() -> None:
    summary = summarise(good(), strays=1)
    assert broken(summary) == [ACCOUNTED]
    assert summary.promises[0].evidence == "112 = 69 + 43; 1 arrived that nobody sent"


def test_what_is_put_off_is_not_held_against_an_open_road() -> None:
    summary = changed(1, after=Count(7, 6, 1, put_off=1))
    assert summary.held
    assert summary.promises[3].evidence == "18 sent after the report, 17 arrived, 1 put off"


def held(promises: tuple[Promise, ...]) -> list[bool]:
    return [promise.held for promise in promises]


@pytest.mark.parametrize(
    ("reports", "found"),
    [
        pytest.param(Reports(2, 2, 2, 0.04, 1, 1, 0.9), [True, True, True], id="all is well"),
        pytest.param(Reports(2, 2, 2, 5.01, 1, 1, 0.9), [False, True, True], id="too late"),
        pytest.param(
            Reports(2, 1, 1, 0.04, 1, 1, 0.9), [True, False, True], id="a text is not taken"
        ),
        pytest.param(
            Reports(2, 2, 1, 0.04, 1, 1, 0.9), [True, False, True], id="an answer is missing"
        ),
        pytest.param(
            Reports(2, 2, 3, 0.04, 1, 1, 0.9), [True, False, True], id="an answer comes twice"
        ),
        pytest.param(Reports(0, 0, 0, 0.0, 1, 1, 0.9), [True, False, True], id="nobody texted"),
        pytest.param(Reports(2, 2, 2, 0.04, 0, 0, 0.0), [True, True, False], id="none decided"),
        pytest.param(Reports(2, 2, 2, 0.04, 1, 0, 0.0), [True, True, False], id="none told"),
        pytest.param(Reports(2, 2, 2, 0.04, 1, 2, 0.9), [True, True, False], id="told twice"),
        pytest.param(Reports(2, 2, 2, 0.04, 1, 1, 172_801.0), [True, True, False], id="told late"),
    ],
)
def test_what_becomes_of_the_texts(reports: Reports, found: list[bool]) -> None:
    promises = answered(reports)
    assert held(promises) == found
    assert promises[0].evidence == f"{reports.in_force_s:.2f} s until ESME_ROK"


@pytest.mark.parametrize(
    ("block", "whole", "edited", "found"),
    [
        pytest.param(0, 0, 1, [True, True, True], id="all is well"),
        pytest.param(1, 0, 1, [False, True, True], id="one was forwarded"),
        pytest.param(3, 0, 1, [False, True, True], id="the block cannot be proven"),
        pytest.param(0, 3, 1, [True, False, True], id="the ledger cannot be proven"),
        pytest.param(0, 0, 0, [True, True, False], id="the edit is not found"),
        pytest.param(0, 0, 2, [True, True, False], id="the edited copy cannot be read"),
    ],
)
def test_what_is_proven(block: int, whole: int, edited: int, found: list[bool]) -> None:
    words = ["PROVEN: nothing", "ok: every record", "bad: seq 3: edited"]
    promises = proven(*map(Checked, (block, whole, edited), words))
    assert held(promises) == found
    assert [promise.evidence for promise in promises] == words


def test_further_promises_count_like_the_others() -> None:
    summary = summarise(good(), further=(Promise("the moon is round", False, "it is not"),))
    assert broken(summary) == ["the moon is round"]
    assert not summary.held


def test_json_has_all_of_it() -> None:
    said = json.loads(json.dumps(summarise(good()).as_json()))
    assert said["held"] is True
    assert (said["sent"], said["forwarded"], said["refused"], said["put_off"]) == (112, 69, 43, 0)
    assert [promise["held"] for promise in said["promises"]] == [True] * 6
    assert len(said["roads"]) == 8
    assert said["roads"][0]["counts"]["after"] == {
        "sent": 7,
        "forwarded": 0,
        "refused": 7,
        "put_off": 0,
    }


def test_counts_add_up_field_by_field() -> None:
    assert added([Count(1, 2, 3, 4), Count(10, 20, 30, 40)]) == Count(11, 22, 33, 44)
    assert added([]) == Count()
