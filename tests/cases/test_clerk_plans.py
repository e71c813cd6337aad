"""What clerks look at most reads by an index what it needs, and never all that there ever was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from smsfilter.cases import campaigns, evidence, groups, next, today
from tests.fakes.clerks import Clerks

LARGE = ("report", "case_file", "block", "sms_out", "customer", "ledger")
NORTH = frozenset(("north",))
TEXT = "您中奖了，请点击链接 http://t.cn/AbC 领取"


@contextmanager
def executed(connection: Connection) -> Iterator[list[tuple[str, Any]]]:
    """What is executed meanwhile, with its parameters."""
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(connection, "before_cursor_execute", note)


def whole_tables(clerks: Clerks, work: Callable[[Connection], Any]) -> list[str]:
    """The lines of the plans by which a large table would be read from end to end."""
    records = clerks.desk.office.records
    with records.reading() as connection:
        if not records.is_sqlite:  # with so few rows it would read them all, whatever there is
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        with executed(connection) as statements:
            work(connection)
        assert statements
        lines = []
        for statement, parameters in statements:
            if records.is_sqlite:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                lines += [row[3] for row in plan]
            else:
                plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
                lines += [row[0].strip(" ->") for row in plan]
    scans = [line for line in lines if line.startswith(("SCAN ", "Seq Scan on "))]
    scans = [line for line in scans if "_open_" not in line]  # an index of what is open alone
    return [line for line in scans if any(name in line.split() for name in LARGE)]


async def test_no_look_reads_a_whole_table(clerks):
    for n in range(6):
        body = {"customer": f"1380013800{n}", "source": "10657555", "text": TEXT}
        await clerks["hu"].post("/reports", body)
    now = clerks.desk.office.clock()
    office = clerks.desk.office
    fold = clerks.desk.rows("report")[0].text_fold
    case = clerks.desk.rows("case_file")[0]
    day = today.Today(office)
    source = groups.Source("10657555", None)
    looks: dict[str, Callable[[Connection], Any]] = {
        "own": lambda at: next.most_urgent(at, "li", NORTH),
        "unowned": lambda at: next.most_urgent(at, None, None),
        "today": lambda at: day.figures(at, None, now),
        "today in a branch": lambda at: day.figures(at, NORTH, now),
        "a text": lambda at: campaigns.of_text(at, fold, now),
        "others": lambda at: evidence._others(at, case, {"acme"}, "acme", now),
        "groups": lambda at: groups.listed(at, office.vault, None, 50),
        "groups in a branch": lambda at: groups.listed(at, office.vault, NORTH, 50),
        "reach": lambda at: groups.extent(at, source, NORTH, "acme"),
        "portion": lambda at: groups.portion(at, source, NORTH, 0, 50),
    }
    wrong = {name: found for name, look in looks.items() if (found := whole_tables(clerks, look))}
    assert not wrong
