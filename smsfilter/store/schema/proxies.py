"""What the proxies recorded, and what was looked up in it."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from smsfilter.store.schema.base import Id, metadata

segment = Table(
    "segment",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
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
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("report", BigInteger, ForeignKey("report.id"), nullable=False, index=True),
    Column("block", BigInteger, ForeignKey("block.id"), nullable=False, index=True),
    Column("block_seq", BigInteger, nullable=False),  # with which the block came to the index
    Column("case_id", BigInteger, ForeignKey("case_file.id")),
    Column("opened_at", BigInteger, nullable=False),
    Column("next_at", BigInteger, index=True),  # when it is looked into; none: decided for good
    Column("result", Text),
    Column("decided_at", BigInteger),
)
