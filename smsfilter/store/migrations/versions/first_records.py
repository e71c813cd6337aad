"""The first records: the tables of reports, blocks, companies and the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

APPEND_ONLY = ("ledger", "checkpoint")


def upgrade() -> None:
    """Make the tables, the head of the ledger, and what keeps the ledger as it was written."""
    _companies()
    _ledger()
    _cases()
    _reports()
    _blocks()
    _sms()
    _segments()
    head = sa.table(
        "ledger_head",
        *map(sa.column, ("id", "seq", "hash", "chain", "signed_seq", "signed_at")),
    )
    op.execute(
        sa.insert(head).values(
            id=1,
            seq=0,
            hash=sa.literal(bytes(32), sa.LargeBinary()),
            chain="",
            signed_seq=0,
            signed_at=0,
        )
    )
    if op.get_bind().dialect.name == "sqlite":
        _refuse_in_sqlite()
    else:
        _refuse_in_postgresql()


def _companies() -> None:
    """The registry, as it is and as it was."""
    op.create_table(
        "company",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("merged_into", sa.Text(), nullable=True),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('active', 'ended', 'merged')", name=op.f("company_state_ck")),
        sa.ForeignKeyConstraint(
            ["merged_into"], ["company.id"], name=op.f("company_merged_into_fk")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("company_pk")),
    )
    op.create_index(op.f("company_changed_seq_ix"), "company", ["changed_seq"], unique=False)
    op.create_table(
        "company_source",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("norm", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Text(), nullable=True),
        sa.Column("valid_to", sa.Text(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('account', 'prefix', 'header', 'signature')",
            name=op.f("company_source_kind_ck"),
        ),
        sa.ForeignKeyConstraint(
            ["company"], ["company.id"], name=op.f("company_source_company_fk")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("company_source_pk")),
    )
    op.create_index(
        op.f("company_source_changed_seq_ix"), "company_source", ["changed_seq"], unique=False
    )
    op.create_index(op.f("company_source_company_ix"), "company_source", ["company"], unique=False)
    op.create_index(op.f("company_source_norm_ix"), "company_source", ["norm"], unique=False)
    op.create_table(
        "reseller_grant",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company"], ["company.id"], name=op.f("reseller_grant_company_fk")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("reseller_grant_pk")),
    )
    op.create_index(op.f("reseller_grant_account_ix"), "reseller_grant", ["account"], unique=False)
    op.create_index(
        op.f("reseller_grant_changed_seq_ix"), "reseller_grant", ["changed_seq"], unique=False
    )


def _ledger() -> None:
    """The ledger, what signs it, and what belongs to the records as a whole."""
    op.create_table(
        "ledger",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("customer_id", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("prev", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("ledger_pk")),
    )
    op.create_index(op.f("ledger_case_id_ix"), "ledger", ["case_id"], unique=False)
    op.create_index(op.f("ledger_customer_id_ix"), "ledger", ["customer_id"], unique=False)
    op.create_table(
        "checkpoint",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("checkpoint_pk")),
    )
    op.create_table(
        "ledger_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("signed_seq", sa.BigInteger(), nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ledger_head_one_ck")),
        sa.PrimaryKeyConstraint("id", name=op.f("ledger_head_pk")),
    )
    op.create_table(
        "index_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("desk", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("projected_seq", sa.BigInteger(), nullable=False),
        sa.Column("replid", sa.Text(), nullable=False),
        sa.Column("adopts", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("index_state_one_ck")),
        sa.PrimaryKeyConstraint("id", name=op.f("index_state_pk")),
    )
    op.create_table(
        "key_meta",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("retired", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("key_meta_pk")),
    )


def _cases() -> None:
    """Customers, and what is being done for them."""
    op.create_table(
        "customer",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("number_enc", sa.LargeBinary(), nullable=True),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.Column("erased_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("customer_pk")),
    )
    op.create_index("customer_token_ix", "customer", ["token"], unique=False)
    op.create_index(
        "customer_one_live",
        "customer",
        ["token"],
        unique=True,
        sqlite_where=sa.text("retired_at IS NULL"),
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_table(
        "case_file",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("replied_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["customer"], ["customer.id"], name=op.f("case_file_customer_fk")),
        sa.PrimaryKeyConstraint("id", name=op.f("case_file_pk")),
    )
    op.create_index(op.f("case_file_customer_ix"), "case_file", ["customer"], unique=False)
    op.create_index(
        "case_file_one_live",
        "case_file",
        ["customer", "target"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )


def _reports() -> None:
    """What customers have sent, as it came and as it was joined."""
    op.create_table(
        "report",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_at", sa.BigInteger(), nullable=True),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.Column("reported_norm", sa.Text(), nullable=True),
        sa.Column("reported_customer", sa.Text(), nullable=True),
        sa.Column("raw_enc", sa.LargeBinary(), nullable=True),
        sa.Column("text_enc", sa.LargeBinary(), nullable=True),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("match_kind", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("case_id", sa.BigInteger(), nullable=True),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("channel IN ('sms', 'phone', 'import')", name=op.f("report_channel_ck")),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"], name=op.f("report_case_id_fk")),
        sa.ForeignKeyConstraint(["customer"], ["customer.id"], name=op.f("report_customer_fk")),
        sa.ForeignKeyConstraint(
            ["reported_customer"], ["customer.id"], name=op.f("report_reported_customer_fk")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("report_pk")),
    )
    op.create_index(op.f("report_case_id_ix"), "report", ["case_id"], unique=False)
    op.create_index(op.f("report_customer_ix"), "report", ["customer"], unique=False)
    op.create_index(op.f("report_fingerprint_ix"), "report", ["fingerprint"], unique=False)
    op.create_index(op.f("report_received_at_ix"), "report", ["received_at"], unique=False)
    op.create_index("report_state_id_ix", "report", ["state", "id"], unique=False)
    op.create_index(
        "report_unconfirmed_ix",
        "report",
        ["id"],
        unique=False,
        sqlite_where=sa.text("confirmed_at IS NULL"),
        postgresql_where=sa.text("confirmed_at IS NULL"),
    )
    op.create_table(
        "mo_part",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("data_coding", sa.Integer(), nullable=False),
        sa.Column("octets_enc", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["customer"], ["customer.id"], name=op.f("mo_part_customer_fk")),
        sa.PrimaryKeyConstraint("id", name=op.f("mo_part_pk")),
    )
    op.create_index("mo_part_customer_ref_ix", "mo_part", ["customer", "ref"], unique=False)
    op.create_index("mo_part_report_at_ix", "mo_part", ["report", "at"], unique=False)


def _blocks() -> None:
    """Blocks, and reports on what was blocked already."""
    op.create_table(
        "block",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("report", sa.BigInteger(), nullable=True),
        sa.Column("case_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("in_force_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"], name=op.f("block_case_id_fk")),
        sa.ForeignKeyConstraint(["customer"], ["customer.id"], name=op.f("block_customer_fk")),
        sa.ForeignKeyConstraint(["report"], ["report.id"], name=op.f("block_report_fk")),
        sa.PrimaryKeyConstraint("id", name=op.f("block_pk")),
    )
    op.create_index(op.f("block_changed_seq_ix"), "block", ["changed_seq"], unique=False)
    op.create_index(
        "block_one_live",
        "block",
        ["customer", "target"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(op.f("block_report_ix"), "block", ["report"], unique=False)
    op.create_index("block_customer_id_ix", "block", ["customer", "id"], unique=False)
    op.create_index("block_target_id_ix", "block", ["target", "id"], unique=False)
    op.create_table(
        "incident",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("report", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("block_seq", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["block"], ["block.id"], name=op.f("incident_block_fk")),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"], name=op.f("incident_case_id_fk")),
        sa.ForeignKeyConstraint(["report"], ["report.id"], name=op.f("incident_report_fk")),
        sa.PrimaryKeyConstraint("id", name=op.f("incident_pk")),
    )
    op.create_index(op.f("incident_block_ix"), "incident", ["block"], unique=False)
    op.create_index(op.f("incident_next_at_ix"), "incident", ["next_at"], unique=False)
    op.create_index(op.f("incident_report_ix"), "incident", ["report"], unique=False)


def _sms() -> None:
    """What customers are answered."""
    op.create_table(
        "sms_out",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("report", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("text_enc", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("maybe_twice", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["customer"], ["customer.id"], name=op.f("sms_out_customer_fk")),
        sa.ForeignKeyConstraint(["report"], ["report.id"], name=op.f("sms_out_report_fk")),
        sa.PrimaryKeyConstraint("id", name=op.f("sms_out_pk")),
        sa.UniqueConstraint("report", "kind", "n", name=op.f("sms_out_report_kind_n_uq")),
    )
    op.create_index(op.f("sms_out_customer_ix"), "sms_out", ["customer"], unique=False)
    op.create_index(op.f("sms_out_message_id_ix"), "sms_out", ["message_id"], unique=False)
    op.create_index("sms_out_state_next_at_ix", "sms_out", ["state", "next_at"], unique=False)
    op.create_table(
        "receipt",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("stat", sa.Text(), nullable=False),
        sa.Column("err", sa.Text(), nullable=True),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("sms_out", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["customer"], ["customer.id"], name=op.f("receipt_customer_fk")),
        sa.ForeignKeyConstraint(["sms_out"], ["sms_out.id"], name=op.f("receipt_sms_out_fk")),
        sa.PrimaryKeyConstraint("id", name=op.f("receipt_pk")),
    )
    op.create_index(op.f("receipt_message_id_ix"), "receipt", ["message_id"], unique=False)
    op.create_index(op.f("receipt_customer_ix"), "receipt", ["customer"], unique=False)
    op.create_index(op.f("receipt_sms_out_ix"), "receipt", ["sms_out"], unique=False)


def _segments() -> None:
    """What the proxies have recorded."""
    op.create_table(
        "segment",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("proxy", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("to_at", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.Column("clean", sa.Boolean(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("prev", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("segment_pk")),
        sa.UniqueConstraint("proxy", "name", name=op.f("segment_proxy_name_uq")),
    )
    op.create_index("segment_proxy_from_at_ix", "segment", ["proxy", "from_at"], unique=False)
    op.create_table(
        "refusal",
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("token8", sa.LargeBinary(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["segment"], ["segment.id"], name=op.f("refusal_segment_fk")),
        sa.PrimaryKeyConstraint("segment", "token8", "company", "source", name=op.f("refusal_pk")),
    )
    op.create_index("refusal_token8_ix", "refusal", ["token8"], unique=False)


def _refuse_in_sqlite() -> None:
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _refuse_in_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION append_only()"
        )
