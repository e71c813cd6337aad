"""The copy of the keys under a passphrase: it opens with that alone, and overwrites nothing."""

import os
import pty
import stat
import subprocess
import sys

import pytest

from smsfilter.cli.main import main
from smsfilter.desk import keybox
from smsfilter.desk import keys as keyring
from smsfilter.store import keyfiles
from smsfilter.store.keyfiles import KeyFileError
from tests.fakes.desks import At

PASSPHRASE = "correct horse battery"
AT = 1_764_221_894_000_000
KEYS = {"token.key": bytes(32), "decisions/p-1.example.key": b"d" * 32}


@pytest.fixture(scope="module")
def box():
    return keybox.seal(KEYS, PASSPHRASE, AT)


def test_it_opens_with_the_passphrase(box):
    assert keybox.open_box(box, PASSPHRASE) == KEYS
    assert box.startswith("smsfilter keys 1\nmade: 2025-11-27T05:38:14.000000Z\n")
    assert "holds: decisions/p-1.example.key token.key\n" in box
    assert KEYS["token.key"].hex() not in box


def test_it_opens_with_no_other(box):
    with pytest.raises(KeyFileError, match="another one, or the file was altered"):
        keybox.open_box(box, PASSPHRASE + "s")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2025", "2024"),
        ("token.key", "data.key"),
        ("salt=", "salt=0"),
        ("smsfilter keys 1", "smsfilter keys 2"),
        ("n=131072", "n=2"),
        ("\n\n", "\n"),
        ("\n\n", "\n\n!"),
    ],
)
def test_nothing_in_it_can_be_changed(box, old, new):
    with pytest.raises(KeyFileError):
        keybox.open_box(box.replace(old, new, 1), PASSPHRASE)


def test_nothing_can_be_cut_off(box):
    with pytest.raises(KeyFileError):
        keybox.open_box(box[:-8], PASSPHRASE)


@pytest.mark.parametrize("name", ["../../etc/passwd", "decisions/../x.key", "/x.key", "decisions/"])
def test_it_writes_nowhere_else(name, monkeypatch):
    monkeypatch.setattr(keybox, "_stretched", lambda passphrase, salt: bytes(32))  # half a second
    with pytest.raises(KeyFileError, match="what is no key"):
        keybox.open_box(keybox.seal({name: bytes(32)}, PASSPHRASE, AT), PASSPHRASE)


def test_a_short_passphrase_is_refused():
    with pytest.raises(KeyFileError, match="at least 12 characters"):
        keybox.seal(KEYS, "too short", AT)


