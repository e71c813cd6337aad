"""Desks as an operator sets them up: a configuration on disk, and records on either database."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import yaml

from smsfilter.config import Config, Loaded, load
from smsfilter.desk import blocks
from smsfilter.desk.door import Door
from smsfilter.desk.founding import Founded, found
from smsfilter.desk.keys import Keys
from smsfilter.desk.office import Office, now_us, records_of
from smsfilter.desk.vault import Vault
from smsfilter.ledger.actor import local, system
from smsfilter.ledger.export import Header, export
from smsfilter.ledger.verdict import Verdict
from smsfilter.ledger.verify import verify
from smsfilter.store import ledger
from smsfilter.store.schema import block
from smsfilter.store.writer import Transaction, Writer

BY = local("ops", "command")


class At:
    """A desk whose files are all in one folder; `desk` is more of its section."""

    def __init__(
        self,
        folder: Path,
        urls: tuple[str, str | None] | None = None,
        *,
        redis_url: str = "redis://127.0.0.1:1/0",
        **desk: Any,
    ) -> None:
        self.folder = folder
        self.file = folder / "smsfilter.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        url, owner = urls or (None, None)
        content = {
            "proxy": {"listen": "127.0.0.1:1", "smsc": "127.0.0.1:2", "admin": None},
            "redis": {"url": redis_url},
            "state_dir": str(folder / "state"),
            "records": {"url": url} | ({"owner_url": owner} if owner else {}) if url else {},
            "desk": {"report_centre": {"smsc": "127.0.0.1:2", "system_id": "10086999"}} | desk,
        }
        self.file.write_text(yaml.safe_dump(content))
        (folder / "policy.yaml").write_text("version: 1\n")

    @property
    def loaded(self) -> Loaded:
        return load(self.file, {})

    @property
    def config(self) -> Config:
        return self.loaded.config

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def keys(self) -> Keys:
        return Keys.read(self.state)

    def found(self) -> Founded:
        return found(self.config, BY)

    def office(self) -> Office:
        return Office.of(self.loaded)

    @contextmanager
    def writing(self) -> Iterator[Office]:
        """An office at work; the end of its ledger is signed as it closes, as a desk does."""
        office = self.office()
        office.writer.start()
        try:
            yield office
            office.writer.submit(Transaction.checkpoint).result()
        finally:
            office.writer.stop()
            office.records.close()


def blocked(writer: Writer, vault: Vault, numbers: list[str], company: str = "acme") -> list[int]:
    """Put a block for each of these numbers, and return the ids."""

    def work(transaction: Transaction) -> list[int]:
        put = [
            blocks.put(transaction, vault.customer(transaction, number), company, "report")
            for number in numbers
        ]
        touches = [(block, each.id) for each in put]
        transaction.enter("blocks put", system("test"), touches=touches)
        return [each.id for each in put]

    return writer.submit(work).result()


def exported(desk: At, witnesses: list[str] | None = None) -> Verdict:
    """What a verifier says of a desk's ledger, exported as it is."""
    keys, records = desk.keys, records_of(desk.config)
    with records.reading() as connection:
        seq, _, chain = ledger.head(connection)
        header = Header(chain, now_us(), 1, seq)
        lines = export(header, ledger.rows(connection), ledger.checkpoints(connection), keys.sign)
        verdict = verify(lines, {keys.sign_id: keys.sign.public_key()}, witnesses or [])
    records.close()
    return verdict


@asynccontextmanager
async def opened(door: Door) -> AsyncIterator[Door]:
    """A door that is open for as long."""
    door.open()
    try:
        yield door
    finally:
        await door.close()
