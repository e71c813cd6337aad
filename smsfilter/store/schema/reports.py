"""Reports, and what follows from them: cases, blocks, SMS, warnings."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from smsfilter.store.schema.base import Id, metadata, one_live, open_cases

mo_part = Table(
    "mo_part",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
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
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("customer", Text, ForeignKey("customer.id"), nullable=False, index=True),
    Column("target", Text),  # company id or source:…; unknown while nothing was matched
    Column("state", Text, nullable=False),  # of flow/case.py
    Column("branch", Text, nullable=False, server_default=text("'hq'")),
    Column("owner", Text, ForeignKey("staff.id")),
    Column("round", Integer, nullable=False, server_default=text("1")),  # each reopening, one more
    Column("opened_at", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False, server_default=text("0")),  # its clock began
    Column("due_at", BigInteger, nullable=False),
    Column("assigned_at", BigInteger),
    Column("outcome", Text),
    Column("reply_sms", BigInteger),  # the SMS that is its answer
    Column("reply_failed", Boolean, nullable=False, server_default=false()),
    Column("replied_at", BigInteger),
    Column("closed_at", BigInteger),  # no longer open: answered, withdrawn or joined
    Column("changed_seq", BigInteger, nullable=False),
    one_live("case_file", "customer", "target", where="closed_at IS NULL"),
    open_cases("due_at"),
    open_cases("branch", "due_at"),
    open_cases("owner", "due_at"),
    Index("case_file_branch_id_ix", "branch", "id"),
    Index("case_file_branch_state_id_ix", "branch", "state", "id"),
    Index("case_file_branch_target_id_ix", "branch", "target", "id"),
    Index(
        "case_file_replied_ix",
        "replied_at",
        sqlite_where=text("state = 'replied'"),
        postgresql_where=text("state = 'replied'"),
    ),
    Index("case_file_state_id_ix", "state", "id"),
    Index("case_file_target_id_ix", "target", "id"),
)

decision = Table(
    "decision",  # of a case: each by another person
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("case_id", BigInteger, ForeignKey("case_file.id"), nullable=False),
    Column("round", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    CheckConstraint(
        "outcome IN ('upheld', 'not_spam', 'unresolvable', 'referred')", name="outcome"
    ),
    UniqueConstraint("case_id", "round"),
    UniqueConstraint("case_id", "by"),
)

report = Table(
    "report",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
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
    Column("text_fold", Text),  # keyed: texts that differ in digits, links and blanks have one
    Column("complete", Boolean, nullable=False),  # no part of it is missing
    Column("counted", Boolean, nullable=False),  # within the reporter's cap
    Column("state", Text, nullable=False),
    Column("match_kind", Text),
    Column("evidence", Text),  # canonical JSON, no number in it
    Column("case_id", BigInteger, ForeignKey("case_file.id"), index=True),
    Column("changed_seq", BigInteger, nullable=False),
    CheckConstraint("channel IN ('sms', 'phone', 'import')", name="channel"),
    Index("report_state_id_ix", "state", "id"),
    Index("report_text_fold_received_at_ix", "text_fold", "received_at"),
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
    Column("id", Id, primary_key=True, autoincrement=True),
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
    one_live("block", "customer", "target", where="ended_at IS NULL"),
)

sms_out = Table(
    "sms_out",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("report", BigInteger, ForeignKey("report.id")),  # of what customers are told
    Column("case_id", BigInteger, ForeignKey("case_file.id"), index=True),
    Column("kind", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("customer", Text, ForeignKey("customer.id"), index=True),
    Column("staff", Text, ForeignKey("staff.id")),
    Column("text_enc", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("maybe_twice", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("next_at", BigInteger),  # of those that are to be sent
    Column("sent_at", BigInteger),
    Column("message_id", Text, index=True),
    CheckConstraint("(customer IS NULL) <> (staff IS NULL)", name="whom"),
    UniqueConstraint("report", "kind", "n"),
    Index("sms_out_state_next_at_ix", "state", "next_at"),
)

receipt = Table(
    "receipt",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("message_id", Text, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("stat", Text, nullable=False),
    Column("err", Text),
    Column("customer", Text, ForeignKey("customer.id"), index=True),
    Column("sms_out", BigInteger, ForeignKey("sms_out.id"), index=True),
)

warning = Table(
    "warning",  # of a clock: each told to each person once
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("about", Text, nullable=False),  # case:12, day:2026-11-27
    Column("round", Integer, nullable=False),
    Column("staff", Text, ForeignKey("staff.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("sms_out", BigInteger, ForeignKey("sms_out.id")),
    UniqueConstraint("about", "kind", "round", "staff"),
)

hook_out = Table(
    "hook_out",  # what is told to another program over HTTP
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("about", Text, nullable=False, index=True),
    Column("round", Integer, nullable=False),
    Column("body", Text, nullable=False),  # JSON, no number in it
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("next_at", BigInteger),
    Column("sent_at", BigInteger),
    Column("status", Integer),  # the latest answer of HTTP
    UniqueConstraint("kind", "about", "round"),
    Index("hook_out_state_next_at_ix", "state", "next_at"),
)
