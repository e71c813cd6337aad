"""A million reports of former years in the records of a desk, by direct SQL.

They are as the desk leaves them when all is done: cases closed, answers delivered, most blocks
ended. Numbers are sealed with the desk's own keys, as the projection opens those of live blocks.
The ledger has no rows of them, so that their changed_seq are before its first.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

from smsfilter.desk.keys import Keys
from smsfilter.store.seal import Seal, place

YEAR = 365 * 24 * 3600 * 1_000_000
LIVE_OF = 20
"""One block of so many is live."""

_CUSTOMER = "INSERT INTO customer (id, token, number_enc, first_at) VALUES (?, ?, ?, ?)"
_CASE = (
    "INSERT INTO case_file (id, customer, target, state, outcome, opened_at, since, due_at,"
    " replied_at, closed_at, changed_seq)"
    " VALUES (?, ?, ?, 'closed', 'upheld', ?, ?, ?, ?, ?, ?)"
)
_REPORT = (
    "INSERT INTO report (id, channel, customer, fingerprint, copies, received_at, confirmed_at,"
    " told_at, reported_norm, raw_enc, text_enc, complete, counted, state, match_kind, evidence,"
    " case_id, changed_seq) VALUES"
    " (?, 'sms', ?, ?, 1, ?, ?, ?, ?, ?, ?, 1, 1, 'blocked', 'company', '{}', ?, ?)"
)
_BLOCK = (
    "INSERT INTO block (customer, target, report, case_id, reason, created_at, in_force_at,"
    " ended_at, changed_seq) VALUES (?, ?, ?, ?, 'report', ?, ?, ?, ?)"
)
_SMS = (
    "INSERT INTO sms_out (report, kind, n, customer, text_enc, state, attempts, maybe_twice,"
    " created_at, sent_at, message_id)"
    " VALUES (?, 'blocked', 1, ?, ?, 'delivered', 1, 0, ?, ?, ?)"
)


class _Old(NamedTuple):
    n: int
    customers: int
    at: int

    @property
    def customer(self) -> str:
        return f"c{self.n % self.customers:08d}"

    @property
    def id(self) -> int:
        return self.n + 1

    @property
    def company(self) -> str:
        return f"company{(self.n + self.n // self.customers) % 500}"

    @property
    def source(self) -> str:
        return f"1065{(self.n + self.n // self.customers) % 500:04d}"


def _customer(seal: Seal, n: int, now: int) -> tuple[str, str, bytes, int]:
    number, key = f"86137{n:08d}", f"c{n:08d}"
    sealed = seal.close(number.encode(), place("customer", "number_enc", key))
    return key, seal.token(number), sealed, now - YEAR


def fill(file: Path, state_dir: Path, reports: int, now: int) -> None:
    """Write so many reports, each with its case, block and answer; `now` is µs UTC."""
    seal, customers = Keys.read(state_dir).seal, reports // 4
    text = seal.close(b"former", "x")
    with sqlite3.connect(file, isolation_level=None) as records:
        records.execute("PRAGMA synchronous=OFF")
        records.execute("BEGIN IMMEDIATE")
        records.executemany(_CUSTOMER, (_customer(seal, n, now) for n in range(customers)))
        olds = [_Old(n, customers, now - YEAR + n * 1_000_000) for n in range(reports)]
        records.executemany(
            _CASE, ((o.id, o.customer, o.company, *(o.at,) * 5, -o.id) for o in olds)
        )
        records.executemany(
            _REPORT,
            (
                (
                    o.id,
                    o.customer,
                    f"{o.n:064x}",
                    o.at,
                    o.at,
                    o.at,
                    o.source,
                    text,
                    text,
                    o.id,
                    -o.id,
                )
                for o in olds
            ),
        )
        records.executemany(
            _BLOCK,
            (
                (
                    o.customer,
                    o.company,
                    o.id,
                    o.id,
                    o.at,
                    o.at,
                    None if o.n % LIVE_OF == 0 else now,
                    -o.id,
                )
                for o in olds
            ),
        )
        records.executemany(_SMS, ((o.id, o.customer, text, o.at, o.at, f"old{o.n}") for o in olds))
        records.execute("COMMIT")
        records.execute("ANALYZE")
    records.close()
