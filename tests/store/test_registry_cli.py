"""`smsfilter registry` and `smsfilter index`, as an operator types them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from smsfilter.cli import store as cli_store
from smsfilter.cli.main import main
from tests.fakes.process import free_port
from tests.fakes.redis_server import RedisServer

pytestmark = pytest.mark.redis

REGISTRY = """\
companies:
  acme:
    name: Acme Trading
    accounts: [acme, acme2]
    sources: ["10657555", {prefix: "106905551", valid_from: 2026-01-01, valid_to: 2099-12-31}]
    headers: [ACME, 某公司]
  bravo:
    accounts: [bravo]
    sources: [10658888]
resellers:
  resell7: {may_send_for: [acme, bravo]}
"""

Said = tuple[int, str, str]
Type = Callable[..., Said]


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer, redis_client: redis.Redis) -> Path:
    """A folder with smsfilter.yaml, policy.yaml and registry.yaml; Redis is empty."""
    return configured(tmp_path, redis_server.url)


def configured(folder: Path, url: str, **policy: Any) -> Path:
    config = {
        "proxy": {"listen": "127.0.0.1:0", "smsc": "127.0.0.1:1"},
        "redis": {"url": url},
        "state_dir": "state",
    }
    (folder / "smsfilter.yaml").write_text(yaml.safe_dump(config))
    (folder / "policy.yaml").write_text(yaml.safe_dump({"version": 1, **policy}))
    (folder / "registry.yaml").write_text(REGISTRY)
    return folder


@pytest.fixture
def type_in(site: Path, capsys: pytest.CaptureFixture[str]) -> Type:
    """Types a command, gives exit status, standard output and standard error."""

    def run(*words: str) -> Said:
        status = main([*words, "-c", str(site / "smsfilter.yaml")])
        return status, *capsys.readouterr()

    return run


# --- registry


def test_load_and_show(type_in: Type, site: Path, tmp_path: Path) -> None:
    status, out, err = type_in("registry", "load", str(site / "registry.yaml"))
    assert status == 0
    assert "2 companies, 3 accounts, 3 sources, 2 headers, 1 reseller; in force within 2 s" in out
    assert "index is not marked as filled" in err
    version = out.split()[1].rstrip(":")

    status, shown, err = type_in("registry", "show")
    assert (status, err) == (0, "")
    assert version in shown
    assert "by file at 20" in shown

    again = tmp_path / "shown.yaml"
    again.write_text(shown)
    status, out, _ = type_in("registry", "load", str(again))
    assert status == 0
    assert out.startswith(f"registry {version}: ")
    assert out.endswith("; unchanged\n")

    status, out, _ = type_in("registry", "show", "--json")
    told = json.loads(out)
    assert (status, told["version"], told["owner"]) == (0, version, "file")
    assert told["companies"]["bravo"] == {"accounts": ["bravo"], "sources": ["10658888"]}
    assert told["companies"]["acme"]["headers"] == ["ACME", "某公司"]


def test_a_file_with_errors_changes_nothing(
    type_in: Type, site: Path, redis_client: redis.Redis
) -> None:
    type_in("registry", "load", str(site / "registry.yaml"))
    before = redis_client.get("registry:version")
    bad = site / "bad.yaml"
    bad.write_text("companies:\n  acme:\n    source: [1]\n  b b:\n    sources: [x]\n")
    status, out, err = type_in("registry", "load", str(bad))
    assert (status, out) == (1, "")
    assert f"{bad}:3:5: " in err
    assert "sources" in err
    assert f"{bad}:5:15: " in err
    assert redis_client.get("registry:version") == before
    for text in ("", "companies: {a: {sources: [1]}, a: {sources: [2]}}", "- 1", "{"):
        bad.write_text(text)
        status, _, err = type_in("registry", "load", str(bad))
        assert status == 1
        assert str(bad) in err
    assert type_in("registry", "load", str(site / "none.yaml"))[0] == 1
    assert redis_client.get("registry:version") == before


def test_a_registry_of_a_desk_is_left_to_it(
    type_in: Type, site: Path, redis_client: redis.Redis
) -> None:
    file = str(site / "registry.yaml")
    type_in("registry", "load", file)
    version = redis_client.get("registry:version")
    redis_client.hset(f"registry:{version.decode()}", "owner", "desk:5f3a")
    (site / "registry.yaml").write_text("companies: {}")
    for attempt in (1, 2):
        status, _, errors = type_in("registry", "load", file)
        assert (attempt, status) == (attempt, 1)
        assert f"smsfilter company import {file}" in errors
    assert redis_client.get("registry:version") == version


def test_an_empty_registry_is_named(type_in: Type, site: Path) -> None:
    (site / "registry.yaml").write_text("companies: {}\n")
    status, out, err = type_in("registry", "load", str(site / "registry.yaml"))
    assert status == 0
    assert "0 companies" in out
    assert "it has no company" in err


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("acme", "acme is the company acme (Acme Trading)"),
        ("acme", "acme is an account of acme (Acme Trading)"),
        ("acme", "acme is a header of acme (Acme Trading), registered as ACME"),
        ("acme2", "acme2 is an account of acme (Acme Trading)"),
        ("resell7", "resell7 is a reseller that may send for acme (Acme Trading), bravo"),
        ("1065755501", "1065755501 is a source of acme (Acme Trading), by its prefix 10657555"),
        ("+8610658888", "+8610658888 is a source of bravo, by its prefix 10658888"),
        ("10690555123", "by its prefix 106905551, until 2100-01-01T00:00+08:00"),
        ("Ａｃｍｅ", "Ａｃｍｅ is a header of acme (Acme Trading), registered as ACME"),
        ("АСМЕ", "АСМЕ imitates ACME of acme (Acme Trading), and is nobody's own"),
    ],
)
def test_who(type_in: Type, site: Path, name: str, sentence: str) -> None:
    type_in("registry", "load", str(site / "registry.yaml"))
    status, out, err = type_in("registry", "who", name)
    assert (status, err) == (0, "")
    assert sentence in out


def test_who_in_json_and_nobody(type_in: Type, site: Path) -> None:
    type_in("registry", "load", str(site / "registry.yaml"))
    status, out, _ = type_in("registry", "who", "1065755501", "--json")
    assert status == 0
    assert json.loads(out) == [
        {"kind": "source", "name": "10657555", "companies": ["acme"], "valid_until": None}
    ]
    status, out, _ = type_in("registry", "who", "nobody")
    assert status == 1
    assert "nobody is nothing in registry" in out
    assert type_in("registry", "who", "nobody", "--json")[:2] == (1, "[]\n")


@pytest.mark.parametrize("words", [("show",), ("who", "acme"), ("show", "--json")])
def test_before_the_first_load(type_in: Type, words: tuple[str, ...]) -> None:
    status, out, err = type_in("registry", *words)
    assert (status, out) == (1, "")
    assert "no registry was loaded" in err
    assert "smsfilter registry load" in err


def test_a_damaged_registry_is_one_line(
    type_in: Type, site: Path, redis_client: redis.Redis
) -> None:
    type_in("registry", "load", str(site / "registry.yaml"))
    version = redis_client.get("registry:version")
    assert isinstance(version, bytes)
    redis_client.hset(f"registry:{version.decode()}", "json", "{}")
    status, out, err = type_in("registry", "show")
    assert (status, out) == (1, "")
    assert err == f"smsfilter: registry {version.decode()} was altered in Redis: load it again\n"


# --- index


def test_ready(type_in: Type, site: Path, redis_client: redis.Redis) -> None:
    status, out, err = type_in("index", "ready")
    assert status == 0
    assert "marked as filled" in out
    assert "warning: no registry" in err
    assert "warning: no company is approved" in err
    first = redis_client.get("index:epoch")
    assert isinstance(first, bytes)
    assert first.decode() in out

    type_in("registry", "load", str(site / "registry.yaml"))
    redis_client.sadd("approved:{bravo}", "*")
    status, out, err = type_in("index", "ready")
    assert (status, err) == (0, "")
    assert redis_client.get("index:epoch") != first

    status, out, err = type_in("index", "ready", "--json")
    epoch = redis_client.get("index:epoch")
    assert isinstance(epoch, bytes)
    assert json.loads(out) == {"epoch": epoch.decode(), "missing": []}


def test_lint(type_in: Type, site: Path, redis_client: redis.Redis) -> None:
    type_in("registry", "load", str(site / "registry.yaml"))
    type_in("index", "ready")
    assert type_in("index", "lint") == (0, "nothing is wrong in the index\n", "")
    assert type_in("index", "lint", "--json") == (0, "[]\n", "")
    redis_client.sadd("block:{13800138000}", "ACME")
    status, out, err = type_in("index", "lint")
    assert (status, err) == (1, "2 found\n")
    assert "block:{13800138000}: the canonical form of this number is 8613800138000" in out
    assert "cure: redis-cli SADD 'block:{8613800138000}' acme && redis-cli SREM" in out
    status, out, _ = type_in("index", "lint", "--json")
    assert status == 1
    assert [finding["key"] for finding in json.loads(out)] == ["block:{13800138000}"] * 2


def test_lint_goes_by_the_policy(type_in: Type, site: Path, redis_client: redis.Redis) -> None:
    type_in("registry", "load", str(site / "registry.yaml"))
    type_in("index", "ready")
    redis_client.sadd("approved:{charlie}", "*")
    assert type_in("index", "lint")[0] == 1
    (site / "policy.yaml").write_text("version: 1\nunknown: account\n")
    assert type_in("index", "lint")[0] == 0
    (site / "policy.yaml").write_text("version: 1\nunknown: perhaps\n")
    status, _, err = type_in("index", "lint")
    assert status == 1
    assert f"{site / 'policy.yaml'}:2:10: " in err


# --- getting there


@pytest.mark.parametrize(
    "words", [("registry", "show"), ("index", "ready"), ("index", "lint"), ("registry", "who", "a")]
)
def test_redis_is_not_there(
    type_in: Type, site: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    port = free_port()
    configured(site, f"redis://ann@127.0.0.1:{port}")
    status, out, err = type_in(*words)
    assert (status, out) == (1, "")
    assert err == f"smsfilter: redis at redis://ann@127.0.0.1:{port}/0: Connection refused\n"


def test_a_wrong_password_is_said_and_not_shown(
    type_in: Type, site: Path, make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis(password="S3cret")
    configured(site, server.url)
    config = yaml.safe_load((site / "smsfilter.yaml").read_text())
    config["redis"]["password_file"] = "password"
    (site / "smsfilter.yaml").write_text(yaml.safe_dump(config))
    (site / "password").write_text("S3cret\n")
    assert type_in("index", "ready")[0] == 0
    (site / "password").write_text("Wrong\n")
    status, out, err = type_in("index", "ready")
    assert (status, out) == (1, "")
    assert "invalid username-password pair" in err
    assert "Wrong" not in err
    assert len(err.splitlines()) == 1


def test_a_url_that_cannot_be(type_in: Type, site: Path) -> None:
    configured(site, "redis://127.0.0.1/0?ssl_ca_certs=ca.pem")
    status, out, err = type_in("index", "ready")
    assert (status, out) == (1, "")
    assert "smsfilter.yaml" in err
    assert len(err.splitlines()) == 1


def test_the_private_server_runs_for_the_time_of_a_command(type_in: Type, site: Path) -> None:
    configured(site, "embedded:")
    assert type_in("registry", "load", str(site / "registry.yaml"))[0] == 0
    assert not (site / "state" / "redis.sock").exists()
    assert type_in("index", "ready")[0] == 0
    status, out, _ = type_in("registry", "who", "acme2")
    assert (status, out) == (0, "acme2 is an account of acme (Acme Trading)\n")


def test_a_private_server_that_cannot_be(type_in: Type, site: Path) -> None:
    configured(site, "embedded:")
    (site / "state").write_text("in the way")
    status, out, err = type_in("index", "ready")
    assert (status, out) == (1, "")
    assert err.startswith(f"smsfilter: redis at embedded:{site}/state/redis.sock: ")
    assert "not a directory" in err.lower()
    assert len(err.splitlines()) == 1


def test_the_configuration_that_is_meant_without_c(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(site)
    assert str(cli_store.default_path()) == "/etc/smsfilter/smsfilter.yaml"
    (site / "config").mkdir()
    (site / "config" / "policy.yaml").write_text("version: 1\n")
    (site / "smsfilter.yaml").rename(site / "config" / "smsfilter.yaml")
    assert main(["index", "ready"]) == 0
    assert "marked as filled" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [("registry",), ("registry", "load"), ("index", "nothing"), ("registry", "who")]
)
def test_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "usage: smsfilter" in capsys.readouterr().err
