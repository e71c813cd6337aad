"""Reports as they may be shown: with masked numbers, their blocks, SMS and what the ledger says."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, or_, select

from smsfilter.desk import blocking
from smsfilter.desk.blocks import company_of
from smsfilter.desk.timeline import timeline
from smsfilter.desk.vault import Vault
from smsfilter.ledger.actor import Actor
from smsfilter.reports import entered, ids
from smsfilter.store.schema import block, case_file, receipt, report, sms_out
from smsfilter.store.transaction import Transaction

STATES: Final = (
    *("blocked", "to_decide", "referred", "unmatched", "needs_info", "joined", "never_block"),
    *("nonsense", "withdrawal", "appeal", "withdrawn", "lifted"),
)
"""What a report may be."""


_WITH_CASE: Final = select(report, case_file.c.target, case_file.c.due_at).outerjoin(
    case_file, case_file.c.id == report.c.case_id
)
_FIND: Final = _WITH_CASE.where(report.c.id == bindparam("report"))
_OF_CASE: Final = (
    _WITH_CASE.where(report.c.case_id == bindparam("case"))
    .order_by(report.c.id)
    .limit(bindparam("most"))
)


def page(
    connection: Connection,
    vault: Vault,
    *,
    before: int | None,
    limit: int,
    state: str | None,
    since: int | None,
    branches: frozenset[str] | None = None,
) -> list[dict[str, Any]]:
    """Return reports, the newest first, with ids below `before`, taken in from `since` on (µs).

    `branches`: only of their customers; None: of all.
    """
    wanted: list[ColumnElement[bool]] = (
        [] if branches is None else [blocking.of_branches(report.c.customer, branches)]
    )
    if before is not None:
        wanted.append(report.c.id < before)
    if state is not None:
        wanted.append(report.c.state == state)
    if since is not None:
        first = select(report.c.id).where(report.c.received_at >= since)
        found = connection.scalar(first.order_by(report.c.received_at, report.c.id).limit(1))
        if found is None:
            return []
        wanted.append(report.c.id >= found)
    query = _WITH_CASE.where(*wanted).order_by(report.c.id.desc()).limit(limit)
    return told(connection, vault, connection.execute(query))


def told(connection: Connection, vault: Vault, rows: Iterable[Row[Any]]) -> list[dict[str, Any]]:
    """Say reports as a list has them."""
    found = list(rows)
    masked = vault.masked(connection, people(found))
    return [as_listed(each, masked) for each in found]


def people(rows: Iterable[Row[Any]]) -> set[str]:
    """Return the customers whose numbers, masked, these reports show."""
    found = [(each.customer, each.reported_customer) for each in rows]
    return {each for both in found for each in both if each is not None}


def of_case(connection: Connection, case: int, most: int) -> Sequence[Row[Any]]:
    """Return the reports of a case and the orders about them, the oldest first."""
    return connection.execute(_OF_CASE, {"case": case, "most": most}).all()


def find(
    connection: Connection, report_id: int, branches: frozenset[str] | None = None
) -> Row[Any] | None:
    """Return one report with the target of its case, if its customer is of these branches."""
    query = (
        _FIND
        if branches is None
        else _FIND.where(blocking.of_branches(report.c.customer, branches))
    )
    return connection.execute(query, {"report": report_id}).one_or_none()


def opened(
    transaction: Transaction, vault: Vault, row: Row[Any], by: Actor, purpose: str
) -> dict[str, str]:
    """Open what the customer wrote, and the note of whoever entered it; each is entered."""

    def text(column: str) -> str:
        return vault.show_text(
            transaction,
            getattr(row, column),
            ("report", column, row.id),
            by,
            customer_id=row.customer,
            purpose=purpose,
        )

    said = {"text": text("text_enc")}
    if row.channel != "sms":
        said["note"] = entered.note(text("raw_enc").encode())
    return said


def whole(connection: Connection, vault: Vault, row: Row[Any]) -> dict[str, Any]:
    """Say all that is known of one report, but for what the customer wrote."""
    (said,) = told(connection, vault, [row])
    blocked = _blocks(connection, row)
    sent = _sms(connection, row.id)
    objects = [
        f"report:{row.id}",
        *(f"block:{each.id}" for each in blocked),
        *(f"sms:{each['id']}" for each in sent),
    ]
    return said | {
        "match": row.match_kind,
        "evidence": json.loads(row.evidence) if row.evidence else {},
        "due_at": row.due_at,
        "counted": row.counted,
        "blocks": blocking.told(connection, vault, blocked),
        "sms": sent,
        "timeline": timeline(connection, row.customer, objects, row.case_id),
    }


def as_listed(row: Row[Any], masked: dict[str, str]) -> dict[str, Any]:
    """Say a report as a list has it."""
    source = row.reported_norm
    if row.reported_customer is not None:
        source = masked[row.reported_customer]
    return {
        "id": row.id,
        "number": ids.spell(row.id),
        "received_at": row.received_at,
        "confirmed_at": row.confirmed_at,
        "channel": row.channel,
        "customer": masked[row.customer],
        "customer_id": row.customer,
        "source": source,
        "state": row.state,
        "company": company_of(row.target),
        "case": row.case_id,
        "copies": row.copies,
        "complete": row.complete,
    }


def _blocks(connection: Connection, row: Row[Any]) -> list[Row[Any]]:
    own = block.c.report == row.id
    of_case = own if row.case_id is None else or_(own, block.c.case_id == row.case_id)
    query = select(block).where(block.c.customer == row.customer, of_case).order_by(block.c.id)
    return list(connection.execute(query))


def _sms(connection: Connection, report_id: int) -> list[dict[str, Any]]:
    columns = ("id", "kind", "state", "attempts", "maybe_twice", "created_at", "sent_at")
    query = select(sms_out).where(sms_out.c.report == report_id).order_by(sms_out.c.id)
    rows = connection.execute(query).all()
    receipts = connection.execute(
        select(receipt).where(receipt.c.sms_out.in_([each.id for each in rows]))
    ).all()
    return [
        {
            **{name: getattr(row, name) for name in columns},
            "message_id": row.message_id,
            "receipts": [
                {"at": each.at, "stat": each.stat, "err": each.err}
                for each in receipts
                if each.sms_out == row.id
            ],
        }
        for row in rows
    ]
