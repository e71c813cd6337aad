"""The records: every table of the desk. Times are integers, µs UTC.

A customer's number and what customers wrote stand here only as ciphertext (`…_enc`, see
store/seal.py) and everything else refers to a customer by a random id. `changed_seq` is the ledger
row that last changed a row; what Redis has to follow is found by it. A migration in
store/migrations makes each change of this file.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_ix",
        "uq": "%(table_name)s_%(column_0_N_name)s_uq",
        "ck": "%(table_name)s_%(constraint_name)s_ck",
        "fk": "%(table_name)s_%(column_0_N_name)s_fk",
        "pk": "%(table_name)s_pk",
    }
)

_Id: Final = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the type is INTEGER."""


def _one_live(table: str, *columns: str, where: str) -> Index:
    """At most one row of each kind that is not ended."""
    name = f"{table}_one_live"
    condition = text(where)
    return Index(name, *columns, unique=True, sqlite_where=condition, postgresql_where=condition)


# --- people

customer = Table(
    "customer",
    metadata,
    Column("id", Text, primary_key=True),  # random: says nothing of the number
    Column("token", Text),
    Column("number_enc", LargeBinary),
    Column("first_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),  # the number was recycled: another person's by now
    Column("erased_at", BigInteger),
    Index("customer_token_ix", "token"),
    _one_live("customer", "token", where="retired_at IS NULL"),
)

# --- companies: the registry

company = Table(
    "company",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("state", Text, nullable=False),
    Column("merged_into", Text, ForeignKey("company.id")),
    Column("changed_seq", BigInteger, nullable=False, index=True),
    CheckConstraint("state IN ('active', 'ended', 'merged')", name="state"),
)

company_source = Table(
    "company_source",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("company", Text, ForeignKey("company.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("norm", Text, nullable=False, index=True),
    Column("raw", Text, nullable=False),
    Column("valid_from", Text),  # as in the registry: in the policy's timezone
    Column("valid_to", Text),
    Column("position", Integer, nullable=False),  # its place in the registry's list
    Column("since", BigInteger, nullable=False),
    Column("ended_at", BigInteger),  # it left the registry
    Column("changed_seq", BigInteger, nullable=False, index=True),
    CheckConstraint("kind IN ('account', 'prefix', 'header', 'signature')", name="kind"),
)

reseller_grant = Table(
    "reseller_grant",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("account", Text, nullable=False, index=True),
    Column("company", Text, ForeignKey("company.id")),  # none: it may send for nobody
    Column("position", Integer, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("changed_seq", BigInteger, nullable=False, index=True),
)

# --- reports, and what follows from them

mo_part = Table(
    "mo_part",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("customer", Text, ForeignKey("customer.id"), nullable=False),
    Column("ref", Text, nullable=False),
    Column("total", Integer, nullable=False),
    Column("n", Integer, nullable=False),
    Column("data_coding", Integer, nullable=False),
    Column("octets_enc", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("report", BigInteger),  # what it was joined into
    Index("mo_part_customer_ref_ix", "customer", "ref"),
    Index("mo_part_report_at_ix", "report", "at"),
)

case_file = Table(
    "case_file",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("customer", Text, ForeignKey("customer.id"), nullable=False, index=True),
    Column("target", Text),  # company id or source:…; unknown while nothing was matched
    Column("state", Text, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("outcome", Text),
    Column("replied_at", BigInteger),
    Column("closed_at", BigInteger),
    Column("changed_seq", BigInteger, nullable=False),
    _one_live("case_file", "customer", "target", where="closed_at IS NULL"),
)

report = Table(
    "report",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("channel", Text, nullable=False),
    Column("customer", Text, ForeignKey("customer.id"), nullable=False, index=True),
    Column("fingerprint", Text, nullable=False, index=True),  # keyed
    Column("copies", Integer, nullable=False),
    Column("received_at", BigInteger, nullable=False, index=True),
    Column("confirmed_at", BigInteger),  # when what it asked for was in force, and said so
    Column("told_at", BigInteger),  # when the SMSC was first told ESME_ROK
    Column("reported_norm", Text),  # a service source or header
    Column("reported_customer", Text, ForeignKey("customer.id")),  # where it is a handset's
    Column("raw_enc", LargeBinary),
    Column("text_enc", LargeBinary),
    Column("complete", Boolean, nullable=False),  # no part of it is missing
    Column("counted", Boolean, nullable=False),  # within the reporter's cap
    Column("state", Text, nullable=False),
    Column("match_kind", Text),
    Column("evidence", Text),  # canonical JSON, no number in it
    Column("case_id", BigInteger, ForeignKey("case_file.id"), index=True),
    Column("changed_seq", BigInteger, nullable=False),
    CheckConstraint("channel IN ('sms', 'phone', 'import')", name="channel"),
    Index("report_state_id_ix", "state", "id"),
    Index(
        "report_unconfirmed_ix",
        "id",
        sqlite_where=text("confirmed_at IS NULL"),
        postgresql_where=text("confirmed_at IS NULL"),
    ),
)

block = Table(
    "block",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("customer", Text, ForeignKey("customer.id"), nullable=False),
    Column("target", Text, nullable=False),  # company id, source:…, source:#customer, *
    Column("report", BigInteger, ForeignKey("report.id"), index=True),
    Column("case_id", BigInteger, ForeignKey("case_file.id")),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("in_force_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("ended_by", Text),
    Column("end_reason", Text),
    Column("changed_seq", BigInteger, nullable=False, index=True),
    Index("block_customer_id_ix", "customer", "id"),
    Index("block_target_id_ix", "target", "id"),
    _one_live("block", "customer", "target", where="ended_at IS NULL"),
)

sms_out = Table(
    "sms_out",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("report", BigInteger, ForeignKey("report.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("customer", Text, ForeignKey("customer.id"), nullable=False, index=True),
    Column("text_enc", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("maybe_twice", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("next_at", BigInteger),  # of those that are to be sent
    Column("sent_at", BigInteger),
    Column("message_id", Text, index=True),
    UniqueConstraint("report", "kind", "n"),
    Index("sms_out_state_next_at_ix", "state", "next_at"),
)

receipt = Table(
    "receipt",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("message_id", Text, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("stat", Text, nullable=False),
    Column("err", Text),
    Column("customer", Text, ForeignKey("customer.id"), index=True),
    Column("sms_out", BigInteger, ForeignKey("sms_out.id"), index=True),
)

# --- what the proxies recorded

segment = Table(
    "segment",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("proxy", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("from_at", BigInteger, nullable=False),
    Column("to_at", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    Column("clean", Boolean, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("prev", Text, nullable=False),
    Column("fault", Text),  # what is wrong with it: damaged, gone, another one, not the next one
    UniqueConstraint("proxy", "name"),
    Index("segment_proxy_from_at_ix", "proxy", "from_at"),
)

refusal = Table(
    "refusal",
    metadata,
    Column("segment", BigInteger, ForeignKey("segment.id"), primary_key=True),
    Column("token8", LargeBinary, primary_key=True),
    Column("company", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Index("refusal_token8_ix", "token8"),
)

incident = Table(
    "incident",  # a report on a pair that was blocked before
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("report", BigInteger, ForeignKey("report.id"), nullable=False, index=True),
    Column("block", BigInteger, ForeignKey("block.id"), nullable=False, index=True),
    Column("block_seq", BigInteger, nullable=False),  # with which the block came to the index
    Column("case_id", BigInteger, ForeignKey("case_file.id")),
    Column("opened_at", BigInteger, nullable=False),
    Column("next_at", BigInteger, index=True),  # when it is looked into; none: decided for good
    Column("result", Text),
    Column("decided_at", BigInteger),
)

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

APPEND_ONLY: Final = (ledger, checkpoint)
"""Tables whose rows nobody may change or remove."""
