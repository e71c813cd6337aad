"""The evidence of a case, in lines, each with the records that it rests on.

It is put together from the records and from what the proxies recorded, by itself: whoever decides
reads a dozen lines, and can look up every one. What a line names is a record, never a number:
`report:7`, `block:3`, `incident:2`, `case:5`, or the slot of a decision record,
`record:edge/17/4`. Reads files, and is for a thread.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from smsfilter.cases import campaigns
from smsfilter.cases.campaigns import Campaign
from smsfilter.cases.line import NAMED_MOST, Line, named, recorded, shown
from smsfilter.cases.recorded import Recorded
from smsfilter.desk import proving
from smsfilter.desk.blocks import SUBSCRIBER, company_of
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.incidents import FORWARDED
from smsfilter.desk.matching import WINDOW
from smsfilter.desk.office import Office
from smsfilter.flow.case import State
from smsfilter.flow.suggest import Facts
from smsfilter.reports import cases
from smsfilter.reports.answers import DAY_US
from smsfilter.store.schema import case_file, decision, incident, report

OTHERS_WITHIN_US: Final = 10 * DAY_US
"""How long other customers' reports on a company are counted: as on the ladder."""
OTHERS_MOST: Final = 1_000
"""Cases of a company that are looked at, the newest."""
_REPORTS_MOST: Final = 20
_SETTLED: Final = (State.DECIDED, State.REPLIED, State.CLOSED)
_BY: Final = {
    "registry": "by the registry",
    "forwards": "by what was forwarded to the customer",
    "look-alike": "by a name that looks like its own",
    "signature": "by the signature in the text",
    "person": "by a person",
}
_UNMATCHED: Final = {
    "to_decide": "its company is for a person to name: the source is blocked",
    "referred": "nobody's source that is known here",
    "unmatched": "nobody was found yet who has sent it",
}


@dataclass(slots=True)
class Gathered:
    """The evidence of a case, and what the rules make a suggestion from."""

    company: str | None
    source: str | None
    """What was reported; a person's number is its customer's id behind `#`."""
    report: int | None
    """The first report, whose number the customer knows."""
    lines: list[Line] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)


def gather(connection: Connection, office: Office, evidence: Evidence, case: Row[Any]) -> Gathered:
    """Return what is known of a case, a row of `case_file`. Nothing is opened but the number."""
    now = office.clock()
    target = cases.target(connection, case.id)
    company = company_of(target)
    reports = _reports(connection, case.id)
    first = reports[0] if reports else None
    text = next((each.text_fold for each in reversed(reports) if each.text_fold), None)
    whom = target or "the sender"
    names = proving.companies_of(connection, company) if company else set()
    on_record = Recorded(office, evidence, connection, case, target)
    sent = on_record.before(first)
    incidents = _incidents(connection, case)
    campaign = None if text is None else campaigns.of_text(connection, text, now)
    earlier = [] if text is None else _earlier(connection, case, text, names, now)
    lines = [
        *incidents,
        *_reported(reports, company),
        *_appealed(connection, case),
        sent.line(shown(whom)),
        *on_record.since(),
        *_others(connection, case, names, company, now),
        *_campaign(campaign),
        *_decided(earlier),
    ]
    states = {each.state for each in reports}
    facts = Facts(
        company=company,
        is_undecided="to_decide" in states,
        is_unmatched="unmatched" in states,
        is_handset=bool(target and target.startswith(SUBSCRIBER)),
        search_over=first is not None and now >= first.received_at + WINDOW,
        is_complete=sent.is_complete,
        reports=[f"report:{each.id}" for each in reports],
        forwards=recorded(sent.forwards),
        sent_earlier=bool(sent.earlier),
        forwarded_after=[each.records[0] for each in incidents if each.is_alarm],
        campaign=[] if campaign is None else named("report", campaign.reports),
        campaign_customers=0 if campaign is None else campaign.customers,
        earlier=[(f"case:{each.case_id}", each.outcome) for each in earlier],
    )
    return Gathered(company, _source(first), None if first is None else first.id, lines, facts)


# --- what was reported


def _reports(connection: Connection, case: int) -> Sequence[Row[Any]]:
    query = (
        select(report)
        .where(report.c.case_id == case, report.c.state.not_in(cases.ORDERS))
        .order_by(report.c.id)
        .limit(_REPORTS_MOST)
    )
    return connection.execute(query).all()


def _reported(reports: Sequence[Row[Any]], company: str | None) -> list[Line]:
    return [
        Line(
            "report",
            f"{shown(_source(each))} was reported by {each.channel}{_copies(each)}: "
            f"{_match(each, company)}{_missing(each)}",
            (f"report:{each.id}",),
            each.received_at,
        )
        for each in reports
    ]


