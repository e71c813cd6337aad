"""Requests with an idempotency key: none is done twice, and each gets the answer it got at first.

The key is noted in the transaction of the act itself, the answer sealed and kept behind it. A desk
that ends between the two leaves a key without an answer: then the act was done, and who repeats it
is told so. What was not noted was not done, and a repetition does it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from smsfilter.desk.office import Office
from smsfilter.desk.problems import invalid, refused
from smsfilter.ledger.actor import Actor
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway, RecordsError
from smsfilter.store.schema import answered
from smsfilter.store.transaction import Transaction

KEY: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
KEPT_S: Final = 24 * 3600
"""How long an answer is kept: longer than anybody repeats a request."""
_FORM: Final = re.compile(r"[!-~]{1,64}")
_COLUMN: Final = "answer_enc"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered."""

    status: int
    octets: bytes


@dataclass(slots=True)
class Keyed:
    """A request with a key; `request_hash` is keyed and says whether another is the same one."""

    actor: Actor
    key: str
    request_hash: str
    is_noted: bool = False
    """Whether the act has been committed, and with it that there was one with this key."""

    def note(self, transaction: Transaction, **answer: Any) -> None:
        """Note the key, in the transaction of the act; forget those that are old."""
        purge(transaction)
        transaction.connection.execute(
            insert(answered).values(
                actor=self.actor.name,
                key=self.key,
                request_hash=self.request_hash,
                at=transaction.now,
                **answer,
            )
        )

    @property
    def row(self) -> str:
        """Where the answer stands, as it is sealed to it."""
        return f"{self.actor.name} {self.key}"


def purge(transaction: Transaction) -> None:
    """Forget keys that are older than a day."""
    old = transaction.now - KEPT_S * 1_000_000
    transaction.connection.execute(delete(answered).where(answered.c.at < old))


class Idempotency:
    """Knows the requests of one desk that came with a key."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._under_way: dict[tuple[str, str], str] = {}

    @contextmanager
    def under_way(self, by: Actor, key: str, request: bytes) -> Iterator[Keyed]:
        """Hold the key for as long as its request runs. Raises Problem: another one does."""
        if not _FORM.fullmatch(key):
            raise invalid(f"{KEY} is 1 to 64 visible ASCII characters")
        keyed = Keyed(by, key, self._office.vault.fingerprint(request))
        known = self._under_way.get((by.name, key))
        if known is not None:
            raise _other() if known != keyed.request_hash else _not_yet()
        self._under_way[by.name, key] = keyed.request_hash
        try:
            yield keyed
        finally:
            del self._under_way[by.name, key]

    async def before(self, keyed: Keyed) -> Answer | None:
        """Return what the same request was answered before, and enter that it is said again.

        Raises Problem where the key was another request's, or the answer is not known.
        """
        row = await reading(self._office.records, lambda each: _find(each, keyed))
        if row is None or row.at < self._office.clock() - KEPT_S * 1_000_000:
            return None
        if row.request_hash != keyed.request_hash:
            raise _other()
        if row.status is None:
            raise _unanswered()
        await self._office.writer.write(
            lambda into: into.enter("answer repeated", keyed.actor, detail={"first_at": row.at})
        )
        octets = self._office.vault.open(row.answer_enc, answered.name, _COLUMN, keyed.row)
        return Answer(row.status, octets)

    async def keep(self, keyed: Keyed, answer: Answer) -> None:
        """Keep an answer; where the records are away it stays unknown, and the act is done."""
        values = {
            "status": answer.status,
            _COLUMN: self._office.vault.close(answer.octets, answered.name, _COLUMN, keyed.row),
        }

        def work(transaction: Transaction) -> None:
            if not keyed.is_noted:
                keyed.note(transaction, **values)
                return
            which = (answered.c.actor == keyed.actor.name) & (answered.c.key == keyed.key)
            transaction.connection.execute(update(answered).where(which).values(values))

        with suppress(RecordsAway, RecordsError):
            await self._office.writer.write(work)


def _find(connection: Connection, keyed: Keyed) -> Row[Any] | None:
    which = (answered.c.actor == keyed.actor.name) & (answered.c.key == keyed.key)
    return connection.execute(select(answered).where(which)).one_or_none()


def _other() -> Exception:
    return invalid(
        f"this {KEY} came with another request before", cure="take a new key for each request"
    )


def _not_yet() -> Exception:
    return refused(
        "the first request with this key is still under way",
        cure="wait a moment, then repeat it with the same key",
    )


def _unanswered() -> Exception:
    return refused(
        "it was done, and the desk ended before its answer was kept",
        cure="look whether it is as it should be: with GET, or with smsfilter … show",
    )
