"""The configuration: its defaults, what it refuses, the environment, and the shipped files."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from smsfilter.config import (
    Config,
    ConfigError,
    DecisionsConfig,
    Limits,
    LogConfig,
    Timeouts,
    load,
    load_config,
    load_policy,
    load_yaml,
)
from smsfilter.deskconfig import CentreTimeouts, DeskConfig, ReportCentreConfig
from smsfilter.ends import Address
from smsfilter.rules.policy import Policy

MINIMAL = """
proxy:
  listen: ["0.0.0.0:2775"]
  smsc: ["127.0.0.1:2776"]
redis: {url: "redis://127.0.0.1:6379/0"}
"""
SHIPPED = Path(__file__).parents[2] / "config"


def written(directory: Path, text: str = MINIMAL, policy: str = "version: 1\n") -> Path:
    (directory / "policy.yaml").write_text(policy, encoding="utf-8")
    path = directory / "smsfilter.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(path, environ or {})
    return [str(p).removeprefix(f"{path.parent}/") for p in raised.value.problems]


def with_value(directory: Path, section: str, line: str) -> list[str]:
    """The messages about MINIMAL with one more line (or another one) in a section."""
    key = line.partition(":")[0]
    text = re.sub(rf"^  {key}:.*\n", "", MINIMAL, flags=re.M)
    if section == "redis":
        text = text.replace('redis: {url: "redis://127.0.0.1:6379/0"}\n', "")
        url = "" if key == "url" else '  url: "redis://127.0.0.1:6379/0"\n'
        text += f"redis:\n{url}  {line}\n"
    elif section == "proxy":
        text = text.replace("proxy:\n", f"proxy:\n  {line}\n")
    else:
        text += f"{section}:\n  {line}\n"
    return [p.split(": ", 1)[1] for p in problems(written(directory, text))]


def test_the_least_that_has_to_be_said(tmp_path: Path) -> None:
    config = load_config(written(tmp_path), {})

    assert [str(one.address) for one in config.proxy.listen] == ["0.0.0.0:2775"]
    assert config.proxy.smsc[0].address == Address("127.0.0.1", 2776)
    assert config.proxy.smsc[0].source_address is None
    assert config.proxy.workers == 1
    assert config.proxy.policy == tmp_path / "policy.yaml"
    assert config.proxy.admin == Address("127.0.0.1", 9775)
    assert config.redis.prefix == ""
    assert config.redis.deadline == timedelta(milliseconds=50)
    assert config.redis.password() is None
    assert config.state_dir == Path("/var/lib/smsfilter")
    assert (config.log.format, config.log.level, config.log.decisions) == (
        "json",
        "info",
        "refused",
    )
    assert config.proxy.timeouts == Timeouts(
        bind="10s",
        connect="3s",
        partial="30s",
        unread="30s",
        response="300s",
        idle="0s",
        drain="10s",
    )
    assert config.proxy.limits == Limits(
        pdu=70000, pdu_before_bind=1024, bind_password_max=8, per_ip=256, sessions=10000
    )


def test_addresses_in_all_their_forms() -> None:
    config = load_yaml(
        "proxy:\n"
        '  listen: ["[::]:2775", {address: localhost:0}]\n'
        "  smsc: [{address: smsc.example:1, source_address: 192.0.2.10}, '[2001:db8::1]:1']\n"
        "  admin: null\n"
        "redis: {url: 'embedded:'}\n",
        Config,
    )

    assert [str(one.address) for one in config.proxy.listen] == ["[::]:2775", "localhost:0"]
    assert config.proxy.smsc[0].source_address == "192.0.2.10"
    assert config.proxy.smsc[1].address == Address("2001:db8::1", 1)
    assert config.proxy.admin is None


def test_a_single_address_needs_no_list() -> None:
    config = load_yaml(MINIMAL.replace("[", "").replace("]", ""), Config)

    assert len(config.proxy.listen) == len(config.proxy.smsc) == 1


@pytest.mark.parametrize(
    "text",
    ["2775", ":2775", "0.0.0.0", "0.0.0.0:", "0.0.0.0:65536", "::1:2775", "a b:1", "h:-1", "h:１"],
)
def test_what_is_no_address(tmp_path: Path, text: str) -> None:
    (message,) = with_value(tmp_path, "proxy", f"admin: '{text}'")

    assert message.startswith("not an address: write host:port, such as")


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("proxy", "workers: auto", "more than one worker is not supported yet: write 1"),
        ("proxy", "workers: 2", "more than one worker is not supported yet: write 1"),
        ("proxy", "listen: []", "needs one or more addresses"),
        ("proxy", "smsc: []", "needs one or more addresses"),
        ("proxy", "smsc: '127.0.0.1:0'", "the port of an SMSC cannot be 0"),
        (
            "proxy",
            "smsc: [{address: 'h:1', source_address: h}]",
            "not an IP address of this machine, such as 192.0.2.10",
        ),
        ("proxy", "limits: {sessions: 0}", "'0' must be 1 or more"),
        ("proxy", "limits: {per_ip: -1}", "'-1' must be 1 or more"),
        ("proxy", "limits: {pdu: 15}", "'15' must be 16 or more"),
        ("proxy", "limits: {pdu: many}", "'many' is not a whole number"),
        ("proxy", "timeouts: {bind: 0s}", "must be longer than 0s"),
        (
            "proxy",
            "timeouts: {bind: 10}",
            "not a duration: write a number and a unit: 50ms, 10s, 5m, 48h or 180d",
        ),
        ("redis", "deadline: 2s", "must be 1s or less: senders send again after 2s"),
        (
            "redis",
            "prefix: 'a {b}'",
            "'a {b}' does not fit: what all keys begin with; no blanks, no braces",
        ),
        ("log", "format: xml", "'xml' is not allowed here; write console, json"),
        ("log", "level: warn", "'warn' is not allowed here; did you mean 'warning'?"),
        (
            "log",
            "decisions: sample:0",
            "'sample:0' does not fit: which verdicts: refused, all, or one in N: sample:N",
        ),
    ],
)
def test_values_that_are_refused(tmp_path: Path, section: str, line: str, message: str) -> None:
    assert with_value(tmp_path, section, line) == [message]


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://user@localhost:6379/3",
        "redis://[::1]:6379/0",
        "rediss://redis.example.net:6380/0?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis/redis.sock?db=2",
        "sentinel://10.0.0.1:26379,10.0.0.2/mymaster/0",
        "embedded:",
    ],
)
def test_urls_of_redis(url: str) -> None:
    config = load_yaml(MINIMAL.replace("redis://127.0.0.1:6379/0", url), Config)

    assert config.redis.url == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("cluster://h:1", "cluster:// is not supported yet; use redis:// or sentinel://"),
        ("http://h", "not a URL of a Redis; write redis://host:6379/0"),
        ("127.0.0.1:6379", "not a URL of a Redis; write"),
        ("redis://", "not a URL of a Redis; write"),
        ("redis://h:port/0", "not a URL of a Redis; write"),
        ("redis://h:１", "not a URL of a Redis; write"),
        ("redis://h/name", "not a URL of a Redis; write"),
        ("unix://relative", "not a URL of a Redis; write"),
        ("sentinel://h", "not a URL of a Redis; write"),
        ("redis://:hush@h/0", "no password in the URL: put it in a file named by redis.password_"),
        ("sentinel://u:hush@h/m", "no password in the URL: put it in a file named by redis."),
    ],
)
def test_what_is_no_url_of_redis(tmp_path: Path, url: str, message: str) -> None:
    (said,) = with_value(tmp_path, "redis", f"url: '{url}'")

    assert said.startswith(message)
    assert "hush" not in said


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/secret").write_text("hush\n")
    text = MINIMAL.replace("smsc:", "policy: rules/p.yaml\n  smsc:") + "state_dir: state\n"
    text = text.replace("{url:", "{password_file: secret, url:")
    written(tmp_path / "etc", text)
    monkeypatch.chdir(tmp_path)

    config = load_config("etc/smsfilter.yaml", {})

    assert config.proxy.policy == tmp_path / "etc/rules/p.yaml"
    assert config.state_dir == tmp_path / "etc/state"
    assert config.redis.password_file == tmp_path / "etc/secret"
    assert config.redis.password() == "hush"
    assert "hush" not in repr(config)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "the file is empty; it must hold the password"),
        (b"\n", "the file is empty; it must hold the password"),
        (b"\xff\xfe", "a password must be UTF-8 text"),
    ],
)
def test_a_password_that_cannot_be_read(tmp_path: Path, content: bytes | None, why: str) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)

    path = written(tmp_path, MINIMAL.replace("{url:", "{password_file: secret, url:"))

    assert problems(path) == [f"smsfilter.yaml:5:24: {secret}: {why}"]


def test_environment_variables_win(tmp_path: Path) -> None:
    config = load_config(
        written(tmp_path),
        {
            "SMSFILTER__PROXY__ADMIN": "127.0.0.1:1",
            "SMSFILTER__PROXY__LISTEN": "127.0.0.1:2",
            "SMSFILTER__PROXY__SMSC": '["127.0.0.1:3", {address: "127.0.0.1:4"}]',
            "SMSFILTER__PROXY__TIMEOUTS__BIND": "1m",
            "SMSFILTER__LOG": "{format: console}",
            "SMSFILTER__STATE_DIR": "/tmp/x",
            "SMSFILTER_OTHER": "not ours",
            "PATH": "/bin",
        },
    )

    assert config.proxy.admin == Address("127.0.0.1", 1)
    assert config.proxy.listen[0].address.port == 2
    assert [one.address.port for one in config.proxy.smsc] == [3, 4]
    assert config.proxy.timeouts.bind == timedelta(minutes=1)
    assert config.proxy.timeouts.connect == timedelta(seconds=3)
    assert config.log.format == "console"
    assert config.state_dir == Path("/tmp/x")


@pytest.mark.parametrize("nothing", ["", "null", "~"])
def test_an_empty_variable_is_nothing_and_so_is_what_the_file_takes_for_it(
    tmp_path: Path, nothing: str
) -> None:
    assert load_config(written(tmp_path), {"SMSFILTER__PROXY__ADMIN": nothing}).proxy.admin is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SMSFILTER__PROXI__ADMIN", "x:1", "unknown key 'proxi'; did you mean 'proxy'?"),
        ("SMSFILTER__PROXY__ADMN", "x:1", "unknown key 'admn'; did you mean 'admin'?"),
        ("SMSFILTER__PROXY__LIMITS__PDU", "x", "'x' is not a whole number"),
        ("SMSFILTER__PROXY__SMSC", "[{adress: 'h:1'}]", "unknown key 'adress'; did you mean"),
        ("SMSFILTER__PROXY__SMSC", "[", "not YAML: "),
        ("SMSFILTER__PROXY__LISTEN__PORT", "1", "proxy.listen has no keys below it"),
        ("SMSFILTER__", "1", "unknown key ''"),
    ],
)
def test_errors_of_the_environment_name_the_variable(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    found = problems(written(tmp_path), {name: value})

    assert any(line.startswith(f"{name}: {message}") for line in found), found
    assert all(line.startswith(f"{name}: ") for line in found), found


def test_the_environment_reaches_what_the_file_does_not_have(tmp_path: Path) -> None:
    path = written(tmp_path, "proxy:\n")
    environ = {
        "SMSFILTER__PROXY__LISTEN": "h:1",
        "SMSFILTER__PROXY__SMSC": "h:2",
        "SMSFILTER__REDIS__URL": "embedded:",
    }

    assert load_config(path, environ).redis.url == "embedded:"


def test_errors_of_both_files_come_together(tmp_path: Path) -> None:
    text = MINIMAL.replace("smsc:", "policy: p.yaml\n  smsc:") + "lgo: {}\n"
    path = written(tmp_path, text)
    (tmp_path / "p.yaml").write_text("mode: shaddow\ntimezone: Asia/Shangai\n")

    assert problems(path) == [
        "smsfilter.yaml:7:1: unknown key 'lgo'; did you mean 'log'?",
        "p.yaml:1:7: 'shaddow' is not allowed here; did you mean 'shadow'?",
    ]


def test_a_policy_that_is_empty_or_missing_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, policy="# rules follow\n")
    assert problems(path) == ["policy.yaml:1:1: the file is empty; nothing is set by it"]

    (tmp_path / "policy.yaml").unlink()
    assert problems(path) == ["policy.yaml: cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("name", "near"),
    [("Asia/Shangai", "did you mean 'Asia/Shanghai'?"), ("Asia", ""), ("../x", ""), ("8", "")],
)
def test_timezones(tmp_path: Path, name: str, near: str) -> None:
    path = written(tmp_path, policy=f"version: 1\ntimezone: {name}\n")

    (problem,) = problems(path)

    assert problem.startswith(f"policy.yaml:2:11: no such timezone: '{name}'; ")
    assert near in problem


def test_load_policy_and_load_agree(tmp_path: Path) -> None:
    path = written(tmp_path, policy="version: 1\nmode: shadow\n")

    assert load(path, {}).policy == load_policy(tmp_path / "policy.yaml")
    assert load(path, {}).config == load_config(path, {})


def test_the_shipped_files_hold_the_defaults() -> None:
    loaded = load(SHIPPED / "smsfilter.yaml", {})
    least = load_yaml(MINIMAL, Config)

    assert loaded.config.redis == least.redis
    assert loaded.config.log == least.log
    assert loaded.config.state_dir == least.state_dir
    assert loaded.config.proxy.model_copy(update={"policy": Path("policy.yaml")}) == least.proxy
    assert loaded.policy == Policy(refused_destinations=("10086999",))


DESK_BEGINS = "# leave both sections out.\n#\n"


def test_what_the_shipped_file_comments_out_are_the_defaults() -> None:
    text = (SHIPPED / "smsfilter.yaml").read_text(encoding="utf-8").split(DESK_BEGINS)[0]
    keys = {
        key
        for model in (Timeouts, Limits, LogConfig, DecisionsConfig)
        for key in model.model_fields
    } | {"timeouts", "limits", "log", "prefix", "deadline"}
    bare = re.sub(rf"^( *)# ( *(?:{'|'.join(keys)}):)", r"\1\2", text, flags=re.M)

    assert bare.count("\n  #") < text.count("\n  #")
    assert load_yaml(bare, Config) == load_yaml(text, Config)


def test_what_the_shipped_file_shows_of_the_desk_are_the_defaults() -> None:
    text = (SHIPPED / "smsfilter.yaml").read_text(encoding="utf-8")
    head, example = text.split(DESK_BEGINS)
    bare = re.sub(r"^# ?", "", example, flags=re.M)
    config = load_yaml(f"{head}\n{bare}", Config)

    assert config.desk is not None
    # examples: by default the proxy beside the desk, one branch, and nobody else is told
    assert config.desk.decisions
    assert config.desk.branches
    assert config.desk.webhook
    assert config.desk.model_copy(
        update={"decisions": None, "branches": {}, "webhook": None}
    ) == DeskConfig(
        report_centre=ReportCentreConfig(
            smsc=("127.0.0.1:2776",),
            system_id="10086999",
            password_file=Path("/etc/smsfilter/centre-password"),
        )
    )
    assert set(DeskConfig.model_fields) == set(config.desk.model_fields_set)
    centre = config.desk.report_centre
    assert set(ReportCentreConfig.model_fields) == set(centre.model_fields_set)
    assert set(CentreTimeouts.model_fields) == set(centre.timeouts.model_fields_set)
    assert config.records.sqlite_file(Path("/x")) == Path("/var/lib/smsfilter/records.db")


def test_the_shipped_example_of_an_account_is_legal() -> None:
    text = (SHIPPED / "policy.yaml").read_text(encoding="utf-8")
    head, example = text.split("accounts: {}\n")
    bare = re.sub(r"^# ", "", example, flags=re.M)

    policy = load_yaml(f"{head}{bare}", Policy)

    assert policy.accounts["acme"].max_sessions == 8
    assert policy.accounts["acme"].status == {"blocked_by_report": 0x0B}
