"""The ledger, and what belongs to the records as a whole."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    Table,
    Text,
    false,
)

from smsfilter.store.schema.base import metadata

# --- the ledger

ledger = Table(
    "ledger",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("case_id", Text, index=True),
    Column("customer_id", Text, index=True),
    Column("body", LargeBinary, nullable=False),
    Column("prev", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

ledger_head = Table(
    "ledger_head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("chain", Text, nullable=False),  # '' before the first row
    Column("signed_seq", BigInteger, nullable=False),  # of the newest checkpoint
    Column("signed_at", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one"),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
)

# --- housekeeping

key_meta = Table(
    "key_meta",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("mark", Text, nullable=False),  # by which the key is known, and not found
    Column("created", BigInteger, nullable=False),
    Column("retired", BigInteger),
)

answered = Table(
    "answered",  # requests with an idempotency key, so that none is done twice
    metadata,
    Column("actor", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),  # keyed
    Column("at", BigInteger, nullable=False, index=True),
    Column("status", Integer),  # none: done, and the desk ended before it had said so
    Column("answer_enc", LargeBinary),
)

kept = Table(
    "kept",  # what the desk remembers from one start to the next
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

index_state = Table(
    "index_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("desk", Text, nullable=False),  # who owns the registry in Redis: desk:<this>
    Column("epoch", Text, nullable=False),
    Column("projected_seq", BigInteger, nullable=False),
    Column("replid", Text, nullable=False),  # of the Redis that was last written to
    # after a restore: what only the index knows was reported since the backup, and is taken in
    Column("adopts", Boolean, nullable=False, server_default=false()),
    CheckConstraint("id = 1", name="one"),
)
