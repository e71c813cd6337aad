"""What the records say of the blocks in the index: which pairs stand, and which have ended.

A pair is a number and a member of its set. Two blocks can be the same pair: a number that was
recycled is another customer's by now, and a subscriber who is blocked as a source may have been
reported under several ids. So a pair has ended only where no live block of the same number makes
the same member; who of several customers has a number now is asked of the vault.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, Select, exists, func, select, tuple_

from smsfilter.desk.blocks import SOURCE, person
from smsfilter.desk.vault import Vault
from smsfilter.rules.headers import source_forms
from smsfilter.store.schema import block, company, company_source, customer, reseller_grant

PAGE: Final = 1_000
"""Blocks read at once: a second of work at most, and no memory to speak of."""
_AT_ONCE: Final = 500

Blocks = Sequence[Row[Any]]


class Pair(NamedTuple):
    """One member of the set of one number (E.164 digits)."""

    number: str
    member: str


class Place(NamedTuple):
    """How far a list of blocks was read."""

    seq: int
    id: int


START: Final = Place(0, 0)


@dataclass(frozen=True, slots=True)
class Page:
    """Some blocks as pairs, in the order of what was asked for."""

    live: tuple[Pair, ...] = ()
    ended: tuple[Pair, ...] = ()
    """Pairs that no live block holds any more."""
    nameless: tuple[int, ...] = ()
    """Ids of live blocks that cannot be in force: the number was erased."""
    after: Place | None = None
    """Where the next page begins; None after the last."""


NOTHING: Final = Page()


class Pairs:
    """Reads blocks as the pairs that the path asks for."""

    def __init__(self, vault: Vault, country_code: str) -> None:
        self._vault = vault
        self._country_code = country_code

    def put(self, connection: Connection, since: int, to: int, after: Place = START) -> Page:
        """Give the pairs of live blocks that changed after seq `since`, up to `to`.

        Raises SealError, as all that opens numbers.
        """
        return self._page(connection, _changed(since, to, after).where(block.c.ended_at.is_(None)))

    def lifted(self, connection: Connection, since: int, to: int, after: Place = START) -> Page:
        """Give the pairs of blocks that ended after seq `since`, up to `to`."""
        query = _changed(since, to, after).where(block.c.ended_at.is_not(None))
        return self._page(connection, query)

    def all(self, connection: Connection, after: Place = START) -> Page:
        """Give the pairs of all blocks there ever were, in the order of their ids."""
        return self._page(connection, _rows().where(block.c.id > after.id).order_by(block.c.id))

    def of_number(self, connection: Connection, digits: str) -> set[Pair]:
        """Give the pairs that stand for one number."""
        owner = self._vault.find(connection, digits)
        return set() if owner is None else self._standing(connection, [owner])

    def known(self, connection: Connection, pair: Pair) -> bool:
        """Whether a block of whoever has the number now, live or ended, makes this pair."""
        owner = self._vault.find(connection, pair.number)
        if owner is None:
            return False
        blocks = connection.execute(_rows().where(block.c.customer == owner)).all()
        return any(made == pair for made in self._named(connection, blocks).values())

    def _page(self, connection: Connection, query: Select[Any]) -> Page:
        blocks = connection.execute(query.limit(PAGE)).all()
        if not blocks:
            return NOTHING
        named = self._named(connection, blocks)
        live = [each for each in blocks if each.ended_at is None]
        return Page(
            tuple(named[each.id] for each in live if each.id in named),
            self._ended(connection, [each for each in blocks if each.ended_at is not None], named),
            tuple(each.id for each in live if each.id not in named),
            Place(blocks[-1].changed_seq, blocks[-1].id) if len(blocks) == PAGE else None,
        )

    def _ended(
        self, connection: Connection, blocks: Blocks, named: dict[int, Pair]
    ) -> tuple[Pair, ...]:
        blocks = [each for each in blocks if each.id in named]
        holders = {each.customer for each in blocks}
        for each in blocks:
            if each.retired_at is not None:
                owner = self._vault.find(connection, named[each.id].number)
                holders |= {owner} if owner else set()
        standing = self._standing(connection, sorted(holders))
        ended = dict.fromkeys(named[each.id] for each in blocks)
        return tuple(pair for pair in ended if pair not in standing)

    def _standing(self, connection: Connection, owners: Sequence[str]) -> set[Pair]:
        found: set[Pair] = set()
        for at in range(0, len(owners), _AT_ONCE):
            of_some = block.c.customer.in_(owners[at : at + _AT_ONCE])
            query = _rows().where(of_some, block.c.ended_at.is_(None))
            found |= set(self._named(connection, connection.execute(query).all()).values())
        return found

    def _named(self, connection: Connection, blocks: Blocks) -> dict[int, Pair]:
        """Spell blocks as pairs, by their ids, as far as the numbers are there."""
        wanted = {each.customer for each in blocks}
        wanted |= set(filter(None, (person(each.target) for each in blocks)))
        digits = self._vault.numbers(connection, wanted)
        named: dict[int, Pair] = {}
        for each in blocks:
            number, member = digits.get(each.customer), self._member(each.target, digits)
            if number is not None and member is not None:
                named[each.id] = Pair(number, member)
        return named

    def _member(self, target: str, digits: dict[str, str]) -> str | None:
        sender = person(target)
        if sender is None:
            return target
        number = digits.get(sender)
        if number is None:
            return None
        return f"{SOURCE}{source_forms(number.encode(), self._country_code).normalised}"


def _rows() -> Select[Any]:
    return select(
        block.c.id,
        block.c.customer,
        block.c.target,
        block.c.ended_at,
        block.c.changed_seq,
        customer.c.retired_at,
    ).join(customer, customer.c.id == block.c.customer)


def _changed(since: int, to: int, after: Place) -> Select[Any]:
    place = tuple_(block.c.changed_seq, block.c.id)
    return (
        _rows()
        .where(block.c.changed_seq > since, block.c.changed_seq <= to, place > tuple_(*after))
        .order_by(block.c.changed_seq, block.c.id)
    )


def unconfirmed(connection: Connection, since: int) -> int:
    """Count the live blocks that changed after seq `since`."""
    found: int | None = connection.scalar(
        select(func.count())
        .select_from(block)
        .where(block.c.changed_seq > since, block.c.ended_at.is_(None))
    )
    return found or 0


def companies_known(connection: Connection) -> bool:
    """Whether the registry is kept in the records: without any company it is somebody else's."""
    return bool(connection.scalar(select(exists().where(company.c.id.is_not(None)))))


def companies_changed(connection: Connection, since: int) -> bool:
    """Whether anything of the registry changed after seq `since`."""
    return any(
        connection.scalar(select(exists().where(table.c.changed_seq > since)))
        for table in (company, company_source, reseller_grant)
    )
