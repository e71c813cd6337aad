"""Records from a backup, on this host or another: proven first, declared in the ledger, then used.

The copy is brought up and its restore is entered before it gets the name of the records: there is
no moment at which it could be taken for records that never were away. What was reported after the
backup is in the index alone. So the restored desk says of itself that it `adopts`: at its next
start it takes in what the index has, before it removes anything there.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from sqlalchemy import select, update

from smsfilter import __version__
from smsfilter.config import Config
from smsfilter.desk import manifest
from smsfilter.desk.keys import Keys
from smsfilter.desk.manifest import Manifest
from smsfilter.desk.office import Witness, check, now_us, records_of
from smsfilter.ledger.actor import Actor
from smsfilter.ledger.chain import RESTORE
from smsfilter.ledger.export import Header, export
from smsfilter.ledger.verdict import Verdict
from smsfilter.ledger.verify import verify
from smsfilter.store import ledger
from smsfilter.store.claim import new_epoch
from smsfilter.store.copying import close, examine
from smsfilter.store.durable import sync_folder
from smsfilter.store.records import Records, RecordsError
from smsfilter.store.schema import index_state
from smsfilter.store.transaction import Transaction
from smsfilter.store.writer import Writer

_PART: Final = ".restoring"
_BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, by what its name gets."""
_AT_ONCE: Final = 1 << 18
MANIFEST_MOST: Final = 4096
"""Octets of a manifest."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What the records are now."""

    place: str
    chain: str
    seq: int
    """The last row of the ledger in the backup; the restore itself is the next."""
    at: int
    """When the backup was made, µs UTC."""
    verdict: Verdict
    """What can be proven of the ledger in it; never bad."""


@dataclass(frozen=True, slots=True)
class End:
    """How the ledger in a copy ends, and when the copy was made (µs UTC)."""

    chain: str
    seq: int
    hash: bytes
    at: int