def _match(row: Row[Any], company: str | None) -> str:
    evidence = json.loads(row.evidence) if row.evidence else {}
    if row.state in _UNMATCHED:
        possible = " or ".join(evidence.get("companies", ()))
        return _UNMATCHED[row.state] + (f", {possible} may be meant" if possible else "")
    by = evidence.get("by", "")
    return f"{company or 'its source'}, {_BY.get(by, by) or 'as it was entered'}"


def _copies(row: Row[Any]) -> str:
    return f" {row.copies} times" if row.copies > 1 else ""


def _missing(row: Row[Any]) -> str:
    if not row.complete:
        return "; parts of the text are missing"
    return "" if row.text_fold else "; with little or no text"


def _source(row: Row[Any] | None) -> str | None:
    if row is None:
        return None
    return f"#{row.reported_customer}" if row.reported_customer else row.reported_norm


def _appealed(connection: Connection, case: Row[Any]) -> list[Line]:
    """What happened to the case in the rounds before."""
    orders = connection.execute(
        select(report.c.id, report.c.received_at)
        .where(report.c.case_id == case.id, report.c.state == "appeal")
        .order_by(report.c.id)
    )
    rounds = connection.execute(
        select(decision).where(decision.c.case_id == case.id).order_by(decision.c.round)
    )
    lines = [
        Line("appeal", "the customer has appealed", (f"report:{each.id}",), each.received_at)
        for each in orders
    ]
    lines += [
        Line(
            "decision",
            f"round {each.round} was decided {each.outcome} by {each.by}",
            (f"case:{case.id}",),
            each.at,
        )
        for each in rounds
        if each.round < case.round
    ]
    return sorted(lines, key=lambda line: line.at or 0)


def _incidents(connection: Connection, case: Row[Any]) -> list[Line]:
    query = select(incident).where(incident.c.case_id == case.id).order_by(incident.c.id.desc())
    lines = []
    for row in connection.execute(query.limit(NAMED_MOST)):
        result = (row.result or "still looked into").replace("_", " ")
        lines.append(
            Line(
                "incident",
                f"reported although it was blocked: {result}",
                (f"incident:{row.id}", f"report:{row.report}", f"block:{row.block}"),
                row.opened_at,
                is_alarm=row.result == FORWARDED,
            )
        )
    return sorted(lines, key=lambda line: not line.is_alarm)


# --- what others say


def _others(
    connection: Connection, case: Row[Any], names: Iterable[str], company: str | None, now: int
) -> list[Line]:
    """How many other customers have reported the company."""
    if company is None:
        return []
    counted = select(report.c.id).where(report.c.case_id == case_file.c.id, report.c.counted)
    newest = (
        select(case_file.c.id, case_file.c.customer, case_file.c.opened_at)
        .where(
            case_file.c.target.in_(sorted(names)),
            case_file.c.customer != case.customer,
            counted.exists(),
        )
        .order_by(case_file.c.id.desc())
        .limit(OTHERS_MOST)
    )
    lately = [row for row in connection.execute(newest) if row.opened_at > now - OTHERS_WITHIN_US]
    customers = len({row.customer for row in lately})
    more = " or more" if len(lately) == OTHERS_MOST else ""
    says = f"{customers}{more} other customers reported {company} in 10 days"
    last = lately[0].opened_at if lately else None
    return [Line("others", says, named("case", (row.id for row in lately)), last)]


def _campaign(campaign: Campaign | None) -> list[Line]:
    if campaign is None or campaign.customers < 2:
        return []
    more = " or more" if campaign.is_more else ""
    whose = f", of {', '.join(campaign.companies)}" if campaign.companies else ""
    says = (
        f"{campaign.customers}{more} customers reported the same text in 7 days, "
        f"from {campaign.sources} source{'s' if campaign.sources > 1 else ''}{whose}"
    )
    return [Line("campaign", says, named("report", campaign.reports), campaign.last_at)]


def _earlier(
    connection: Connection, case: Row[Any], text: str, names: Iterable[str], now: int
) -> list[Row[Any]]:
    """Return a report of each other case of the same company and text that is decided."""
    wanted = set(names)
    found: dict[int, Row[Any]] = {}
    for row in campaigns.same_text(connection, text, now):
        is_decided = row.outcome is not None and row.case_state in _SETTLED
        if is_decided and row.target in wanted and row.case_id != case.id:
            found.setdefault(row.case_id, row)
    return list(found.values())[:_REPORTS_MOST]


def _decided(earlier: Sequence[Row[Any]]) -> list[Line]:
    lines = []
    for outcome in dict.fromkeys(row.outcome for row in earlier):
        of_it = [row for row in earlier if row.outcome == outcome]
        says = f"{len(of_it)} earlier with the same text and company decided {outcome}"
        lines.append(
            Line(
                "earlier", says, named("case", (row.case_id for row in of_it)), of_it[0].received_at
            )
        )
    return lines
