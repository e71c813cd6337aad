"""Sessions: who has logged in, known by a token of which only the hash is kept.

A session ends after eight hours, after half an hour without a request, by logging out, and with
every change to the account. What was read of one is kept in memory for as long as no account has
changed; when it was last used is written once a minute at most, so that a restart of the desk
costs nobody their login and a minute of it at most.
"""

import hashlib
import secrets
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from smsfilter.desk.entrance import Asker
from smsfilter.desk.office import Office
from smsfilter.desk.problems import Problem
from smsfilter.staff import accounts
from smsfilter.store.reading import reading
from smsfilter.store.schema import session, staff
from smsfilter.store.transaction import Transaction

SECOND: Final = 1_000_000
LASTS_US: Final = 8 * 3600 * SECOND
IDLE_US: Final = 30 * 60 * SECOND
WRITTEN_US: Final = 60 * SECOND
"""How often at most it is written that a session is in use."""
KEPT_US: Final = 30 * 86_400 * SECOND
"""How long the row of a session that has ended stays."""
_CACHED_MOST: Final = 10_000
_TOKEN_MOST: Final = 128


@dataclass(slots=True)
class Session:
    """One that is not ended."""

    token_hash: str
    staff: str
    roles: frozenset[str]
    branch: str
    expires_at: int
    idle_until: int
    written: int
    """The `idle_until` that the records have."""
    generation: int
    """Of the accounts, when it was read."""

    def asker(self, origin: str) -> Asker:
        """Return the person as who asks."""
        return Asker(f"staff:{self.staff}", self.roles, origin, self.branch, self.staff)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request is under way, and from where: also of somebody who is about to log in."""

    origin: str
    """An address, or `socket`."""
    session: Session | None = None


CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller(""))  # noqa: B039 - it is frozen


class Sessions:
    """Begins, knows and ends them."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._known: OrderedDict[str, Session] = OrderedDict()

    def begin(self, transaction: Transaction, id: str, origin: str) -> str:
        """Begin one, and return its token. Raises AccountError."""
        person = accounts.find(transaction.connection, id)
        if person is None or not person.is_active:
            raise accounts.AccountError(f"{id} cannot log in")
        token = secrets.token_urlsafe(32)
        now = transaction.now
        row = {"token_hash": hashed(token), "staff": id, "issued_at": now, "origin": origin}
        ends = {"idle_until": now + IDLE_US, "expires_at": now + LASTS_US}
        transaction.connection.execute(insert(session).values(**row, **ends))
        transaction.enter("logged in", accounts.actor(person, origin), object=f"staff:{id}")
        return token

    async def of(self, token: str) -> Session:
        """Return the session of a token, as used just now. Raises Problem."""
        if len(token) > _TOKEN_MOST:
            raise unknown()
        key, now = hashed(token), self._office.clock()
        generation = self._office.writer.touched(staff)
        found = self._known.get(key)
        if found is None or found.generation != generation:
            before = found
            found = await reading(self._office.records, lambda c: _read(c, key, generation))
            if found is None:
                self._known.pop(key, None)
                raise unknown()
            if before is not None:
                found.idle_until = max(found.idle_until, before.idle_until)
        if now >= min(found.expires_at, found.idle_until):
            self._known.pop(key, None)
            raise ended(found.staff)
        self._used(found, now)
        return found

    def end(self, transaction: Transaction, known: Session, origin: str) -> None:
        """End one: its person logs out."""
        which = session.c.token_hash == known.token_hash
        if not accounts.end_sessions(transaction, which):
            return
        person = accounts.find(transaction.connection, known.staff)
        if person is not None:
            by = accounts.actor(person, origin)
            touches = [(staff, known.staff)]  # what is kept in memory of it is of no use from now
            transaction.enter("logged out", by, object=f"staff:{known.staff}", touches=touches)

    async def purge(self) -> None:
        """Take out the rows of sessions that ended long ago. Raises RecordsAway, RecordsError."""
        before = self._office.clock() - KEPT_US
        old = delete(session).where(session.c.expires_at < before)
        await self._office.writer.write(lambda transaction: transaction.connection.execute(old))

    def _used(self, found: Session, now: int) -> None:
        found.idle_until = max(found.idle_until, now + IDLE_US)
        self._known[found.token_hash] = found
        self._known.move_to_end(found.token_hash)
        while len(self._known) > _CACHED_MOST:
            self._known.popitem(last=False)
        if found.idle_until - found.written >= WRITTEN_US:
            found.written = until = found.idle_until
            self._office.writer.submit(lambda into: _write(into, found.token_hash, until))


def hashed(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def unknown() -> Problem:
    """No session has this token."""
    return Problem(HTTPStatus.UNAUTHORIZED, "your session has ended: smsfilter login")


def ended(id: str) -> Problem:
    """The session was somebody's, and has ended."""
    return Problem(HTTPStatus.UNAUTHORIZED, f"your session has ended: smsfilter login {id}")


def _write(transaction: Transaction, key: str, until: int) -> None:
    """Note that a session is in use; nothing waits for it, and the next minute tries again."""
    transaction.connection.execute(
        update(session).where(session.c.token_hash == key).values(idle_until=until)
    )


def _read(connection: Connection, key: str, generation: int) -> Session | None:
    query = (
        select(session, staff.c.roles, staff.c.branch, staff.c.state)
        .join(staff, staff.c.id == session.c.staff)
        .where(session.c.token_hash == key)
    )
    row: Any = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row.ended_at is not None or row.state != accounts.ACTIVE:
        raise ended(row.staff)
    return Session(
        token_hash=key,
        staff=row.staff,
        roles=frozenset(row.roles.split()),
        branch=row.branch,
        expires_at=row.expires_at,
        idle_until=row.idle_until,
        written=row.idle_until,
        generation=generation,
    )
