"""One case as a whole: its reports, blocks, SMS and decisions, and all that happened, in order.

What happened is read from the ledger. Beside that stands what others saw and no person did: when a
block was in force, what the proxies have refused since, receipts of the SMSC.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, or_, select

from smsfilter.cases import listing
from smsfilter.desk import blocking, proving
from smsfilter.desk.blocks import SOURCE
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.office import Office
from smsfilter.desk.timeline import timeline
from smsfilter.desk.vault import masked
from smsfilter.reports import cases, showing
from smsfilter.reports.cases import ORDERS
from smsfilter.store.schema import (
    block,
    decision,
    incident,
    receipt,
    refusal,
    segment,
    sms_out,
    warning,
)

MOST: Final = 5_000
"""Rows of the ledger that are shown of one case: the newest."""
SEEN_MOST: Final = 100
"""Reports, blocks and SMS of one case that are shown: the oldest."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What belongs to a case."""

    reports: Sequence[Row[Any]]
    blocks: Sequence[Row[Any]]
    sms: Sequence[Row[Any]]
    receipts: Sequence[Row[Any]]
    decisions: Sequence[Row[Any]]
    incidents: Sequence[Row[Any]]
    warnings: Sequence[Row[Any]]

    def objects(self, case: int) -> list[str]:
        """Name them as the ledger does."""
        return [
            f"case:{case}",
            *(f"report:{each.id}" for each in self.reports),
            *(f"block:{each.id}" for each in self.blocks),
            *(f"sms:{each.id}" for each in self.sms),
            *(f"incident:{each.id}" for each in self.incidents),
        ]


def whole(
    connection: Connection, office: Office, evidence: Evidence, row: Row[Any]
) -> dict[str, Any]:
    """Say all that is known of a case but for what customers wrote and their numbers."""
    parts = _parts(connection, row)
    people = {row.customer} | showing.people(parts.reports) | blocking.people(parts.blocks)
    numbers = office.vault.numbers(connection, people)
    masks = masked(numbers, people)
    first = next((each.id for each in parts.reports if each.state not in ORDERS), None)
    reports = [showing.as_listed(each, masks) for each in parts.reports]
    for each, kept in zip(reports, parts.reports, strict=True):
        each["match"] = kept.match_kind
        each["evidence"] = json.loads(kept.evidence) if kept.evidence else {}
    acts = timeline(connection, row.customer, parts.objects(row.id), row.id, MOST)
    seen = [
        *_in_force(parts),
        *_receipts(parts, acts),
        *_refused(connection, office, evidence, row, numbers.get(row.customer)),
    ]
    seen += [*_incidents(parts), *_warnings(parts)]
    return listing.as_listed(row, masks, first) | {
        "source": next((each["source"] for each in reports if each["source"]), None),
        "since": row.since,
        "reports": reports,
        "blocks": [blocking.as_listed(each, masks) for each in parts.blocks],
        "decisions": [
            {"round": each.round, "outcome": each.outcome, "by": each.by, "at": each.at}
            for each in parts.decisions
        ],
        "sms": [_sms(each, parts.receipts) for each in parts.sms],
        "timeline": sorted([*acts, *seen], key=lambda each: each["at"]),
    }


_REPORTS_OF: Final[Any] = bindparam("reports", expanding=True)
_BLOCKS: Final = (
    select(block)
    .where(
        block.c.customer == bindparam("customer"),
        or_(block.c.case_id == bindparam("case"), block.c.report.in_(_REPORTS_OF)),
    )
    .order_by(block.c.id)
    .limit(SEEN_MOST)
)
_WARNINGS: Final = (
    select(warning).where(warning.c.about == bindparam("about")).order_by(warning.c.id)
)
_SMS: Final = (
    select(sms_out)
    .where(
        or_(
            sms_out.c.case_id == bindparam("case"),
            sms_out.c.report.in_(_REPORTS_OF),
            sms_out.c.id.in_(bindparam("told", expanding=True)),
        )
    )
    .order_by(sms_out.c.id)
    .limit(SEEN_MOST)
)
_RECEIPTS: Final = select(receipt).where(receipt.c.sms_out.in_(bindparam("sms", expanding=True)))
_DECISIONS: Final = (
    select(decision).where(decision.c.case_id == bindparam("case")).order_by(decision.c.round)
)
_INCIDENTS: Final = (
    select(incident).where(incident.c.report.in_(_REPORTS_OF)).order_by(incident.c.id)
)


