"""A copy of the records without a key, while the desk works: signed, and entered into the ledger.

The copy ends with a checkpoint of its own last row, so that all of it is covered. It goes out as a
stream: lines of JSON that say how far it is, the manifest as the last of them, then the octets.
Keys are in files of their own and never in the records, so none can be in a copy.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from sqlalchemy import insert, select, update
from starlette.routing import Route

from smsfilter import __version__, log
from smsfilter.desk.api import Asked, Lines, route
from smsfilter.desk.keys import Keys
from smsfilter.desk.manifest import Manifest
from smsfilter.desk.office import Office
from smsfilter.desk.problems import refused
from smsfilter.flow.rights import Right
from smsfilter.ledger.actor import Actor
from smsfilter.ledger.checkpoint import Checkpoint, sign
from smsfilter.store import ledger
from smsfilter.store.copying import close, copy, examine
from smsfilter.store.records import Records, RecordsError, newest_revision
from smsfilter.store.schema import checkpoint, ledger_head
from smsfilter.store.transaction import Entered, Transaction

PATH: Final = "/backup"
ACTION: Final = "backup"
_PART: Final = "backup.part"
"""In state_dir, while one is made."""
_MEDIA: Final = "application/octet-stream"
_BUSY: Final = "a backup is being made: wait for it"
_TOLD_EVERY_S: Final = 1.0
_AT_ONCE: Final = 1 << 18


class Backups:
    """Makes backups of one office, one at a time."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._is_busy = False
        self._done = (0, 0)

    async def asked(self, asked: Asked) -> Lines:
        """Make a backup: lines of JSON that say how far it is, the manifest, then the octets."""
        return Lines(await self.begin(asked.by), media_type=_MEDIA)

    async def begin(self, by: Actor) -> AsyncIterator[bytes]:
        """Enter the backup into the ledger, then give the stream. Raises Problem, RecordsAway."""
        if not self._office.records.is_sqlite:
            raise refused("these records are in PostgreSQL: use pg_dump")
        if self._is_busy:
            raise refused(_BUSY)
        entered = await self._office.writer.write(lambda transaction: _enter(transaction, by))
        return self._stream(entered.at)

    async def _stream(self, at: int) -> AsyncIterator[bytes]:
        if self._is_busy:
            yield _line("problem", _BUSY)
            return
        self._is_busy, self._done = True, (0, 0)
        path = self._office.config.state_dir / _PART
        making = asyncio.create_task(asyncio.to_thread(self._make, path, at))
        try:
            while not making.done():
                await asyncio.wait((making,), timeout=_TOLD_EVERY_S)
                yield _line("copied", list(self._done))
            try:
                text = making.result()
            except (RecordsError, OSError) as error:
                log.get().error("backup_failed", why=str(error))
                yield _line("problem", str(error))
                return
            yield _line("manifest", text)
            with path.open("rb") as file:
                while octets := await asyncio.to_thread(file.read, _AT_ONCE):
                    yield octets
            log.get().info("backup_made", octets=path.stat().st_size)
        finally:  # also where nobody listens any more: the thread cannot be stopped
            making.add_done_callback(lambda task: self._end(path, task))

    def _end(self, path: Path, task: "asyncio.Task[str]") -> None:
        self._is_busy = False
        with contextlib.suppress(OSError):  # the next one says what is wrong
            path.unlink()
        if not task.cancelled():
            task.exception()  # it was told, or nobody is there to be told

    def _make(self, path: Path, at: int) -> str:
        """Copy, examine and sign; `at` is when the backup was entered, which is in the copy."""
        office = self._office
        path.unlink(missing_ok=True)  # of a desk that was killed
        copy(office.records.path, path, self._told)
        examine(path)
        made = _closed(path, office.keys, office.clock)
        digest, octets = digest_of(path)
        return Manifest(
            chain=made.chain,
            seq=made.seq,
            hash=made.hash,
            at=at,
            revision=newest_revision(),
            version=__version__,
            octets=octets,
            digest=digest,
        ).signed(office.keys.sign)

    def _told(self, done: int, of: int) -> None:
        self._done = (done, of)


def routes(office: Office) -> list[Route]:
    """What the API answers."""
    return [
        route(
            PATH, Backups(office).asked, "POST", right=Right.BACK_UP, keyed=False, media_type=_MEDIA
        )
    ]


def digest_of(path: Path) -> tuple[str, int]:
    """Return SHA-256 and length of a copy that nobody has open. Raises OSError."""
    digest = sha256()
    with path.open("rb") as file:
        while octets := file.read(_AT_ONCE):
            digest.update(octets)
        return digest.hexdigest(), file.tell()


def _enter(transaction: Transaction, by: Actor) -> Entered:
    transaction.checkpoint()
    return transaction.enter(ACTION, by, object="records", detail={"version": __version__})


def _closed(path: Path, keys: Keys, clock: Callable[[], int]) -> Checkpoint:
    """Sign the last row of a copy, in the copy, and return what was signed."""
    records = Records(f"sqlite:///{path}")
    try:
        with records.to_write() as connection, connection.begin():
            seq, last, chain = ledger.head(connection)
            made = Checkpoint(chain, seq, last, clock(), keys.sign_id)
            known = select(checkpoint.c.seq).where(checkpoint.c.seq == seq)
            if connection.execute(known).first() is None:
                text = sign(made, keys.sign)
                connection.execute(insert(checkpoint).values(seq=seq, text=text))
                connection.execute(update(ledger_head).values(signed_seq=seq, signed_at=made.at))
    finally:
        records.close()
    close(path)
    return made


def _line(name: str, value: object) -> bytes:
    return json.dumps({name: value}, ensure_ascii=False).encode() + b"\n"
