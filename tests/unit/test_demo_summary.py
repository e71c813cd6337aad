"""The demo's promises: kept by good counts, and each found out when it is broken."""

import json

import pytest

from smsfilter.cli.demo.summary import Count, Line, Summary, added, summarise

ONE, OTHERS = "138****8000", "3 others"


def line(company: str, road: str, customer: str, before: Count, after: Count) -> Line:
    return Line(
        company=company,
        approved=company != "Corner Shop",
        road=road,
        account=road,
        customer=customer,
        accused=company == "Acme",
        to_reporter=customer == ONE,
        before=before,
        after=after,
        status=0,
    )


def passed(sent: int) -> Count:
    return Count(sent, forwarded=sent)


def refused(sent: int) -> Count:
    return Count(sent, refused=sent)


def good() -> list[Line]:
    """What a demo counts in which all goes well."""
    return [
        line("Acme", "acme", ONE, passed(5), refused(7)),
        line("Acme", "acme", OTHERS, passed(5), passed(7)),
        line("Acme", "resell7", ONE, Count(5, forwarded=4, refused=1), refused(7)),
        line("Acme", "resell7", OTHERS, passed(5), passed(7)),
        line("Bravo Bank", "bravo", ONE, passed(5), passed(7)),
        line("Bravo Bank", "bravo", OTHERS, passed(5), passed(7)),
        line("Corner Shop", "corner", ONE, refused(5), refused(7)),
        line("Corner Shop", "corner", OTHERS, refused(5), refused(7)),
    ]


def changed(at: int, before: Count | None = None, after: Count | None = None) -> Summary:
    """The judgement when one line of the good counts is another."""
    lines = good()
    lines[at] = lines[at]._replace(
        before=before or lines[at].before, after=after or lines[at].after
    )
    return summarise(lines)


def broken(summary: Summary) -> list[str]:
    return [promise.text for promise in summary.promises if not promise.held]


ACCOUNTED = "sent = forwarded + refused"
CLOSED = "Acme to 138****8000: 2 roads closed"
OPEN = "Acme to 3 others: open"
BRAVO = "Bravo Bank: open"
CORNER = "Corner Shop, not approved: closed"


def test_good_counts_keep_every_promise() -> None:
    summary = summarise(good())
    assert summary.held
    assert [promise.text for promise in summary.promises] == [
        ACCOUNTED,
        CLOSED,
        OPEN,
        BRAVO,
        CORNER,
    ]
    assert summary.total == Count(96, 57, 39)
    assert summary.promises[0].evidence == "96 = 57 + 39"
    assert summary.promises[1].evidence == "14 sent after the block, 0 arrived"


@pytest.mark.parametrize(
    ("at", "before", "after", "found"),
    [
        pytest.param(0, None, Count(7, forwarded=1, refused=6), [CLOSED], id="one slips through"),
        pytest.param(2, None, Count(7, forwarded=7), [CLOSED], id="one road stays open"),
        pytest.param(2, None, Count(), [CLOSED], id="a road was not tried"),
        pytest.param(0, refused(5), None, [CLOSED], id="a road was never open"),
        pytest.param(1, None, Count(7, 6, 1), [OPEN], id="another customer is refused once"),
        pytest.param(3, None, refused(7), [OPEN], id="a road closes for all customers"),
        pytest.param(1, None, Count(), [OPEN], id="nothing shows that it goes on"),
        pytest.param(4, None, Count(7, 6, 1), [BRAVO], id="another company is refused once"),
        pytest.param(5, None, refused(7), [BRAVO], id="another company is closed"),
        pytest.param(6, Count(5, 1, 4), None, [CORNER], id="one passes without approval"),
        pytest.param(7, Count(), Count(), [CORNER], id="no approval was not tried"),
        pytest.param(5, Count(5, 4, 0), None, [ACCOUNTED], id="one is lost"),
        pytest.param(5, Count(5, 6, 0), None, [ACCOUNTED], id="one is doubled"),
        pytest.param(4, Count(5, 5, 1), None, [ACCOUNTED], id="one is refused and forwarded"),
        pytest.param(0, None, Count(7, 0, 6), [ACCOUNTED], id="one is not answered"),
    ],
)
def test_a_broken_promise_is_found(
    at: int, before: Count | None, after: Count | None, found: list[str]
) -> None:
    summary = changed(at, before, after)
    assert broken(summary) == found
    assert not summary.held


def test_what_evens_out_over_roads_is_not_accounted_for() -> None:
    lines = good()
    lines[4] = lines[4]._replace(before=Count(5, 6, 0))
    lines[5] = lines[5]._replace(before=Count(5, 4, 0))
    summary = summarise(lines)
    assert broken(summary) == [ACCOUNTED]
    assert summary.promises[0].evidence.endswith("; the roads do not add up")


def test_a_message_that_nobody_sent_breaks_the_account() -> None:
    summary = summarise(good(), strays=1)
    assert broken(summary) == [ACCOUNTED]
    assert summary.promises[0].evidence == "96 = 57 + 39; 1 arrived that nobody sent"


def test_what_is_put_off_is_not_held_against_an_open_road() -> None:
    summary = changed(1, after=Count(7, 6, 1, put_off=1))
    assert summary.held
    assert summary.promises[2].evidence == "14 sent after the block, 13 arrived, 1 put off"


def test_json_has_all_of_it() -> None:
    said = json.loads(json.dumps(summarise(good()).as_json()))
    assert said["held"] is True
    assert (said["sent"], said["forwarded"], said["refused"], said["put_off"]) == (96, 57, 39, 0)
    assert [promise["held"] for promise in said["promises"]] == [True] * 5
    assert len(said["roads"]) == 8
    assert said["roads"][0]["after"] == {"sent": 7, "forwarded": 0, "refused": 7, "put_off": 0}


def test_counts_add_up_field_by_field() -> None:
    assert added([Count(1, 2, 3, 4), Count(10, 20, 30, 40)]) == Count(11, 22, 33, 44)
    assert added([]) == Count()
