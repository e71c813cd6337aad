"""What everything at the desk works with: records, writer, vault, keys, configuration, clock."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from smsfilter import log
from smsfilter.config import Config, Loaded
from smsfilter.desk.keys import Keys
from smsfilter.desk.vault import Vault
from smsfilter.rules.policy import Policy
from smsfilter.store.records import Records
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
    """Bring the tables of the records up to this version. Raises RecordsError, ConfigError."""
    records = records_of(config)
    try:
        with records.locked() if records.is_sqlite else nullcontext():
            records.migrate()
    finally:
        records.close()


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

    @classmethod
    def of(cls, loaded: Loaded, clock: Callable[[], int] = now_us) -> "Office":
        """Read the keys and put the means together. Raises KeyFileError, ConfigError."""
        config = loaded.config
        keys = Keys.read(config.state_dir)
        records = records_of(config)
        witness = _Witness(config.state_dir / CHECKPOINTS)
        writer = Writer(records, clock, keys.sign, witness)
        return cls(config, loaded.policy, records, writer, Vault(keys.seal), keys, clock)


class _Witness:
    """Tells the log and a file of each checkpoint: copies outside the records."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, text: str) -> None:
        log.get().info("checkpoint", text=text)
        try:
            with self._path.open("a", encoding="ascii") as file:
                file.write(text + "\n")
        except OSError as error:
            log.get().error("checkpoint_not_kept", file=str(self._path), error=error.strerror)
