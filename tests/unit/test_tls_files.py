"""The `tls:` sections: what is wrong with their files, where, and what `check` says of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from smsfilter.cli.main import main
from smsfilter.config import ConfigError, Loaded, load
from smsfilter.metrics import Metrics, render
from smsfilter.proxy.keyring import Keyring
from smsfilter.tls import Role
from tests.fakes.certificates import Authority, Issued

POLICY = 'version: 1\nrefused_destinations: ["10086999"]\n'
DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def own(authority: Authority) -> Issued:
    return authority.issue("proxy")


def written(directory: Path, listen: dict[str, Any], smsc: dict[str, Any] | None = None) -> Path:
    """A configuration with one TLS address; the file's lines are those of its sections."""
    upstream = {"address": "127.0.0.1:2776", **({"tls": smsc} if smsc is not None else {})}
    config = {
        "proxy": {
            "listen": [{"address": "127.0.0.1:0", "tls": listen}],
            "smsc": [upstream],
            "limits": {"sessions": 8},
        },
        "redis": {"url": "redis://127.0.0.1:6379/0"},
    }
    (directory / "policy.yaml").write_text(POLICY)
    path = directory / "smsfilter.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    return [str(problem).replace(f"{path.parent}/", "") for problem in raised.value.problems]


def test_paths_are_relative_to_the_configuration(
    tmp_path: Path, authority: Authority, own: Issued
) -> None:
    listen = {"certificate": own.certificate.name, "key": own.key.name, "client_ca": "ca.pem"}
    loaded = load(written(tmp_path, listen, {"ca": "ca.pem", "server_name": "smsc.example"}), {})
    (_, server), (_, client) = loaded.config.proxy.secured()
    assert [server.certificate, server.key] == [own.certificate, own.key]
    roles = [one.role for section in (server, client) for one in section.read().certificates]
    assert roles == [Role.LISTEN_CERTIFICATE, Role.LISTEN_CLIENT_CA, Role.SMSC_CA]


def encrypted(own: Issued) -> bytes:
    key: Any = load_pem_private_key(own.key.read_bytes(), None)
    hidden = BestAvailableEncryption(b"secret")
    octets: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)
    return octets


def other_key(own: Issued) -> bytes:
    return Authority(own.key.parent, "other").issue("x").key.read_bytes()


