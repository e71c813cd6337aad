"""What everything at the desk works with: records, writer, vault, keys, configuration, clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from smsfilter import log
from smsfilter.config import Config, Loaded
from smsfilter.desk.entrance import Asker
from smsfilter.desk.keys import FILES, Keys
from smsfilter.desk.vault import Vault
from smsfilter.deskconfig import RecordsConfig
from smsfilter.flow.branches import Branches
from smsfilter.peopleconfig import tree
from smsfilter.rules.numbers import masked_in
from smsfilter.rules.policy import Policy
from smsfilter.store.keyfiles import KeyFileError
from smsfilter.store.records import Records, RecordsError, newest_revision
from smsfilter.store.schema import key_meta
from smsfilter.store.writer import Writer

CHECKPOINTS = "checkpoints.txt"
"""In state_dir: every checkpoint, for whoever carries them to where the desk cannot reach."""


def now_us() -> int:
    """Return the time, µs UTC."""
    return time.time_ns() // 1_000


def records_of(config: Config) -> Records:
    """Return the records that the configuration names. Raises ConfigError."""
    file = config.records.sqlite_file(config.state_dir)
    if file is not None:
        return Records(f"sqlite:///{file}")
    return Records(config.records.url or "", config.records.password())


def prepare(config: Config) -> None:
    """Bring the tables of the records up to this version.

    In PostgreSQL as the role that owns them. Raises RecordsError, RecordsAway, ConfigError.
    """
    records = records_of(config)
    try:
        if not records.is_sqlite:
            _prepare_as_owner(config.records, records)
            return
        with records.locked():
            records.migrate()
    finally:
        records.close()


def _prepare_as_owner(config: RecordsConfig, records: Records) -> None:
    role = records.role()
    if config.owner_url is None:
        if records.revision() == newest_revision():
            return
        raise RecordsError(
            f"the tables in {records.place} have to belong to another role than {role}, the desk's:"
            " name it in records.owner_url"
        )
    owner = Records(config.owner_url, config.owner_password())
    try:
        if owner.role() == role:
            raise RecordsError(f"records.owner_url comes as {role} too, which is the desk's role")
        with owner.locked():
            owner.migrate(grant_to=role)
    finally:
        owner.close()


def check(records: Records, keys: Keys) -> None:
    """Look whether the desk may work with these records under these keys.

    Raises RecordsError, RecordsAway; KeyFileError where the records were made with other keys.
    """
    records.check()
    with records.reading() as connection:
        known = {row.id: row.mark for row in connection.execute(select(key_meta))}
    if not known:
        raise RecordsError(f"{records.place} has no ledger yet: run smsfilter desk init")
    for mark in keys.marks:
        if known.get(mark.id) != mark.mark:
            raise KeyFileError(
                f"{FILES[mark.kind]} is not the key that {records.place} was made with:"
                " bring that back with smsfilter desk key import"
            )


@dataclass(frozen=True, slots=True)
class Office:
    """The desk's means. `writer` has to be started by whoever made it, and stopped."""

    config: Config
    policy: Policy
    records: Records
    writer: Writer
    vault: Vault
    keys: Keys
    clock: Callable[[], int]
    branches: Branches = field(default_factory=Branches)

    def seen_by(self, asker: Asker) -> frozenset[str] | None:
        """Return the branches whose customers somebody sees; None = all."""
        return self.branches.within(asker.branch)

    def sees(self, asker: Asker, branch: str) -> bool:
        """Whether somebody sees the customers and the staff of a branch."""
        return self.branches.covers(asker.branch, branch)

    def masked(self, words: str) -> str:
        """Return what somebody wrote as the ledger may have it: a number in it is masked."""
        return masked_in(words, self.policy.country_code)

    @classmethod
    def of(cls, loaded: Loaded, clock: Callable[[], int] = now_us) -> "Office":
        """Read the keys and put the means together. Raises KeyFileError, ConfigError."""
        config = loaded.config
        keys = Keys.read(config.state_dir)
        records = records_of(config)
        witness = Witness(config.state_dir)
        writer = Writer(records, clock, keys.sign, witness)
        branches = tree({} if config.desk is None else config.desk.branches)
        vault = Vault(keys.seal, branches.of)
        return cls(config, loaded.policy, records, writer, vault, keys, clock, branches)


class Witness:
    """Tells the log and a file of each checkpoint: copies outside the records."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / CHECKPOINTS

    def __call__(self, text: str) -> None:
        """Tell of one."""
        log.get().info("checkpoint", text=text)
        try:
            with self._path.open("a", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            log.get().error("checkpoint_not_kept", file=str(self._path), error=error.strerror)
