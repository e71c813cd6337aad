"""What the tables are made of."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Index,
    Integer,
    MetaData,
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

Id: Final = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the type is INTEGER."""


def one_live(table: str, *columns: str, where: str) -> Index:
    """At most one row of each kind that is not ended."""
    name = f"{table}_one_live"
    condition = text(where)
    return Index(name, *columns, unique=True, sqlite_where=condition, postgresql_where=condition)


def open_cases(*columns: str) -> Index:
    """How open cases are found, the most urgent first."""
    condition = text("closed_at IS NULL")
    return Index(
        f"case_file_open_{columns[0]}_ix",
        *columns,
        "id",
        sqlite_where=condition,
        postgresql_where=condition,
    )