def test_keys_are_brought_back_where_there_are_none(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    keyring.make(old)
    keybox.take_in(old, "p1", b"1" * 32)
    keyfiles.write(old / "keys" / "decisions.key", b"2" * 32)
    keys = keybox.collect(old)
    assert sorted(keys) == [
        "data.key",
        "decisions.key",
        "decisions/p1.key",
        "ledger-sign.key",
        "token.key",
    ]

    assert len(keybox.bring_back(new, keys).written) == 5

    assert keybox.collect(new) == keys
    assert (new / "keys/ledger.pub").read_bytes() == (old / "keys/ledger.pub").read_bytes()
    again = keybox.bring_back(new, keys)
    assert (again.written, len(again.same)) == ([], 5)


def test_no_key_is_written_over_another(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    keyring.make(old)
    keyfiles.make(new / "keys" / "data.key")
    before = keyfiles.read(new / "keys" / "data.key")

    with pytest.raises(KeyFileError, match=r"data\.key is another key: nothing was written"):
        keybox.bring_back(new, keybox.collect(old))

    assert [path.name for path in (new / "keys").iterdir()] == ["data.key"]
    assert keyfiles.read(new / "keys" / "data.key") == before


def test_the_key_of_the_hosts_own_proxy_stays(tmp_path):
    keyfiles.write(tmp_path / "keys" / "decisions.key", b"n" * 32)
    brought = keybox.bring_back(tmp_path, {"decisions.key": b"o" * 32})
    assert brought.other == [tmp_path / "keys" / "decisions.key"]
    assert keyfiles.read(brought.other[0]) == b"n" * 32


@pytest.mark.parametrize("name", ["", "../p", ".p", "p/q", "p" * 65])
def test_a_proxy_is_named_by_a_name(tmp_path, name):
    with pytest.raises(KeyFileError, match="no name of a proxy"):
        keybox.take_in(tmp_path, name, bytes(32))


# the commands


def test_from_one_folder_to_another_by_commands(tmp_path, capsys):
    old, new = At(tmp_path / "old"), At(tmp_path / "new")
    box, secret = tmp_path / "box", tmp_path / "passphrase"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    how = ["--passphrase-file", str(secret)]
    assert main(["desk", "init", "-c", str(old.file)]) == 0
    assert "made " in capsys.readouterr().out

    assert main(["desk", "key", "export", str(box), *how, "-c", str(old.file)]) == 0
    assert stat.S_IMODE(box.stat().st_mode) == 0o600
    assert main(["desk", "key", "export", str(box), *how, "-c", str(old.file)]) == 1
    assert "File exists" in capsys.readouterr().err
    assert main(["desk", "key", "import", str(box), *how, "-c", str(new.file)]) == 0
    assert "wrote " in capsys.readouterr().out
    assert keybox.collect(new.state) == keybox.collect(old.state)
    secret.write_text("something else entirely\n")
    assert main(["desk", "key", "import", str(box), *how, "-c", str(new.file)]) == 1
    assert "altered" in capsys.readouterr().err


def test_a_proxys_key_is_taken_in(tmp_path, capsys):
    desk = At(tmp_path / "desk")
    keyfiles.make(tmp_path / "decisions.key")
    taking = ["desk", "key", "import", "--decisions", "sms1", str(tmp_path / "decisions.key")]
    assert main([*taking, "-c", str(desk.file)]) == 0
    assert main([*taking, "-c", str(desk.file)]) == 0
    assert "sms1.key is there already" in capsys.readouterr().out
    taken = keyfiles.read(desk.state / "keys" / "decisions" / "sms1.key")
    assert taken == keyfiles.read(tmp_path / "decisions.key")
    (tmp_path / "decisions.key").chmod(0o644)
    assert main([*taking, "-c", str(desk.file)]) == 1
    assert "chmod 600" in capsys.readouterr().err


def test_an_init_that_misses_a_key_says_what_brings_it_back(tmp_path, capsys):
    desk = At(tmp_path)
    assert main(["desk", "init", "-c", str(desk.file)]) == 0
    (desk.state / "keys" / "token.key").unlink()
    assert main(["desk", "init", "-c", str(desk.file)]) == 1
    assert "smsfilter desk key import FILE" in capsys.readouterr().err


@pytest.mark.parametrize(("second", "status"), [(PASSPHRASE, 0), ("another one, too", 1)])
def test_a_terminal_is_asked_twice(tmp_path, second, status):
    desk = At(tmp_path)
    keyring.make(desk.state)
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "smsfilter", "desk", "key", "export", str(tmp_path / "box")]
    with subprocess.Popen(
        [*command, "-c", str(desk.file)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        for word, typed in ((b"passphrase: ", PASSPHRASE), (b"the same again: ", second)):
            said = b""
            while word not in said:
                said += os.read(controller, 1024)
            assert PASSPHRASE.encode() not in said
            os.write(controller, typed.encode() + b"\n")
        assert process.wait(30) == status
    os.close(controller)
    assert (tmp_path / "box").exists() is (status == 0)


def test_without_a_terminal_nothing_is_asked(tmp_path):
    desk = At(tmp_path)
    keyring.make(desk.state)
    command = [sys.executable, "-m", "smsfilter", "desk", "key", "export", str(tmp_path / "box")]
    done = subprocess.run(
        [*command, "-c", str(desk.file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "use --passphrase-file FILE" in done.stderr
