"""Keys in files, tokens and ciphertexts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.store import customers, keyfiles
from smsfilter.store.keyfiles import KeyFileError
from smsfilter.store.seal import Seal, SealError, place
from smsfilter.store.writer import Writer

SEAL = Seal({"k1": bytes(32)}, {"k1": bytes(32)})
NEWER = Seal({"k1": bytes(32), "k2": b"2" * 32}, {"k1": bytes(32), "k2": b"2" * 32})


@given(st.binary(max_size=300), st.text(max_size=20))
def test_what_is_sealed_can_be_opened_where_it_stood(plain, where):
    sealed = SEAL.close(plain, where)
    assert SEAL.open(sealed, where) == plain
    assert NEWER.open(sealed, where) == plain
    assert not plain or plain not in sealed or len(plain) < 4


@given(st.binary(min_size=1, max_size=50), st.data())
def test_an_altered_or_moved_ciphertext_is_refused(plain, data):
    sealed = bytearray(SEAL.close(plain, "customer|number_enc|c1"))
    with pytest.raises(SealError):
        SEAL.open(bytes(sealed), "customer|number_enc|c2")
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealError):
        SEAL.open(bytes(sealed), "customer|number_enc|c1")


def test_a_newer_key_seals_and_is_needed_to_open():
    sealed = NEWER.close(b"x", "here")
    assert sealed.startswith(b"k2:")
    with pytest.raises(SealError, match="key that is not here"):
        SEAL.open(sealed, "here")


def test_tokens_find_what_older_keys_have_named():
    assert SEAL.token("8613800138000").startswith("k1:")
    assert SEAL.token("8613800138000") in NEWER.tokens("8613800138000")
    assert SEAL.token("8613800138000") != SEAL.token("8613800138001")
    assert "13800138000" not in SEAL.token("8613800138000")


def test_the_place_is_part_of_it():
    assert place("report", "text_enc", 7) == "report|text_enc|7"


def test_a_customer_is_found_by_the_number_and_by_nothing_else(records):
    writer = Writer(records, lambda: 1)
    writer.start()
    number = "8613800138000"
    first = writer.submit(lambda t: customers.find_or_add(t.connection, SEAL, number, 1)).result()
    again = writer.submit(lambda t: customers.find_or_add(t.connection, NEWER, number, 2)).result()
    assert first == again
    with records.reading() as connection:
        assert customers.find(connection, SEAL, "8613800138001") is None
        assert customers.number(connection, SEAL, first) == number
        dump = [str(row) for row in connection.exec_driver_sql("SELECT * FROM customer")]
    assert "13800138000" not in "".join(dump)
    writer.submit(lambda t: customers.retire(t.connection, first, 3)).result()
    other = writer.submit(lambda t: customers.find_or_add(t.connection, SEAL, number, 4)).result()
    assert other != first
    writer.stop()


def test_a_key_is_made_once_and_read_again(tmp_path):
    path = tmp_path / "keys" / "token.key"
    assert keyfiles.make(path)
    key = keyfiles.read(path)
    assert len(key) == 32
    assert not keyfiles.make(path)
    assert keyfiles.read(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "token.key"
    keyfiles.make(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=r"chmod 600"):
        keyfiles.read(path)
    with pytest.raises(KeyFileError, match=r"chmod 600"):
        keyfiles.make(path)


@pytest.mark.parametrize("content", [b"", b"00" * 31, b"00" * 33, b"xx" * 32, b"\xff" * 64])
def test_what_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "token.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not a key"):
        keyfiles.read(path)


@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_a_key_in_a_folder_that_others_can_write_is_refused(tmp_path, mode):
    path = tmp_path / "keys" / "token.key"
    keyfiles.make(path)
    path.parent.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 700 {path.parent}"):
        keyfiles.read(path)


def test_a_missing_key_a_link_and_a_folder_are_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("none", "link", "folder"):
        with pytest.raises(KeyFileError):
            keyfiles.read(tmp_path / name)
    with pytest.raises(KeyFileError):
        keyfiles.write(tmp_path / "folder", bytes(32))
