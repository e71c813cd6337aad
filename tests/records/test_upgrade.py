"""Records that an older version has made are taken over with all that stands in them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from smsfilter.store.records import Records

CASES = {
    1: ("blocked", None),
    2: ("to_decide", None),
    3: ("appealed", None),
    4: ("joined", 9),
    5: ("withdrawn", 9),
    6: ("recycled", 9),
}
"""State and end of cases as revision 0001 had them."""


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request: Any, tmp_path: Path) -> Iterator[Records]:
    """An empty database, as its owner."""
    if request.param == "sqlite":
        found = Records(f"sqlite:///{tmp_path}/records.db")
    else:
        server = request.getfixturevalue("postgres")
        with psycopg.connect(server.url("owner", "postgres"), autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS older")
            connection.execute("CREATE DATABASE older TEMPLATE template0")
        found = Records(server.url("owner", "older"))
    yield found
    found.close()


def fill(records: Records) -> None:
    """One row at least of each table that the next revision changes."""
    with records.to_write() as connection, connection.begin():

        def run(statement: str, **values: Any) -> None:
            connection.execute(text(statement), values)

        run("INSERT INTO customer (id, first_at) VALUES ('c1', 1)")
        for n, (state, closed_at) in CASES.items():
            run(
                "INSERT INTO case_file (id, customer, target, state, opened_at, due_at, closed_at,"
                " changed_seq) VALUES (:n, 'c1', :target, :state, 5, 7, :closed_at, 0)",
                n=n,
                target=f"company{n}",
                state=state,
                closed_at=closed_at,
            )
        run(
            "INSERT INTO report (id, channel, customer, fingerprint, copies, received_at, complete,"
            " counted, state, case_id, changed_seq)"
            " VALUES (1, 'sms', 'c1', 'f', 1, 5, true, true, 'blocked', 1, 0)"
        )
        run(
            "INSERT INTO sms_out (id, report, kind, n, customer, text_enc, state, attempts,"
            " maybe_twice, created_at)"
            " VALUES (1, 1, 'blocked', 1, 'c1', :text, 'sent', 1, false, 5)",
            text=b"sealed",
        )
        run(
            "INSERT INTO receipt (message_id, at, stat, customer, sms_out)"
            " VALUES ('m', 6, 'DELIVRD', 'c1', 1)"
        )


def test_cases_and_sms_of_the_first_records_are_kept(records: Records):
    records.migrate(to="0001")
    fill(records)
    records.migrate()
    with records.reading() as connection:
        cases = connection.execute(
            text("SELECT id, state, since, round FROM case_file ORDER BY id")
        )
        assert [tuple(row) for row in cases] == [
            (1, "new", 5, 1),
            (2, "new", 5, 1),
            (3, "new", 5, 1),
            (4, "joined", 5, 1),
            (5, "withdrawn", 5, 1),
            (6, "withdrawn", 5, 1),
        ]
        sms = connection.execute(
            text("SELECT report, customer, staff, text_enc FROM sms_out")
        ).one()
        assert (sms.report, sms.customer, sms.staff, bytes(sms.text_enc)) == (
            1,
            "c1",
            None,
            b"sealed",
        )
        assert connection.scalar(text("SELECT sms_out FROM receipt")) == 1


def test_an_upgrade_that_is_cut_off_leaves_the_records_as_they_were(records: Records):
    records.migrate(to="0001")
    fill(records)
    with pytest.raises(KeyboardInterrupt):
        _upgrade_and_stop(records)
    assert records.revision() == "0001"
    records.migrate()
    with records.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM case_file")) == len(CASES)


def _upgrade_and_stop(records: Records) -> None:
    with records.to_write() as connection, records._tables_replaced(connection):
        connection.execute(text("ALTER TABLE customer ADD COLUMN branch TEXT"))
        raise KeyboardInterrupt
