"""The proof of a block: its customer, all that is its company's, and what the proxies recorded."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from smsfilter.decisions.manifest import Manifest
from smsfilter.decisions.proof import EVERYBODY, Proof, Result
from smsfilter.desk import segments as kept
from smsfilter.desk.blocks import SOURCE, SUBSCRIBER, person
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.office import Office
from smsfilter.desk.owners import Owners
from smsfilter.desk.written import NO_CUSTOMER
from smsfilter.log import mask_source
from smsfilter.rules.headers import source_forms
from smsfilter.rules.numbers import customer_key, mask, subscriber
from smsfilter.store.decisions import Records
from smsfilter.store.schema import block, company, refusal, report, segment

RESULTS: Final = {
    Result.PROVEN: "proven",
    Result.FORWARDED: "forwarded",
    Result.NOT_PROVABLE: "not_provable",
}


class UnprovableError(ValueError):
    """There is nothing to prove, and why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A block that is to be proven. Times are µs UTC."""

    block: int
    customer: str
    digits: str
    """The customer's number (E.164): never shown."""
    target: str
    case_id: int | None
    report: int | None
    created_at: int
    in_force_at: int | None
    seq: int
    """With which it came to the index."""

    @property
    def masked(self) -> str:
        """What may be shown of the number."""
        return mask(self.digits)


@dataclass(frozen=True, slots=True)
class Given:
    """A proof, and what stands beside it."""

    subject: Subject
    proof: Proof
    manifests: tuple[Manifest, ...]
    """Of the segments that were looked at."""
    summed: tuple[Any, ...]
    """Rows of refusals whose segments are gone: count, first, last, company, source."""


def by_id(connection: Connection, office: Office, block_id: int, seq: int | None = None) -> Subject:
    """Find a block by its id. Raises UnprovableError.

    One that has ended only if `seq` says with which it came to the index: its row has lost that.
    """
    row = connection.execute(select(block).where(block.c.id == block_id)).one_or_none()
    if row is None:
        raise UnprovableError(f"there is no block {block_id}")
    if row.ended_at is not None and seq is None:
        raise UnprovableError(f"block {block_id} has ended: {row.end_reason}")
    digits = office.vault.numbers(connection, [row.customer]).get(row.customer)
    if digits is None:
        raise UnprovableError(f"the number of block {block_id} was erased")
    return Subject(
        row.id,
        row.customer,
        digits,
        row.target,
        row.case_id,
        row.report,
        row.created_at,
        row.in_force_at,
        row.changed_seq if seq is None else seq,
    )


def by_pair(
    connection: Connection, office: Office, customer: str, *, company: str = "", source: str = ""
) -> Subject:
    """Find the live block of a number and a company or a source. Raises UnprovableError."""
    country_code = office.policy.country_code
    digits = customer_key(customer, country_code)
    if digits is None:
        raise UnprovableError(NO_CUSTOMER)
    owner = office.vault.find(connection, digits)
    target = company or _source(connection, office, source)
    row = connection.scalar(
        select(block.c.id).where(
            block.c.customer == owner, block.c.target == target, block.c.ended_at.is_(None)
        )
    )
    if owner is None or row is None:
        raise UnprovableError(f"{mask(digits)} has not blocked {company or mask_source(source)}")
    return by_id(connection, office, row)


def _source(connection: Connection, office: Office, source: str) -> str | None:
    """The target that stands for a source; None where there can be none."""
    country_code = office.policy.country_code
    digits = subscriber(source.encode(), country_code)
    if digits is None:
        return SOURCE + source_forms(source.encode(), country_code).normalised
    known = office.vault.find(connection, digits.decode())
    return None if known is None else SUBSCRIBER + known


def prove(
    connection: Connection,
    office: Office,
    evidence: Evidence,
    subject: Subject,
    until: int | None = None,
) -> Given:
    """Look at all that was recorded of a block's customer, up to `until` (µs; now).

    What is missing is looked for twice: a file may have been on its way to its next name.
    """
    known = kept.manifests(connection, subject.created_at)
    sources = sources_of(connection, office, subject.target)
    for fresh in (False, True):
        records = evidence.records(fresh=fresh)
        proof = records.prove(
            subject.digits,
            companies_of(connection, subject.target),
            sources,
            changed_seq=subject.seq,
            created_at=subject.created_at,
            unnamed=_owned(connection, office, subject),
            known=known,
            until=until,
        )
        if not proof.gaps:
            break
    manifests = tuple(one for one in records.manifests() if one.until >= subject.created_at)
    names = {name for each in sources for name in records.names(each)}
    return Given(subject, proof, manifests, _summed(connection, records, manifests, subject, names))


def companies_of(connection: Connection, target: str) -> set[str]:
    """The company of a target, and all that were merged into it."""
    if target.startswith(SOURCE):
        return set()
    found = {target}
    if target == EVERYBODY:
        return found
    query = select(company.c.id, company.c.merged_into).where(company.c.merged_into.is_not(None))
    merged = connection.execute(query).all()
    while more := {row.id for row in merged if row.merged_into in found} - found:
        found |= more
    return found


def sources_of(connection: Connection, office: Office, target: str) -> list[str]:
    """The source that a target names, as the proxies spell it."""
    sender = person(target)
    if sender is not None:
        numbers = office.vault.numbers(connection, [sender]).values()
        country_code = office.policy.country_code
        return [source_forms(each.encode(), country_code).normalised for each in numbers]
    return [target.removeprefix(SOURCE)] if target.startswith(SOURCE) else []


def _owned(connection: Connection, office: Office, subject: Subject) -> Callable[[str], bool]:
    """Whether a source was the company's at any time since the block, by what is known now."""
    policy, now = office.policy, office.clock()

    @cache
    def owners() -> Owners:
        zone, since = ZoneInfo(policy.timezone), subject.created_at
        return Owners.load(connection, zone, policy.country_code, now, since=since)

    def is_owned(source: str) -> bool:
        if subject.target.startswith(SOURCE) or subject.target == EVERYBODY:
            return False
        owned = owners().of(source, now, subject.created_at)
        return subject.target in owned.companies and not owned.look_alike

    return is_owned


def _summed(
    connection: Connection,
    records: Records,
    there: tuple[Manifest, ...],
    subject: Subject,
    names: Collection[str],
) -> tuple[Any, ...]:
    """What the desk has kept of refusals whose segments are gone."""
    tokens = [folder.tokens(subject.digits.encode()) for folder in records.folders]
    query = (
        select(refusal, segment.c.proxy, segment.c.name)
        .join(segment, segment.c.id == refusal.c.segment)
        .where(refusal.c.token8.in_(tokens), segment.c.to_at >= subject.created_at)
        .order_by(refusal.c.first)
    )
    here = {(one.proxy, one.number) for one in there}
    wanted = companies_of(connection, subject.target)
    return tuple(
        row
        for row in connection.execute(query)
        if (row.proxy, int(row.name)) not in here
        and (
            EVERYBODY in wanted
            or not wanted.isdisjoint(row.company.split(" "))
            or row.source in names
        )
    )


def reported_at(connection: Connection, subject: Subject) -> tuple[str, int] | None:
    """Return by which channel and when the report came that a block follows from."""
    if subject.report is None:
        return None
    query = select(report.c.channel, report.c.received_at).where(report.c.id == subject.report)
    row = connection.execute(query).one()
    return row.channel, row.received_at
