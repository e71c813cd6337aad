"""Companies: the registry, as it is and as it was."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    Table,
    Text,
)

from smsfilter.store.schema.base import Id, metadata

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
    Column("id", Id, primary_key=True, autoincrement=True),
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
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("account", Text, nullable=False, index=True),
    Column("company", Text, ForeignKey("company.id")),  # none: it may send for nobody
    Column("position", Integer, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("changed_seq", BigInteger, nullable=False, index=True),
)
