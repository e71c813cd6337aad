"""People: staff and their duty, what needs two of them, cases as they are worked on, warnings."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of staff, and give cases an owner, a branch and a clock of their own."""
    _people()
    _case_files()
    _cases()
    _sms()
    _the_rest()


def _people() -> None:
    """Who works at the desk, and what one of them has asked another for."""
    op.create_table(
        "staff",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("phone_enc", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("pw_hash", sa.Text(), nullable=True),
        sa.Column("code_hash", sa.Text(), nullable=True),
        sa.Column("code_until", sa.BigInteger(), nullable=True),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('invited', 'active', 'suspended', 'left')", name=op.f("staff_state_ck")
        ),
        sa.CheckConstraint("added_by <> approved_by", name=op.f("staff_two_ck")),
        sa.CheckConstraint("id <> added_by AND id <> approved_by", name=op.f("staff_other_ck")),
        sa.PrimaryKeyConstraint("id", name=op.f("staff_pk")),
        sa.UniqueConstraint("person", name=op.f("staff_person_uq")),
    )
    op.create_table(
        "release",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("body_enc", sa.LargeBinary(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("half_enc", sa.LargeBinary(), nullable=True),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('waiting', 'released', 'done', 'refused', 'taken_back', 'expired')",
            name=op.f("release_state_ck"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('released', 'done', 'refused') OR released_by IS NOT NULL",
            name=op.f("release_by_ck"),
        ),
        sa.CheckConstraint("asked_by <> released_by", name=op.f("release_two_ck")),
        sa.PrimaryKeyConstraint("id", name=op.f("release_pk")),
    )
    op.create_index("release_state_id_ix", "release", ["state", "id"], unique=False)
    op.create_table(
        "duty",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("staff", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("to_at", sa.BigInteger(), nullable=False),
        sa.Column("cover", sa.Text(), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('on', 'absent')", name=op.f("duty_kind_ck")),
        sa.CheckConstraint("cover <> staff", name=op.f("duty_other_ck")),
        sa.CheckConstraint("from_at < to_at", name=op.f("duty_span_ck")),
        sa.ForeignKeyConstraint(["cover"], ["staff.id"], name=op.f("duty_cover_fk")),
        sa.ForeignKeyConstraint(["staff"], ["staff.id"], name=op.f("duty_staff_fk")),
        sa.PrimaryKeyConstraint("id", name=op.f("duty_pk")),
    )
    op.create_index("duty_staff_to_at_ix", "duty", ["staff", "to_at"], unique=False)
    op.create_index("duty_to_at_ix", "duty", ["to_at"], unique=False)
    op.create_table(
        "session",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("staff", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("idle_until", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["staff"], ["staff.id"], name=op.f("session_staff_fk")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("session_pk")),
    )
    op.create_index(op.f("session_staff_ix"), "session", ["staff"], unique=False)


def _case_files() -> None:
    """Cases: whose they are; reports: which of them have the same text."""
    op.add_column("customer", sa.Column("branch", sa.Text(), nullable=True))
    with op.batch_alter_table("case_file") as batch:
        for column in (
            sa.Column("branch", sa.Text(), server_default=sa.text("'hq'"), nullable=False),
            sa.Column("owner", sa.Text(), nullable=True),
            sa.Column("round", sa.Integer(), server_default=sa.text("1"), nullable=False),
            sa.Column("since", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
            sa.Column("assigned_at", sa.BigInteger(), nullable=True),
            sa.Column("reply_sms", sa.BigInteger(), nullable=True),
            sa.Column("reply_failed", sa.Boolean(), server_default=sa.false(), nullable=False),
        ):
            batch.add_column(column)
        batch.create_foreign_key(op.f("case_file_owner_fk"), "staff", ["owner"], ["id"])
    is_open = sa.text("closed_at IS NULL")
    for columns in (["due_at"], ["branch", "due_at"], ["owner", "due_at"]):
        op.create_index(
            f"case_file_open_{columns[0]}_ix",
            "case_file",
            [*columns, "id"],
            sqlite_where=is_open,
            postgresql_where=is_open,
        )
    for name in ("branch", "state", "target"):
        op.create_index(f"case_file_{name}_id_ix", "case_file", [name, "id"])
    for name in ("state", "target"):
        op.create_index(f"case_file_branch_{name}_id_ix", "case_file", ["branch", name, "id"])
    is_replied = sa.text("state = 'replied'")
    op.create_index(
        "case_file_replied_ix",
        "case_file",
        ["replied_at"],
        sqlite_where=is_replied,
        postgresql_where=is_replied,
    )
    op.execute("UPDATE case_file SET since = opened_at")
    op.execute(
        "UPDATE case_file SET state = 'withdrawn' WHERE closed_at IS NOT NULL AND state <> 'joined'"
    )
    op.execute("UPDATE case_file SET state = 'new' WHERE closed_at IS NULL")
    op.add_column("report", sa.Column("text_fold", sa.Text(), nullable=True))
    op.create_index("report_text_fold_received_at_ix", "report", ["text_fold", "received_at"])


def _sms() -> None:
    """SMS go to staff too, and about cases."""
    with op.batch_alter_table("sms_out") as batch:
        batch.add_column(sa.Column("case_id", sa.BigInteger(), nullable=True))
        batch.add_column(sa.Column("staff", sa.Text(), nullable=True))
        batch.alter_column("report", existing_type=sa.BigInteger(), nullable=True)
        batch.alter_column("customer", existing_type=sa.Text(), nullable=True)
        batch.create_foreign_key(op.f("sms_out_case_id_fk"), "case_file", ["case_id"], ["id"])
        batch.create_foreign_key(op.f("sms_out_staff_fk"), "staff", ["staff"], ["id"])
        batch.create_check_constraint(
            op.f("sms_out_whom_ck"), "(customer IS NULL) <> (staff IS NULL)"
        )
    op.create_index(op.f("sms_out_case_id_ix"), "sms_out", ["case_id"])


def _cases() -> None:
    """What was decided, and whom the clock has warned."""
    op.create_table(
        "hook_out",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("hook_out_pk")),
        sa.UniqueConstraint("kind", "about", "round", name=op.f("hook_out_kind_about_round_uq")),
    )
    op.create_index(op.f("hook_out_about_ix"), "hook_out", ["about"], unique=False)
    op.create_index("hook_out_state_next_at_ix", "hook_out", ["state", "next_at"], unique=False)
    op.create_table(
        "decision",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('upheld', 'not_spam', 'unresolvable', 'referred')",
            name=op.f("decision_outcome_ck"),
        ),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"], name=op.f("decision_case_id_fk")),
        sa.PrimaryKeyConstraint("id", name=op.f("decision_pk")),
        sa.UniqueConstraint("case_id", "by", name=op.f("decision_case_id_by_uq")),
        sa.UniqueConstraint("case_id", "round", name=op.f("decision_case_id_round_uq")),
    )
    op.create_table(
        "warning",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("staff", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("sms_out", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["sms_out"], ["sms_out.id"], name=op.f("warning_sms_out_fk")),
        sa.ForeignKeyConstraint(["staff"], ["staff.id"], name=op.f("warning_staff_fk")),
        sa.PrimaryKeyConstraint("id", name=op.f("warning_pk")),
        sa.UniqueConstraint(
            "about", "kind", "round", "staff", name=op.f("warning_about_kind_round_staff_uq")
        ),
    )


def _the_rest() -> None:
    """Requests that were answered, and what is kept between two starts."""
    op.create_table(
        "answered",
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer_enc", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("actor", "key", name=op.f("answered_pk")),
    )
    op.create_index(op.f("answered_at_ix"), "answered", ["at"], unique=False)
    op.create_table(
        "kept",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("kept_pk")),
    )
