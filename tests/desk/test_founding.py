"""The first run of a desk: each thing once, nothing overwritten, on both databases."""

import json
import stat

import pytest

from smsfilter.desk import keys as keyring
from smsfilter.desk.office import check, prepare, records_of
from smsfilter.ledger.checkpoint import check as check_checkpoint
from smsfilter.ledger.checkpoint import key_id, read_public_pem
from smsfilter.store import keyfiles, ledger
from smsfilter.store.keyfiles import KeyFileError
from smsfilter.store.records import RecordsAway, RecordsError
from tests.fakes.desks import At


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request, tmp_path):
    """A desk that has not run yet, with no table anywhere."""
    if request.param == "sqlite":
        return At(tmp_path)
    return At(tmp_path, request.getfixturevalue("postgres").database(migrated=False))


def rows(desk: At) -> list:
    records = records_of(desk.config)
    with records.reading() as connection:
        found = list(ledger.rows(connection)), list(ledger.checkpoints(connection))
    records.close()
    return found


def test_the_first_run_makes_everything(desk):
    founded = desk.found()

    assert [path.name for path in founded.made] == ["token.key", "data.key", "ledger-sign.key"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in founded.made)
    assert founded.is_new
    (first,), ((seq, signed),) = rows(desk)
    said = json.loads(first.body)
    assert (first.action, first.actor, first.origin) == ("init", "local:ops", "command")
    assert said["detail"]["keys"] == ["token:k1", "data:k1", f"sign:{founded.sign_id}"]
    assert founded.chain == first.hash.hex()[:32]
    public = read_public_pem((desk.state / "keys" / keyring.PUBLIC).read_bytes())
    assert check_checkpoint(signed, {key_id(public): public}).hash == first.hash
    assert (desk.state / "checkpoints.txt").read_text().startswith(signed)
    assert seq == founded.seq == 1


def test_a_second_run_changes_nothing_and_says_what_is_there(desk):
    first = desk.found()
    before = {path: path.read_bytes() for path in desk.state.rglob("*.key")}

    second = desk.found()

    assert (second.made, second.is_new) == ([], False)
    assert (second.chain, second.seq) == (first.chain, 1)
    assert {path: path.read_bytes() for path in desk.state.rglob("*.key")} == before
    assert len(rows(desk)[0]) == 1


@pytest.mark.parametrize("name", ["token.key", "data.key", "ledger-sign.key"])
def test_a_key_that_is_gone_is_never_made_anew_for_records_that_exist(desk, name):
    desk.found()
    (desk.state / "keys" / name).unlink()

    with pytest.raises(KeyFileError, match=f"{name}: not there, and .* could open nothing"):
        desk.found()

    assert not (desk.state / "keys" / name).exists()


@pytest.mark.parametrize("kind", ["token", "data", "sign"])
def test_keys_of_another_desk_are_refused(desk, kind):
    desk.found()
    path = desk.state / "keys" / keyring.FILES[kind]
    path.unlink()
    keyfiles.make(path)
    records = records_of(desk.config)

    with pytest.raises(KeyFileError, match=f"{path.name} is not the key that"):
        check(records, desk.keys)
    with pytest.raises(KeyFileError, match=f"{path.name} is not the key that"):
        desk.found()
    records.close()


def test_a_first_run_that_was_cut_off_is_taken_up(desk):
    made = keyring.make(desk.state)
    made[0].unlink()  # killed between two keys, and again between tables and ledger
    prepare(desk.config)

    founded = desk.found()

    assert founded.made == [made[0]]
    assert founded.is_new


def test_a_desk_does_not_start_before_its_first_run(desk):
    records = records_of(desk.config)
    keyring.make(desk.state)
    with pytest.raises(RecordsError, match="run smsfilter desk init"):
        check(records, desk.keys)
    prepare(desk.config)
    with pytest.raises(RecordsError, match="has no ledger yet: run smsfilter desk init"):
        check(records, desk.keys)
    records.close()


def test_what_is_there_is_also_said_beside_a_running_desk(desk):
    desk.found()
    office = desk.office()
    office.writer.start()
    assert not desk.found().is_new
    office.writer.stop()
    office.records.close()


def test_tables_are_not_made_while_another_has_the_lock(tmp_path):
    desk = At(tmp_path)
    keyring.make(desk.state)
    office = desk.office()
    with office.records.locked(), pytest.raises(RecordsError, match="in use by another desk"):
        desk.found()
    office.records.close()


def test_no_key_is_made_where_the_records_cannot_be_asked(tmp_path):
    desk = At(tmp_path, (f"postgresql://desk@/nothing?host={tmp_path}", None))
    with pytest.raises(RecordsAway):
        desk.found()
    assert not (desk.state / "keys").exists()


def test_postgresql_needs_an_owner_of_the_tables(postgres, tmp_path):
    url, owner = postgres.database(migrated=False)
    with pytest.raises(RecordsError, match=r"another role than desk.*records\.owner_url"):
        At(tmp_path, (url, None)).found()
    with pytest.raises(RecordsError, match="comes as owner too"):
        At(tmp_path, (owner, owner)).found()
    At(tmp_path, (url, owner)).found()
    assert At(tmp_path, (url, None)).found().seq == 1


def test_the_owner_gives_the_desk_what_it_needs_and_no_more(postgres, tmp_path):
    desk = At(tmp_path, postgres.database(migrated=False))
    desk.found()
    records = records_of(desk.config)
    records.check()
    for statement in ("UPDATE ledger SET seq = 9", "DELETE FROM checkpoint", "DROP TABLE ledger"):
        with pytest.raises(Exception, match=r"denied|owner"), records.to_write() as connection:  # noqa: SIM117
            with connection.begin():
                connection.exec_driver_sql(statement)
    records.close()
