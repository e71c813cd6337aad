"""The intake over real records, with the companies of the tests in them."""

# ruff: noqa: PLC0415 - tests of the texts do without the records

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from smsfilter.store.records import Records
    from tests.fakes.bureau import Bureau
    from tests.fakes.fresh import FreshDatabase, FreshFile


@pytest.fixture(scope="session")
def fresh_file(tmp_path_factory: pytest.TempPathFactory) -> FreshFile:
    """Makes SQLite records."""
    from tests.fakes.fresh import FreshFile

    return FreshFile(tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="session")
def fresh_database(request: pytest.FixtureRequest) -> FreshDatabase:
    """The worker's database for the tests of this folder."""
    from tests.fakes.fresh import FreshDatabase

    return FreshDatabase(request.getfixturevalue("postgres").database())


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    """Records without a row in them, on both databases in turn."""
    from smsfilter.store.records import Records

    if request.param == "sqlite":
        fresh: FreshFile = request.getfixturevalue("fresh_file")
        url = fresh.copy(tmp_path / "records.db")
    else:
        database: FreshDatabase = request.getfixturevalue("fresh_database")
        url = database.emptied()
    records = Records(url)
    yield records
    records.close()


@pytest.fixture
def bureau(records: Records) -> Iterator[Bureau]:
    """An intake on both databases in turn."""
    from tests.fakes.bureau import Bureau

    bureau = Bureau(records)
    bureau.register()
    yield bureau
    bureau.close()
