"""What the records keep of the proxies' segments: manifests, what was refused, what is at fault.

A closed segment is taken in once, in one transaction, with a row of the ledger that has its hash:
from then on nobody can exchange or remove it unseen. What was refused for a report is kept beyond
the segment, summed up by customer, company and source.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, insert, select, update

from smsfilter.decisions.layout import End
from smsfilter.decisions.manifest import CLOCKS_APART_US, Manifest
from smsfilter.ledger.actor import system
from smsfilter.store.decisions import Refusals
from smsfilter.store.schema import refusal, segment
from smsfilter.store.transaction import Transaction

BY: Final = system("segments")
_NAME_MOST: Final = 500
"""Characters of a company or source in the table of refusals: PostgreSQL's index takes no more."""


class Known(NamedTuple):
    """A segment in the records."""

    sha256: str
    """'' of one that could not be read."""
    fault: str | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A segment that is to be taken in, or of which something is to be said."""

    proxy: str
    number: int
    manifest: Manifest | None = None
    """None where it cannot be read."""
    refusals: tuple[Refusals, ...] = ()
    fault: str | None = None


def known(connection: Connection, proxy: str) -> dict[int, Known]:
    """Return the segments of a proxy by their numbers."""
    query = select(segment.c.name, segment.c.sha256, segment.c.fault).where(
        segment.c.proxy == proxy
    )
    return {int(row.name): Known(row.sha256, row.fault) for row in connection.execute(query)}


def manifests(connection: Connection, since: int) -> list[Manifest]:
    """Return what was read of the segments that end at `since` (µs) or later."""
    query = select(segment).where(
        segment.c.to_at >= since - CLOCKS_APART_US, segment.c.sha256 != ""
    )
    return [_manifest(row) for row in connection.execute(query)]


def _manifest(row: Any) -> Manifest:
    return Manifest(
        proxy=row.proxy,
        number=int(row.name),
        key_id="",
        since=row.from_at,
        until=row.to_at,
        records=row.count,
        lost=row.lost,
        end=End.ORDERLY if row.clean else End.UNCLEAN,
        continues=True,
        seq_least=0,
        seq_most=0,
        sha256=row.sha256,
        prev=row.prev,
    )


def take(transaction: Transaction, taken: Taken) -> None:
    """Write down what is known of one segment, and enter it."""
    connection, name = transaction.connection, f"{taken.number:010d}"
    mine = (segment.c.proxy == taken.proxy, segment.c.name == name)
    there = connection.execute(select(segment).where(*mine)).one_or_none()
    one = taken.manifest
    detail: dict[str, Any] = {"fault": taken.fault}
    if one is None or (there is not None and there.sha256):
        values: dict[str, Any] = {"fault": taken.fault}
        if there is None:
            at = transaction.now
            values |= {"from_at": at, "to_at": at, "count": 0, "lost": 0, "clean": False}
            values |= {"sha256": "", "prev": ""}
        action = "segment at fault" if taken.fault else "segment found again"
    else:
        values = {
            "from_at": one.since,
            "to_at": one.until,
            "count": one.records,
            "lost": one.lost,
            "clean": one.clean,
            "sha256": one.sha256,
            "prev": one.prev,
            "fault": taken.fault,
        }
        detail |= values | {
            "end": one.end.name.lower(),
            "refused": sum(one.refused for one in taken.refusals),
        }
        action = "segment taken in"
    if there is None:
        new = insert(segment).values(proxy=taken.proxy, name=name, **values)
        row: int = connection.execute(new.returning(segment.c.id)).scalar_one()
    else:
        row = there.id
        connection.execute(update(segment).where(*mine).values(**values))
    if action == "segment taken in" and taken.refusals:
        connection.execute(insert(refusal), list(_rows(row, taken.refusals)))
    transaction.enter(action, BY, object=f"segment:{taken.proxy}/{taken.number}", detail=detail)


def _rows(segment_id: int, refusals: Iterable[Refusals]) -> Iterator[dict[str, Any]]:
    """What was refused, as rows: names that are too long may have become alike."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for one in refusals:
        key = one.token, " ".join(one.companies)[:_NAME_MOST], one.source[:_NAME_MOST]
        count, first, last = found.get(key, (0, one.first, one.last))
        found[key] = [count + one.refused, min(first, one.first), max(last, one.last)]
    for (token, company, source), (count, first, last) in found.items():
        yield {
            "segment": segment_id,
            "token8": bytes.fromhex(token),
            "company": company,
            "source": source,
            "count": count,
            "first": first,
            "last": last,
        }
