"""A list of cases costs the same on its first page and on its last, on both databases.

What is counted is the work of the database: rows that PostgreSQL took up, steps of SQLite's
machine. The clock is looked at only on a million cases (-m scale).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Select, text

from smsfilter.cases.listing import _CURSOR, Wanted, by_due, newest, page
from smsfilter.flow.case import State
from smsfilter.store.records import Records
from tests.fakes import people

LIMIT = 20
BRANCHES = 20
CASES = 20_000
SECOND = 1_000_000
SOME = frozenset({"b1", "b2", "b3"})
LISTS = {
    "open": Wanted(),
    "open of branches": Wanted(branches=SOME),
    "a person's": Wanted(owner="li.wei"),
    "nobody's": Wanted(unowned=True),
    "late": Wanted(late_at=10**15),
    "late of branches": Wanted(late_at=10**15, branches=SOME),
    "closed": Wanted(state=State.CLOSED),
    "closed of branches": Wanted(state=State.CLOSED, branches=SOME),
    "of a company": Wanted(target="company1"),
    "of a company in branches": Wanted(target="company1", branches=SOME),
    "every": Wanted(every=True),
    "every of branches": Wanted(every=True, branches=SOME),
}
ROWS_MOST = 3 * LIMIT * BRANCHES
"""Of cases that a page may take up: a branch's are found among those of all, or by themselves."""
STEPS_OF_A_ROW = 40
"""Of SQLite's machine, at most."""

_NUMBERS = (
    "WITH RECURSIVE g(n) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT n + 1 FROM g"
    " WHERE n < :last)"
)
_CUSTOMERS = "INSERT INTO customer (id, first_at) {numbers} SELECT 'c' || n, 0 FROM g"
_CASES = """
INSERT INTO case_file (id, customer, target, state, branch, owner, opened_at, due_at, closed_at,
                       changed_seq)
{numbers}
SELECT n + 1, 'c' || (n % :customers), 'company' || (n / :customers),
       CASE n % 10 WHEN 0 THEN 'assigned' WHEN 1 THEN 'new' ELSE 'closed' END,
       'b' || (n % {branches}),
       CASE n % 10 WHEN 0 THEN 'li.wei' END,
       n * 1000000, (n * 7919 % (:last + 1)) * 1000000,
       CASE WHEN n % 10 > 1 THEN n END, n
FROM g
"""


@contextmanager
def filled(urls: tuple[str, str | None], cases: int) -> Iterator[Records]:
    """Records with so many cases, a fifth of them open."""
    url, owner = urls
    records = Records(url)
    if records.is_sqlite:
        records.migrate()
    people.hired(records, "li.wei")
    customers = cases // 25
    filling = records if owner is None else Records(owner)
    with filling.to_write() as connection, connection.begin():
        connection.execute(text(_CUSTOMERS.format(numbers=_NUMBERS)), {"last": customers - 1})
        statement = _CASES.format(numbers=_NUMBERS, branches=BRANCHES)
        connection.execute(text(statement), {"last": cases - 1, "customers": customers})
        if owner is not None:  # as PostgreSQL does by itself, sooner or later
            connection.execute(text("ANALYZE case_file"))
    if filling is not records:
        filling.close()
    try:
        yield records
    finally:
        records.close()


def asked(wanted: Wanted, after: str, *, ranged: bool = False) -> Select[Any]:
    """The query of a page."""
    found = _CURSOR.fullmatch(after) if after else None
    return (by_due if wanted.by_due else newest)(wanted, found, LIMIT, ranged=ranged)


def cursors(connection: Connection, wanted: Wanted) -> list[str]:
    """Where the first, a middle and the last page begin."""
    whole = (by_due if wanted.by_due else newest)(wanted, None, 10**7, ranged=False)
    rows = connection.execute(whole).all()
    assert len(rows) > 3 * LIMIT, "too few for a list"
    at = [rows[len(rows) // 2], rows[-LIMIT - 1]]
    return ["", *(f"{row.due_at}.{row.id}" if wanted.by_due else str(row.id) for row in at)]


def rows_taken_up(connection: Connection, query: Select[Any]) -> float:
    """How many rows of cases PostgreSQL reads for a query."""
    literal = query.compile(connection, compile_kwargs={"literal_binds": True})
    explained = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {literal}".replace(":", r"\:"))
    (plan,) = connection.execute(explained).scalar_one()

    def taken(node: dict[str, Any]) -> float:
        below = sum(taken(each) for each in node.get("Plans", ()))
        if node.get("Relation Name") != "case_file":
            return below
        each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        return below + each * node["Actual Loops"]

    return taken(plan["Plan"])


def steps(connection: Connection, query: Select[Any]) -> float:
    """How many steps SQLite's machine takes for a query, as rows."""
    count = 0

    def one() -> int:
        nonlocal count
        count += 1
        return 0

    raw: Any = connection.connection.driver_connection
    raw.set_progress_handler(one, 10)
    try:
        connection.execute(query).all()
    finally:
        raw.set_progress_handler(None, 0)
    return count * 10 / STEPS_OF_A_ROW


def test_each_page_takes_up_as_little_as_the_first(records_urls: tuple[str, str | None]):
    with filled(records_urls, CASES) as records, records.reading() as connection:
        ranged = not records.is_sqlite
        cost = rows_taken_up if ranged else steps
        for name, wanted in LISTS.items():
            found = [
                cost(connection, asked(wanted, each, ranged=ranged))
                for each in cursors(connection, wanted)
            ]
            assert max(found) <= ROWS_MOST, (name, found)


def test_nothing_but_the_page_is_sorted_by_sqlite(tmp_path):
    urls = (f"sqlite:///{tmp_path}/records.db", None)
    with filled(urls, CASES) as records, records.reading() as connection:
        for name, wanted in LISTS.items():
            query = asked(wanted, "99000000.7" if wanted.by_due else "1500")
            literal = query.compile(connection, compile_kwargs={"literal_binds": True})
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {literal}")]
            read = [each for each in plan if "case_file" in each]
            assert read, (name, plan)
            assert all("USING" in each for each in read), (name, plan)
            if wanted.branches is None:
                assert not any("TEMP B-TREE" in each for each in plan), (name, plan)


@pytest.mark.scale
@pytest.mark.timeout(900)
def test_a_million_cases(records_urls: tuple[str, str | None]):
    with filled(records_urls, 1_000_000) as records, records.reading() as connection:
        for name, wanted in LISTS.items():
            took = []
            for each in cursors(connection, wanted):
                page(connection, wanted, each, LIMIT)
                began = time.perf_counter()
                page(connection, wanted, each, LIMIT)
                took.append((time.perf_counter() - began) * 1000)
            told = ", ".join(f"{ms:.1f}" for ms in took)
            print(f"{records.place.split(':')[0]}, {name}: first, middle, last {told} ms")
            assert max(took) < 100, (name, took)