class Restore:
    """Restores one desk: its configuration and keys are there, and its records are not."""

    def __init__(
        self,
        config: Config,
        by: Actor,
        witnesses: Sequence[str] = (),
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._config = config
        self._by = by
        self._witnesses = witnesses
        self._clock = clock
        self._keys = Keys.read(config.state_dir)

    def from_file(self, file: Path) -> Restored:
        """Make the records of a backup (SQLite), where there are none.

        Raises RecordsError, RecordsAway, KeyFileError; then there are no records, as before.
        """
        records = records_of(self._config)
        if not records.is_sqlite:
            raise RecordsError(
                f"{records.place}: a file cannot become records in PostgreSQL:"
                " use pg_restore, then smsfilter desk restore --declare"
            )
        said = _manifest(file, self._keys)
        end = End(said.chain, said.seq, said.hash, said.at)
        target = records.path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = target.with_name(target.name + _PART)
        with records.locked(), contextlib.ExitStack() as left:
            _refuse_existing(target)
            _forget(part)
            left.callback(_forget, part)
            _copied(file, part, said)
            verdict = self._taken_up(part, end)
            _name(part, target)
        return Restored(records.place, end.chain, end.seq, end.at, verdict)

    def declared(self) -> Restored:
        """Enter a restore that the database's own tools have made. Raises as `from_file`."""
        records = records_of(self._config)
        try:
            check(records, self._keys)
            with records.reading() as connection:
                seq, last, chain = ledger.head(connection)
            end = End(chain, seq, last, self._clock())
            verdict = self._proven(records, end)
            self._declare(records, end)
            return Restored(records.place, chain, seq, end.at, verdict)
        finally:
            records.close()

    def _taken_up(self, part: Path, end: End) -> Verdict:
        """Prove the ledger in a copy, and enter the restore there."""
        copy = Records(f"sqlite:///{part}")
        try:
            copy.migrate()
            check(copy, self._keys)
            verdict = self._proven(copy, end)
            self._declare(copy, end)
        finally:
            copy.close()
        close(part)
        return verdict

    def _proven(self, records: Records, end: End) -> Verdict:
        """Verify a ledger that has to end so. RecordsError where it is bad."""
        keys = self._keys
        with records.reading() as connection:
            if ledger.head(connection) != (end.seq, end.hash, end.chain):
                raise RecordsError(f"its ledger does not end with seq {end.seq} as it should")
            lines = export(
                Header(end.chain, end.at, 1, end.seq),
                ledger.rows(connection),
                ledger.checkpoints(connection),
                keys.sign,
            )
            public = {keys.sign_id: keys.sign.public_key()}
            try:
                verdict = verify(lines, public, self._witnesses)
            except ValueError as error:
                raise RecordsError(str(error)) from None
        if verdict.fault is not None:
            fault = verdict.fault
            where = "" if fault.seq is None else f" at seq {fault.seq}"
            raise RecordsError(f"its ledger is bad{where}: {fault.kind}: {fault.what}")
        return verdict

    def _declare(self, records: Records, end: End) -> None:
        writer = Writer(records, self._clock, self._keys.sign, Witness(self._config.state_dir))
        writer.start()
        try:
            writer.submit(lambda transaction: enter(transaction, self._by, end)).result()
        finally:
            writer.stop()


def enter(transaction: Transaction, by: Actor, end: End) -> None:
    """Enter a restore from a copy that ended so, and have the index adopted."""
    connection = transaction.connection
    desk: str = connection.execute(select(index_state.c.desk)).scalar_one()
    epoch = new_epoch(desk)
    connection.execute(
        update(index_state).values(epoch=epoch, projected_seq=0, replid="", adopts=True)
    )
    detail = {
        "chain": end.chain,
        "seq": end.seq,
        "hash": end.hash.hex(),
        "copied_at": end.at,
        "epoch": epoch,
        "version": __version__,
    }
    transaction.enter(RESTORE, by, object="records", detail=detail)
    transaction.checkpoint()


# --- the steps


def _manifest(file: Path, keys: Keys) -> Manifest:
    path = file.with_name(file.name + manifest.SUFFIX)
    try:
        with path.open(encoding="utf-8", errors="replace") as reading:
            text = reading.read(MANIFEST_MOST)
        return manifest.read(text, {keys.sign_id: keys.sign.public_key()})
    except OSError as error:
        raise RecordsError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise RecordsError(
            f"{path}: {error}; a backup is restored with the keys of the desk that made it"
        ) from None


def _refuse_existing(target: Path) -> None:
    for suffix in _BESIDE:
        path = target.with_name(target.name + suffix)
        if os.path.lexists(path):
            raise RecordsError(
                f"{path} is there already: a restore does not overwrite records;"
                " move them away, or name other ones in records.url"
            )


def _copied(file: Path, part: Path, said: Manifest) -> None:
    """Copy a backup, and hold it against its manifest."""
    digest, octets = sha256(), 0
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with file.open("rb") as reading, open(fd, "wb") as writing:
            while some := reading.read(_AT_ONCE):
                digest.update(some)
                octets += len(some)
                writing.write(some)
            writing.flush()
            os.fsync(fd)
    except OSError as error:
        raise RecordsError(f"{error.filename or file}: {error.strerror}") from None
    if octets != said.octets:
        raise RecordsError(f"{file} has {octets} octets, its manifest says {said.octets}")
    if digest.hexdigest() != said.digest:
        raise RecordsError(f"{file} is not the copy that its manifest was signed for")
    examine(part)


def _name(part: Path, target: Path) -> None:
    """Make a copy the records, in one step that overwrites nothing, durably."""
    try:
        os.link(part, target)
        sync_folder(target.parent)
    except OSError as error:
        raise RecordsError(f"{target}: {error.strerror}") from None


def _forget(part: Path) -> None:
    for suffix in (*_BESIDE, ".lock"):
        part.with_name(part.name + suffix).unlink(missing_ok=True)
