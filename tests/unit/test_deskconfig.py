"""The sections of the desk: defaults, what they refuse, and files that only the desk needs."""

from datetime import date
from pathlib import Path

import pytest

from smsfilter.config import ConfigError, desk_problems, load, load_config
from smsfilter.deskconfig import RecordsConfig
from smsfilter.ends import Address

PROXY = """
proxy: {listen: ["0.0.0.0:2775"], smsc: ["127.0.0.1:2776"]}
redis: {url: "redis://127.0.0.1:6379/0"}
"""
DESK = PROXY + "desk: {report_centre: {smsc: '127.0.0.1:2777', system_id: centre%s}}\n"


def written(directory: Path, text: str) -> Path:
    (directory / "policy.yaml").write_text("version: 1\n")
    path = directory / "smsfilter.yaml"
    path.write_text(text)
    return path


def said(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    return [str(problem).split(": ", 1)[1] for problem in raised.value.problems]


def test_the_proxy_alone_needs_no_desk(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, PROXY), {})

    assert config.desk is None
    assert config.records.sqlite_file(config.state_dir) == Path("/var/lib/smsfilter/records.db")
    assert config.records.password() is None


def test_the_least_that_a_desk_has_to_say(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, DESK % ""), {})

    assert config.desk is not None
    assert config.desk.replies == tmp_path / "replies.yaml"
    assert config.desk.admin == Address("127.0.0.1", 8775)
    centre = config.desk.report_centre
    assert [one.address.port for one in centre.smsc] == [2777]
    assert (centre.address, centre.address_ton, centre.address_npi) == ("10086999", 0, 1)
    assert centre.password() == b""
    numbers = {"110", "119", "120", "122", "12110", "12379", "12381", "96110", "10086999"}
    assert config.desk.unblockable() == numbers


def test_the_records_of_proxies(tmp_path: Path) -> None:
    listed = "[{proxy: p1, path: d}, {proxy: p2, path: /e, key: k, since: 2026-12-01}]"
    text = DESK.replace("desk: {", f"desk: {{decisions: {listed}, ") % ""
    config = load_config(written(tmp_path, text), {})

    assert config.desk is not None
    assert config.desk.decisions is not None
    first, second = config.desk.decisions
    assert (first.path, first.key, first.since) == (tmp_path / "d", None, None)
    assert (second.path, second.key) == (Path("/e"), tmp_path / "k")
    assert second.since == date(2026, 12, 1)


@pytest.mark.parametrize(
    ("listed", "problem"),
    [
        ("[{proxy: p1, path: a}, {proxy: p1, path: b}]", "proxy p1 is there twice"),
        ("[{proxy: p1, path: a}, {proxy: p2, path: a}]", "path a is there twice"),
        ("[{proxy: 'a b', path: a}]", "does not fit"),
        ("[{proxy: p1, path: a, since: soon}]", "date"),
    ],
)
def test_records_of_proxies_that_are_refused(tmp_path: Path, listed: str, problem: str) -> None:
    text = DESK.replace("desk: {", f"desk: {{decisions: {listed}, ") % ""
    (found,) = said(written(tmp_path, text))
    assert problem in found


def test_the_short_code_is_never_blocked(tmp_path: Path) -> None:
    text = DESK.replace("desk: {", "desk: {never_block: '112', ") % ", address: '12321'"
    config = load_config(written(tmp_path, text), {})

    assert config.desk is not None
    assert config.desk.unblockable() == {"112", "12321"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (", address: '+86'", "'+86' does not fit: the short code; 3 to 20 digits"),
        (", address_ton: 256", "'256' must be 255 or less"),
        (", window: 0", "'0' must be 1 or more"),
        (", timeouts: {response: 0s}", "must be longer than 0s"),
        (", smsc: []", "'smsc' is given twice; the first is in line 4"),
        (", passwort_file: x", "unknown key 'passwort_file'; did you mean 'password_file'?"),
    ],
)
def test_values_that_are_refused(tmp_path: Path, more: str, message: str) -> None:
    assert said(written(tmp_path, DESK % more)) == [message]


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:////var/lib/x.db", "/var/lib/x.db"),
        ("postgresql://desk@db.example.net:5432/smsfilter?sslmode=verify-full", None),
        ("postgresql:///smsfilter?host=/run/postgresql", None),
    ],
)
def test_urls_of_records(url: str, file: str | None) -> None:
    assert RecordsConfig(url=url).sqlite_file(Path("/x")) == (Path(file) if file else None)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("records.db", "not a URL of records; write sqlite:///"),
        ("sqlite://records.db", "not a URL of records; write sqlite:///"),
        ("mysql://h/d", "not a URL of records; write sqlite:///"),
        ("postgresql://h", "not a URL of records; write sqlite:///"),
        ("postgresql://u:hush@h/d", "no password in the URL: put it in a file of its own (rec"),
        ("postgresql://u@h/d?password=hush", "no password in the URL: put it in a file of its own"),
    ],
)
def test_what_is_no_url_of_records(tmp_path: Path, url: str, message: str) -> None:
    (line,) = said(written(tmp_path, PROXY + f"records: {{url: '{url}'}}\n"))

    assert line.startswith(message)
    assert "hush" not in line


def test_a_host_of_the_proxy_alone_need_not_have_the_files_of_the_desk(tmp_path: Path) -> None:
    text = DESK % ", password_file: centre, smsc: [{address: 'h:1', tls: {ca: ca.pem}}]"
    text = text.replace("smsc: '127.0.0.1:2777', ", "") + "records: {password_file: records}\n"
    loaded = load(written(tmp_path, text), {})

    assert loaded.config.desk is not None
    assert loaded.config.desk.report_centre.password_file == tmp_path / "centre"
    assert loaded.config.records.password_file == tmp_path / "records"
    missing = [str(problem) for problem in desk_problems(loaded.config, loaded.config_file)]
    assert [line.split(": ", 1)[1] for line in missing] == [
        f"{tmp_path}/ca.pem cannot be read: No such file or directory",
        f"{tmp_path}/centre: cannot be read: No such file or directory",
        f"{tmp_path}/records: cannot be read: No such file or directory",
    ]


def test_a_password_that_no_bind_can_carry(tmp_path: Path) -> None:
    (tmp_path / "centre").write_text("x" * 65)
    loaded = load(written(tmp_path, DESK % ", password_file: centre"), {})

    (problem,) = desk_problems(loaded.config, loaded.config_file)
    assert "not a password of 1 to 64 octets" in str(problem)
    assert "xx" not in str(problem)