def _parts(connection: Connection, row: Row[Any]) -> Parts:
    reports = showing.of_case(connection, row.id, SEEN_MOST)
    known = [each.id for each in reports]
    of: dict[str, Any] = {"case": row.id, "customer": row.customer, "reports": known}
    warnings = connection.execute(_WARNINGS, {"about": f"case:{row.id}"}).all()
    of["told"] = [each.sms_out for each in warnings if each.sms_out is not None]
    sms = connection.execute(_SMS, of).all()
    receipts: Sequence[Row[Any]] = ()
    if sms:
        receipts = connection.execute(_RECEIPTS, {"sms": [each.id for each in sms]}).all()
    return Parts(
        reports=reports,
        blocks=connection.execute(_BLOCKS, of).all(),
        sms=sms,
        receipts=receipts,
        decisions=connection.execute(_DECISIONS, {"case": row.id}).all(),
        incidents=connection.execute(_INCIDENTS, {"reports": known}).all() if known else (),
        warnings=warnings,
    )


def _sms(row: Row[Any], receipts: Sequence[Row[Any]]) -> dict[str, Any]:
    columns = ("id", "kind", "state", "attempts", "maybe_twice", "created_at", "sent_at", "staff")
    return {name: getattr(row, name) for name in columns} | {
        "receipts": [
            {"at": each.at, "stat": each.stat, "err": each.err}
            for each in receipts
            if each.sms_out == row.id
        ]
    }


# --- what nobody at the desk did


def _seen(at: int, action: str, of: str, by: str, **detail: Any) -> dict[str, Any]:
    return {"seq": None, "at": at, "actor": by, "action": action, "object": of, "detail": detail}


def _in_force(parts: Parts) -> list[dict[str, Any]]:
    blocked = [
        _seen(each.in_force_at, "block in force", f"block:{each.id}", "system:index")
        for each in parts.blocks
        if each.in_force_at is not None
    ]
    told = [
        _seen(each.confirmed_at, "report confirmed", f"report:{each.id}", "system:intake")
        for each in parts.reports
        if each.confirmed_at is not None
    ]
    return blocked + told


def _receipts(parts: Parts, acts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Receipts that came before the SMSC had named the SMS: the ledger has them without it."""
    known = {(each["object"], each["at"]) for each in acts if each["action"] == "receipt taken"}
    return [
        _seen(each.at, "receipt taken", f"sms:{each.sms_out}", "system:receipts", stat=each.stat)
        for each in parts.receipts
        if (f"sms:{each.sms_out}", each.at) not in known
    ]


_REFUSED: Final = (
    select(refusal, segment.c.proxy, segment.c.name)
    .join(segment, segment.c.id == refusal.c.segment)
    .where(
        refusal.c.token8.in_(bindparam("tokens", expanding=True)),
        refusal.c.last >= bindparam("since"),
    )
    .order_by(refusal.c.first)
    .limit(MOST)
)


def _refused(
    connection: Connection,
    office: Office,
    evidence: Evidence,
    row: Row[Any],
    digits: str | None,
) -> list[dict[str, Any]]:
    """What the proxies have refused of whom the case is about since it was opened."""
    if row.target is None or digits is None:
        return []
    records = evidence.records()
    tokens = [each.tokens(digits.encode()) for each in records.folders]
    refused = connection.execute(_REFUSED, {"tokens": tokens, "since": row.opened_at}).all()
    target = cases.target(connection, row.id) if refused else None
    if target is None:
        return []
    companies = set() if target.startswith(SOURCE) else proving.companies_of(connection, target)
    sources = proving.sources_of(connection, office, target)
    names = {name for each in sources for name in records.names(each)}
    return [
        _seen(
            each.last,
            "refused at the proxy",
            f"segment:{each.proxy}/{each.name}",
            f"proxy:{each.proxy}",
            company=each.company,
            source=each.source,
            count=each.count,
            first=each.first,
        )
        for each in refused
        if not companies.isdisjoint(each.company.split(" ")) or each.source in names
    ]


def _incidents(parts: Parts) -> list[dict[str, Any]]:
    opened = [
        _seen(each.opened_at, "incident opened", f"incident:{each.id}", "system:incidents")
        for each in parts.incidents
    ]
    decided = [
        _seen(
            each.decided_at,
            "incident decided",
            f"incident:{each.id}",
            "system:incidents",
            result=each.result,
        )
        for each in parts.incidents
        if each.decided_at is not None
    ]
    return opened + decided


def _warnings(parts: Parts) -> list[dict[str, Any]]:
    sent = {each.id: each.state for each in parts.sms}
    return [
        _seen(
            each.at,
            "warned",
            f"staff:{each.staff}",
            "system:clock",
            kind=each.kind,
            round=each.round,
            sms=sent.get(each.sms_out),
        )
        for each in parts.warnings
    ]
