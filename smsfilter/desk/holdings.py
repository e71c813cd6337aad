"""What a company holds, as rows of the records and as the registry file has it; both ways exact.

A row stands for one account, prefix, header or signature, and its position for its place in the
file's list, so that what is written out is what was read in.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, Select, select

from smsfilter.rules.headers import fold
from smsfilter.rules.registry import Company, Source
from smsfilter.store.schema import company_source

NORM_MOST: Final = 128
"""Characters of a norm: PostgreSQL's index takes some 2,700 octets, and a fold can be long."""
_AT_ONCE: Final = 500

Held = Literal["account", "prefix", "header", "signature"]


class Item(NamedTuple):
    """One thing that a company holds."""

    kind: Held
    raw: str
    valid_from: str | None = None
    valid_to: str | None = None

    @property
    def norm(self) -> str:
        """What all its spellings have in common; of a very long name, the beginning."""
        return self.raw if self.kind in ("account", "prefix") else fold(self.raw)[:NORM_MOST]


class Change(NamedTuple):
    """How rows in the records become a list that is wanted."""

    new: list[tuple[Any, int]]
    """Items without a row, and the positions for them."""
    moved: list[tuple[int, int]]
    """Ids of rows, and their new positions."""
    gone: list[Any]
    """Rows that are wanted no longer."""
    unchanged: int


def items(held: Company) -> Iterator[Item]:
    """Take a company apart, in the order of its lists."""
    yield from (Item("account", account) for account in held.accounts)
    for source in held.sources:
        yield Item("prefix", source.prefix, spelled(source.valid_from), spelled(source.valid_to))
    yield from (Item("header", header) for header in held.headers)
    yield from (Item("signature", signature) for signature in held.signatures)


def company_of(name: str | None, held: Iterable[Any]) -> Company:
    """Put a company together from items, or rows like them, in their order. Nothing is checked."""
    parts: dict[str, list[Any]] = {"account": [], "prefix": [], "header": [], "signature": []}
    for each in held:
        parts[each.kind].append(source_of(each) if each.kind == "prefix" else each.raw)
    return Company.model_construct(
        name=name,
        accounts=tuple(parts["account"]),
        sources=tuple(parts["prefix"]),
        headers=tuple(parts["header"]),
        signatures=tuple(parts["signature"]),
    )


def source_of(row: Any) -> Source:
    """Return the source of an item or row. Nothing is checked."""
    return Source.model_construct(
        prefix=row.raw, valid_from=moment(row.valid_from), valid_to=moment(row.valid_to)
    )


def spelled(moment: date | None) -> str | None:
    """Spell a day or a point in time as the registry does."""
    return None if moment is None else moment.isoformat()


def moment(text: str | None) -> date | None:
    """Read what `spelled` wrote."""
    if text is None:
        return None
    return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)


def in_force(*companies: str) -> Select[Any]:
    """Select what stands in the registry, of these companies or of all, in the order of lists."""
    query = select(company_source).where(company_source.c.ended_at.is_(None))
    if companies:
        query = query.where(company_source.c.company.in_(companies))
    return query.order_by(company_source.c.position, company_source.c.id)


def sharing(connection: Connection, wanted: Iterable[Item]) -> list[Any]:
    """Return what stands in the registry under the norm of any of these, whoever's it is."""
    norms: dict[str, dict[str, None]] = {}
    for item in wanted:
        norms.setdefault(item.kind, {})[item.norm] = None
    found: list[Any] = []
    for kind, some in ((k, s) for k, every in norms.items() for s in chunks(list(every))):
        query = in_force().where(company_source.c.kind == kind, company_source.c.norm.in_(some))
        found += connection.execute(query)
    return found


def changed(wanted: Iterable[Any], held: dict[Any, list[Any]]) -> Change:
    """Compare one list with its rows by what they stand for; rows of `held` that fit are taken.

    A row keeps its position where the order allows it: to remove one item changes one row.
    """
    change, last = Change([], [], [], 0), -1
    unchanged = 0
    for item in wanted:
        rows = held.get(item)
        if not rows:
            last += 1
            change.new.append((item, last))
            continue
        row = rows.pop(0)
        if row.position > last:
            last, unchanged = row.position, unchanged + 1
        else:
            last += 1
            change.moved.append((row.id, last))
    change.gone.extend(row for rows in held.values() for row in rows)
    return change._replace(unchanged=unchanged)


def chunks(every: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut a list to what one statement takes."""
    for at in range(0, len(every), _AT_ONCE):
        yield every[at : at + _AT_ONCE]
