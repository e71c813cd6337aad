"""The first run: keys, tables, and the row that the ledger begins with, each exactly once.

Keys are looked for before anything is made. Records that were begun with keys which are gone are
left alone: a new key could open nothing of theirs, and would make every known customer unknown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import insert, select

from smsfilter import __version__
from smsfilter.config import Config
from smsfilter.desk import keys as keyring
from smsfilter.desk.keys import Keys
from smsfilter.desk.office import Witness, check, now_us, prepare, records_of
from smsfilter.desk.projection import identify
from smsfilter.ledger.actor import Actor
from smsfilter.store import ledger
from smsfilter.store.keyfiles import KeyFileError
from smsfilter.store.records import Records, newest_revision
from smsfilter.store.schema import key_meta
from smsfilter.store.transaction import Transaction
from smsfilter.store.writer import Writer

INIT: Final = "init"
"""The action of a chain's first row."""


@dataclass(frozen=True, slots=True)
class Founded:
    """What there is after the first run; after a later one `made` is empty and `is_new` false."""

    made: list[Path]
    is_new: bool
    """The ledger was begun just now."""
    place: str
    chain: str
    seq: int
    """The last row of the ledger."""
    sign_id: str
    """The id of the key that signs checkpoints."""


def found(config: Config, by: Actor, clock: Callable[[], int] = now_us) -> Founded:
    """Make what is missing, and overwrite nothing.

    Raises KeyFileError, RecordsError, RecordsAway, ConfigError.
    """
    records = records_of(config)
    try:
        gone = keyring.missing(config.state_dir)
        if gone and _begun(records):
            names = ", ".join(map(str, gone))
            raise KeyFileError(
                f"{names}: not there, and {records.place} was made with other keys than new ones"
                " would be, which could open nothing: bring them back with"
                " smsfilter desk key import FILE"
            )
        made = keyring.make(config.state_dir)
        keys = Keys.read(config.state_dir)
        if records.revision() != newest_revision():
            prepare(config)
        is_new = _begin(records, keys, by, clock, Witness(config.state_dir))
        check(records, keys)
        with records.reading() as connection:
            seq, _, chain = ledger.head(connection)
        return Founded(made, is_new, records.place, chain, seq, keys.sign_id)
    finally:
        records.close()


def _begun(records: Records) -> bool:
    """Whether the records have a ledger, so that they belong to keys."""
    if records.revision() is None:
        return False
    with records.reading() as connection:
        seq, _, _ = ledger.head(connection)
        return seq > 0


def _begin(
    records: Records, keys: Keys, by: Actor, clock: Callable[[], int], signed: Callable[[str], None]
) -> bool:
    """Begin the ledger; False where it was begun before."""
    if _begun(records):
        return False
    writer = Writer(records, clock, keys.sign, signed)
    writer.start()
    try:
        return writer.submit(lambda transaction: begin(transaction, keys, by)).result()
    finally:
        writer.stop()


def begin(transaction: Transaction, keys: Keys, by: Actor) -> bool:
    """Enter the first row, and keep what the records know their keys by; False if it is there."""
    connection = transaction.connection
    if ledger.head(connection)[0] or connection.execute(select(key_meta.c.id)).first():
        return False
    connection.execute(
        insert(key_meta),
        [{**mark._asdict(), "created": transaction.now} for mark in keys.marks],
    )
    detail = {
        "version": __version__,
        "revision": newest_revision(),
        "desk": identify(transaction).desk,
        "keys": [mark.id for mark in keys.marks],
        "public": keys.sign.public_key().public_bytes_raw().hex(),
    }
    transaction.enter(INIT, by, object="records", detail=detail)
    transaction.checkpoint()
    return True
