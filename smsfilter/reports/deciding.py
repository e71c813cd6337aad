"""A person decides whom a report names, where the registry and the records could not."""

import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, Table, select, update

from smsfilter.desk import blocks
from smsfilter.desk.blocking import active
from smsfilter.flow.case import Event
from smsfilter.ledger.actor import Actor
from smsfilter.reports import cases
from smsfilter.reports.filing import Filing
from smsfilter.reports.replies import Outcome
from smsfilter.store.schema import block, case_file, report
from smsfilter.store.transaction import Entered, Transaction

UNDECIDED: Final = ("to_decide", "unmatched", "referred")
"""States in which a person may name the company."""


class NotOpen(ValueError):  # noqa: N818 - what the report is
    """There is nothing to be decided; says why."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a decision has come to."""

    report: int
    company: str
    block: int
    ended: tuple[int, ...]
    """The blocks of its sources, which the company's has taken the place of."""
    entered: Entered


def resolve(
    filing: Filing, transaction: Transaction, report_id: int, company: str, by: Actor
) -> Resolved | None:
    """Have the company blocked that a report is about; None where there is no such report.

    The answer to the customer waits for `confirm`, until the index has followed. Raises NotOpen,
    CompanyError.
    """
    connection = transaction.connection
    found = connection.execute(select(report).where(report.c.id == report_id)).one_or_none()
    if found is None:
        return None
    if found.state not in UNDECIDED or found.case_id is None:
        raise NotOpen(f"report {report_id} is {found.state}: there is nothing to be decided")
    key = active(connection, company)
    case = _case(transaction, found, key)
    put = blocks.put(transaction, found.customer, key, "report", report=report_id, case_id=case)
    ended = tuple(
        connection.scalars(
            update(block)
            .where(
                block.c.customer == found.customer,
                block.c.case_id == found.case_id,
                block.c.target.startswith(blocks.SOURCE),
                block.c.ended_at.is_(None),
            )
            .values(ended_at=transaction.now, ended_by=by.name, end_reason="company known")
            .returning(block.c.id)
        )
    )
    reports = _decided(transaction, found, case)
    filing.answer(transaction, report_id, found.customer, Outcome.BLOCKED, release=False)
    touches: list[tuple[Table, Any]] = [
        *put.touched,
        *((block, each) for each in ended),
        *((report, each) for each in reports),
        *((case_file, each) for each in {case, found.case_id}),
    ]
    entered = transaction.enter(
        "report resolved",
        by,
        object=f"report:{report_id}",
        case_id=case,
        customer_id=found.customer,
        detail={
            "company": key,
            "was": found.state,
            "blocks": [put.id] if put.is_new else [],
            "ended": sorted(ended),
            "reports": reports,
        },
        touches=touches,
    )
    return Resolved(report_id, key, put.id, ended, entered)


def _case(transaction: Transaction, found: Row[Any], company: str) -> int:
    """The case goes on against the company, in the one that is open against it if there is one."""
    connection = transaction.connection
    known: int | None = connection.scalar(
        select(case_file.c.id).where(
            case_file.c.customer == found.customer,
            case_file.c.target == company,
            case_file.c.closed_at.is_(None),
        )
    )
    case: int = found.case_id
    if known is None:
        cases.point(transaction, case, [company])
        return case
    cases.close(transaction, case, Event.JOIN)
    return known


def _decided(transaction: Transaction, found: Row[Any], case: int) -> list[int]:
    """Write the decision into every report of the case that waited for it."""
    evidence = {"by": "person", "was": json.loads(found.evidence) if found.evidence else {}}
    changed = update(report).where(report.c.case_id == found.case_id, report.c.state.in_(UNDECIDED))
    reports = transaction.connection.scalars(
        changed.values(
            case_id=case,
            state="blocked",
            match_kind="company",
            evidence=json.dumps(evidence, sort_keys=True),
        ).returning(report.c.id)
    ).all()
    # Only what is not confirmed has its answer released, once the block is in force.
    transaction.connection.execute(
        update(report).where(report.c.id == found.id).values(confirmed_at=None)
    )
    return sorted(reports)
