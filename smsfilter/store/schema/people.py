"""Customers and staff, and what needs two of the staff."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
)

from smsfilter.store.schema.base import Id, metadata, one_live

staff = Table(
    "staff",
    metadata,
    Column("id", Text, primary_key=True),  # what they log in with, for ever
    Column("person", Text, nullable=False, unique=True),  # as the operator's own books know them
    Column("name", Text, nullable=False),
    Column("branch", Text, nullable=False),
    Column("roles", Text, nullable=False),  # sorted, one blank between
    Column("phone_enc", LargeBinary),
    Column("state", Text, nullable=False),
    Column("pw_hash", Text),
    Column("code_hash", Text),  # of the code that they enrol by, once
    Column("code_until", BigInteger),
    Column("added_by", Text, nullable=False),
    Column("approved_by", Text),  # none: the first person, and the second by bootstrap
    Column("added_at", BigInteger, nullable=False),
    Column("changed_seq", BigInteger, nullable=False),
    CheckConstraint("state IN ('invited', 'active', 'suspended', 'left')", name="state"),
    CheckConstraint("added_by <> approved_by", name="two"),
    CheckConstraint("id <> added_by AND id <> approved_by", name="other"),
)

session = Table(
    "session",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("staff", Text, ForeignKey("staff.id"), nullable=False, index=True),
    Column("issued_at", BigInteger, nullable=False),
    Column("idle_until", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("origin", Text, nullable=False),
)

duty = Table(
    "duty",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("staff", Text, ForeignKey("staff.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("from_at", BigInteger, nullable=False),
    Column("to_at", BigInteger, nullable=False),
    Column("cover", Text, ForeignKey("staff.id")),  # who does their work while they are absent
    Column("by", Text, nullable=False),
    Column("ended_at", BigInteger),  # it was taken out again
    Column("changed_seq", BigInteger, nullable=False),
    CheckConstraint("kind IN ('on', 'absent')", name="kind"),
    CheckConstraint("from_at < to_at", name="span"),
    CheckConstraint("cover <> staff", name="other"),
    Index("duty_staff_to_at_ix", "staff", "to_at"),
    Index("duty_to_at_ix", "to_at"),
)

release = Table(
    "release",  # what one person asks for and another one has to release
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),  # whom or what it is about: block:7, staff:li.wei
    Column("branch", Text, nullable=False),
    Column("body_enc", LargeBinary, nullable=False),
    Column("body_hash", Text, nullable=False),  # keyed
    Column("state", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("released_by", Text),
    Column("released_at", BigInteger),
    Column("done_at", BigInteger),
    Column("half_enc", LargeBinary),  # half a code, until whoever asked has fetched it
    Column("changed_seq", BigInteger, nullable=False),
    CheckConstraint(
        "state IN ('waiting', 'released', 'done', 'refused', 'taken_back', 'expired')",
        name="state",
    ),
    CheckConstraint("asked_by <> released_by", name="two"),
    CheckConstraint(
        "state NOT IN ('released', 'done', 'refused') OR released_by IS NOT NULL", name="by"
    ),
    Index("release_state_id_ix", "state", "id"),
)

customer = Table(
    "customer",
    metadata,
    Column("id", Text, primary_key=True),  # random: says nothing of the number
    Column("token", Text),
    Column("number_enc", LargeBinary),
    Column("branch", Text),  # by the prefix of the number; none: not looked up yet
    Column("first_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),  # the number was recycled: another person's by now
    Column("erased_at", BigInteger),
    Index("customer_token_ix", "token"),
    one_live("customer", "token", where="retired_at IS NULL"),
)