@pytest.mark.parametrize(
    ("key", "content", "said"),
    [
        ("certificate", None, "ca-proxy.crt cannot be read: No such file or directory"),
        ("certificate", b"", "ca-proxy.crt holds no certificate in PEM form, or a broken one"),
        (
            "certificate",
            b"\xff\x00",
            "ca-proxy.crt holds no certificate in PEM form, or a broken one",
        ),
        ("key", None, "ca-proxy.key cannot be read: No such file or directory"),
        ("key", b"-----BEGIN", "ca-proxy.key holds no private key in PEM form, or a broken one"),
        ("key", encrypted, "the key in ca-proxy.key has a passphrase: write it without one"),
        ("key", other_key, "ca-proxy.key is not the key of the first certificate in ca-proxy.crt"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_at_its_place(
    tmp_path: Path, own: Issued, key: str, content: Any, said: str
) -> None:
    file: Path = getattr(own, key)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content(own) if callable(content) else content)
    line = {"certificate": 5, "key": 6}[key]
    (problem,) = problems(written(tmp_path, own.section()))
    assert problem.startswith(f"smsfilter.yaml:{line}:")
    assert problem.endswith(f": {said}")


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_ca_that_cannot_be_used(
    tmp_path: Path, authority: Authority, own: Issued, content: str
) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text(content)
    path = written(tmp_path, {**own.section(), "client_ca": str(bad)}, {"ca": str(bad)})
    message = "bad.pem holds no certificate in PEM form, or a broken one"
    assert [problem.split(": ", 1)[1] for problem in problems(path)] == [message, message]


def test_a_certificate_needs_its_key_and_other_keys_are_unknown(
    tmp_path: Path, own: Issued
) -> None:
    path = written(tmp_path, {"certificate": "x", "kye": "y"}, {"certificate": "x"})
    said = [problem.split(": ", 1)[1] for problem in problems(path)]
    assert said == [
        "'key' is missing: PEM file: its private key, without a passphrase",
        "unknown key 'kye'; did you mean 'key'?",
        "certificate and key belong together: write both or none",
    ]


def test_networks_of_balancers(tmp_path: Path, own: Issued) -> None:
    path = written(tmp_path, own.section())
    path.write_text(
        path.read_text().replace("    tls:", "    proxy_protocol_from: [10.0.0.1/8]\n    tls:")
    )
    (problem,) = problems(path)
    assert "is not an IP network" in problem


# check


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    status = main(["check", "-c", str(path)])
    lines = capsys.readouterr().err.replace(f"{path.parent}/", "").splitlines()
    return status, lines


def test_good_sections_need_no_warning(
    tmp_path: Path, authority: Authority, own: Issued, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, own.section(), {"ca": str(authority.ca)})
    assert check(path, capsys) == (0, [])


def test_an_expired_certificate_is_an_error_of_check_and_not_of_the_proxy(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    own = authority.issue("proxy", not_before=now - 9 * DAY, not_after=now - DAY)
    path = written(tmp_path, own.section())
    assert isinstance(load(path, {}), Loaded)
    status, (line,) = check(path, capsys)
    assert status == 1
    assert line.startswith("smsfilter.yaml:5:")
    assert line.endswith(f"ca-proxy.crt has expired on {now - DAY:%Y-%m-%d}")


@pytest.mark.parametrize(("days", "warned"), [(29, True), (31, False)])
def test_a_certificate_that_ends_within_thirty_days_is_a_warning(
    tmp_path: Path,
    authority: Authority,
    capsys: pytest.CaptureFixture[str],
    days: int,
    warned: bool,
) -> None:
    own = authority.issue("proxy", not_after=datetime.now(UTC) + days * DAY)
    status, lines = check(written(tmp_path, own.section()), capsys)
    assert status == 0
    assert [
        ": warning: ca-proxy.crt expires on" in line.split("yaml", 1)[1][4:] for line in lines
    ] == ([True] if warned else [])


def test_what_protects_nobody_is_a_warning(
    tmp_path: Path, own: Issued, capsys: pytest.CaptureFixture[str]
) -> None:
    own.key.chmod(0o644)
    path = written(tmp_path, own.section(), {"verify": "no"})
    (tmp_path / "policy.yaml").write_text(POLICY + 'accounts: {acme: {certificates: ["cn:a"]}}\n')
    status, lines = check(path, capsys)
    assert status == 0
    assert [line.split(" warning: ")[1] for line in lines] == [
        "ca-proxy.key can be read by every user: chmod 640 ca-proxy.key",
        "verify is false: anybody can pose as this SMSC and read every message",
        "account 'acme' can bind nowhere: no address of proxy.listen has a client_ca",
    ]


# in the daemon


def test_contexts_are_exchanged_all_together(
    tmp_path: Path, authority: Authority, own: Issued
) -> None:
    config = load(written(tmp_path, own.section(), {"ca": str(authority.ca)}), {}).config.proxy
    metrics = Metrics()
    keyring = Keyring(config, metrics)
    sections = [section for _, section in config.secured()]
    before = [keyring.context(section) for section in sections]
    ends = datetime.now(UTC).replace(microsecond=0) + 40 * DAY
    authority.issue("proxy", not_after=ends)
    fresh = keyring.read()
    assert [keyring.context(section) for section in sections] == before
    keyring.take(fresh)
    assert not {keyring.context(section) for section in sections} & set(before)
    assert metrics.certificates[Role.LISTEN_CERTIFICATE] == ends.timestamp()
    name = "smsfilter_certificate_expiration_timestamp_seconds"
    assert f'{name}{{role="listen_certificate"}} ' in render(metrics).decode()
