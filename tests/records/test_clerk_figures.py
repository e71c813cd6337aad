"""The figures of the day and the next case, with many cases of former days, on both databases.

The clock is looked at only on a million of them (-m scale): 86,400 of the last day, 200,000 open.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from smsfilter.cases import campaigns, groups
from smsfilter.cases.next import most_urgent
from smsfilter.cases.today import Today
from smsfilter.desk.vault import Vault
from smsfilter.store.records import Records
from smsfilter.store.seal import Seal
from tests.fakes.desks import At
from tests.records.test_case_paging import SECOND, SOME, filled

LOOKS_MS_MOST = 3_000
"""For the figures, which are made once in ten seconds at most."""
NEXT_MS_MOST = 1_000
"""The one person of the test owns 100,000 open cases, as nobody does."""
_REPORTS = """
INSERT INTO report (channel, customer, fingerprint, copies, received_at, reported_norm, text_fold,
                    complete, counted, state, case_id, changed_seq)
SELECT 'sms', customer, 'f' || id, 1, opened_at, '1069' || (id % 3000),
       CASE id % 3 WHEN 0 THEN 't' || (id % 603) ELSE 'u' || id END, {true}, {true},
       CASE id % 10 WHEN 2 THEN 'unmatched' ELSE 'blocked' END, id, 0
FROM case_file
"""


def report_each(urls: tuple[str, str | None]) -> None:
    """Write a report for each case."""
    url, owner = urls
    filling = Records(owner or url)
    with filling.to_write() as connection, connection.begin():
        connection.execute(text(_REPORTS.format(true=1 if owner is None else "true")))
        if owner is not None:
            connection.execute(text("ANALYZE report"))
    filling.close()


def timed(look: Callable[[], Any]) -> tuple[Any, float]:
    """What a look gives, and how many ms it takes the second time."""
    look()
    began = time.perf_counter()
    found = look()
    return found, (time.perf_counter() - began) * 1000


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cases", [20_000, pytest.param(1_000_000, marks=pytest.mark.scale)])
def test_the_day_and_the_next_case(records_urls, tmp_path, cases):
    at = At(tmp_path / "desk")
    at.found()
    vault = Vault(Seal({"k1": bytes(32)}, {"k1": bytes(32)}))
    now = cases * SECOND
    office = at.office()
    office.records.close()  # what is looked at are those of the test
    today = Today(office)
    looks: dict[str, tuple[int, Callable[[Connection], Any]]] = {
        "the day": (LOOKS_MS_MOST, lambda on: today.figures(on, None, now)),
        "the day of branches": (LOOKS_MS_MOST, lambda on: today.figures(on, SOME, now)),
        "groups": (LOOKS_MS_MOST, lambda on: groups.listed(on, vault, None, 50)),
        "next of a person": (NEXT_MS_MOST, lambda on: most_urgent(on, "li.wei", None)),
        "next of nobody's": (NEXT_MS_MOST, lambda on: most_urgent(on, None, SOME)),
        "a text": (NEXT_MS_MOST, lambda on: campaigns.of_text(on, "t0", now)),
    }
    found = {}
    with filled(records_urls, cases) as records:
        report_each(records_urls)
        with records.reading() as connection:
            for name, (most, look) in looks.items():
                found[name], took = timed(lambda look=look: look(connection))
                print(f"{records.place.split(':')[0]}, {cases} cases, {name}: {took:.0f} ms")
                assert cases < 1_000_000 or took < most, name
    day, some = found["the day"], found["the day of branches"]
    assert day["open"] == cases // 5
    assert day["open"] > some["open"] > 0
    assert day["unowned"] == cases // 10
    assert day["received"] >= some["received"] > 0
    assert day["companies"]
    assert len(day["campaigns"]) == 10
    assert sum(each["reports"] for each in found["groups"]) > 0
    assert found["next of a person"].owner == "li.wei"
    assert found["next of nobody's"].branch in SOME
