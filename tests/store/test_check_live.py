"""`smsfilter check --live` against a real Redis: each thing that is missing, and its cure."""

import asyncio
import contextlib
import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_py

from smsfilter.cli.main import main
from smsfilter.config import load_yaml
from smsfilter.rules.senders import RegistryFile
from smsfilter.store import registry
from smsfilter.store.address import parse_url
from smsfilter.store.connect import connected
from tests.fakes.certificates import Authority
from tests.fakes.process import free_port
from tests.fakes.redis_server import RedisServer
from tests.fakes.smsc import FakeSMSC

pytestmark = pytest.mark.redis

MakeRedis = Callable[..., RedisServer]
REGISTRY = Path(__file__).parents[2] / "config/registry.yaml"


@pytest.fixture
def smsc_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


class Site:
    """Files in a directory, and what `check --live` says of them."""

    def __init__(self, directory: Path, url: str, smsc: str, prefix: str = "") -> None:
        self.directory = directory
        self.config = directory / "smsfilter.yaml"
        self.config.write_text(
            f"proxy: {{listen: ['127.0.0.1:0'], smsc: ['{smsc}'], limits: {{sessions: 8}}}}\n"
            f"redis: {{url: '{url}', prefix: '{prefix}'}}\nstate_dir: .\n"
        )
        self.policy("")

    def policy(self, text: str) -> None:
        (self.directory / "policy.yaml").write_text(
            f'version: 1\nrefused_destinations: ["1"]\n{text}'
        )

    def check(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        status = main(["check", "--live", "-c", str(self.config)])
        out, err = capsys.readouterr()
        return status, out.splitlines()[3:], err.splitlines()


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer, smsc_port: int) -> Site:
    return Site(tmp_path, redis_server.url, f"127.0.0.1:{smsc_port}", prefix="p:")


def load_registry(server: RedisServer, prefix: str) -> str:
    async def save() -> str:
        async with connected(parse_url(server.url, Path("/nonexistent"))) as client:
            return await registry.save(client, prefix, load_yaml(REGISTRY, RegistryFile))

    return asyncio.run(save())


def test_from_an_empty_redis_to_one_that_is_ready(
    site: Site,
    redis_server: RedisServer,
    redis_client: redis_py.Redis,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = site.check(capsys)
    assert status == 1
    assert [line.split(",")[0] for line in out] == [
        f"redis at {redis_server.url}",
        f"SMSC {load_address(site)} takes connections: ok",
    ]
    assert err == [
        "the index counts as not filled, so no look-up is trusted: index:epoch is missing; "
        f"cure: smsfilter index ready -c {site.config}",
        "no registry: nothing tells which company sends; "
        f"cure: smsfilter registry load registry.yaml -c {site.config}",
    ]

    redis_client.set("p:index:epoch", "abc:1")
    version = load_registry(redis_server, "p:")
    status, _, err = site.check(capsys)
    assert (status, err) == (
        1,
        [
            "no company is approved: every message is refused; "
            "cure: redis-cli SADD 'p:approved:{acme}' '*'"
        ],
    )

    redis_client.sadd("p:approved:{acme}", "*")
    status, out, err = site.check(capsys)
    assert (status, err) == (0, [])
    assert out[1:] == [
        "index, epoch abc:1: ok",
        f"registry {version}, 2 companies: ok",
        "approvals of 1 of 2 companies: ok",
        f"SMSC {load_address(site)} takes connections: ok",
    ]


def load_address(site: Site) -> str:
    return site.config.read_text().split("smsc: ['")[1].split("'")[0]


def test_the_desk_has_records_and_cures_of_its_own(
    site: Site, redis_client: redis_py.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    with site.config.open("a") as file:
        file.write(
            f"desk: {{report_centre: {{smsc: '127.0.0.1:{free_port()}', system_id: centre}}}}\n"
        )
    (site.directory / "replies.yaml").write_text("blocked: Thank you, {id}\n")
    status, _, err = site.check(capsys)
    assert status == 1
    assert any(line.endswith(f"cure: smsfilter desk -c {site.config}") for line in err)
    assert any("cure: smsfilter company import registry.yaml" in line for line in err)
    assert any("no connection" in line or "Connection refused" in line for line in err)
    init = f"cure: smsfilter desk init -c {site.config}"
    assert f"no records at sqlite:///{site.directory}/records.db; {init}" in err
    assert main(["desk", "init", "-c", str(site.config)]) == 0
    _, out, _ = site.check(capsys)
    assert out[-1] == f"records at sqlite:///{site.directory}/records.db: ok"


def test_approvals_are_not_asked_for_where_no_rule_wants_them(
    site: Site,
    redis_server: RedisServer,
    redis_client: redis_py.Redis,
    capsys: pytest.CaptureFixture[str],
) -> None:
    redis_client.set("p:index:epoch", "abc:1")
    load_registry(redis_server, "p:")
    site.policy("rules: [{id: approval, type: approval, mode: shadow}]\n")

    status, out, _ = site.check(capsys)

    assert status == 0
    assert not any("approv" in line for line in out)


def test_a_redis_that_may_evict_blocks(
    tmp_path: Path, make_redis: MakeRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    server = make_redis(["--maxmemory-policy", "allkeys-lru"])

    status, _, err = Site(tmp_path, server.url, "127.0.0.1:1").check(capsys)

    assert status == 1
    assert err[0] == (
        "redis may evict blocks: maxmemory-policy is allkeys-lru; "
        "cure: redis-cli CONFIG SET maxmemory-policy noeviction"
    )


def test_a_registry_that_is_damaged(
    site: Site, redis_client: redis_py.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    redis_client.set("p:index:epoch", "abc:1")
    redis_client.set("p:registry:version", "gone")

    status, _, err = site.check(capsys)

    assert status == 1
    assert err[0].startswith("registry gone is named by registry:version but is not there; cure: ")


def test_a_redis_that_refuses(
    tmp_path: Path, make_redis: MakeRedis, smsc_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server = make_redis(password="hush")
    site = Site(tmp_path, server.url, f"127.0.0.1:{smsc_port}")

    status, out, err = site.check(capsys)

    assert status == 1
    assert len(err) == len(out) == 1
    assert "password" in err[0].lower()
    assert err[0].endswith(f"the password's file in redis.password_file of {site.config}")

    (tmp_path / "secret").write_text("hush\n")
    text = site.config.read_text()
    site.config.write_text(text.replace("{url", "{password_file: secret, url"))
    _, out, err = site.check(capsys)
    assert out[0].startswith("redis at unix://")
    assert "hush" not in "".join(out + err)


def test_a_user_who_is_not_allowed_what_is_asked(
    tmp_path: Path, make_redis: MakeRedis, smsc_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server = make_redis()
    (tmp_path / "secret").write_text("hush\n")
    url = f"redis://path@127.0.0.1:{server.port}/0"
    site = Site(tmp_path, url, f"127.0.0.1:{smsc_port}", prefix="p:")
    text = site.config.read_text()
    site.config.write_text(text.replace("{url", "{password_file: secret, url"))
    with server.connect() as admin:
        admin.set("p:index:epoch", "abc:1")
        admin.sadd("p:approved:{acme}", "*")
        load_registry(server, "p:")
        admin.execute_command("ACL", "SETUSER", "path", "on", ">hush", "resetkeys", "-@all")
        status, _, err = site.check(capsys)
        assert status == 1
        assert "no permissions" in err[0]
        assert "password" not in err[0]
        program, *words = shlex.split(err[0].partition("; cure: ")[2])
        assert program == "redis-cli"
        admin.execute_command(*words)
    assert site.check(capsys)[0] == 0


def test_a_redis_whose_certificate_is_not_accepted(
    tmp_path: Path, make_redis: MakeRedis, smsc_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"rediss://127.0.0.1:1/0?ssl_ca_certs={tmp_path}/none.pem"
    _, _, err = Site(tmp_path, url, f"127.0.0.1:{smsc_port}").check(capsys)
    assert err[0].endswith("; cure: see the ssl_ options of redis.url")


def test_nothing_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    site = Site(tmp_path, f"redis://127.0.0.1:{port}/0", f"127.0.0.1:{port}")

    status, out, err = site.check(capsys)

    assert status == 1
    assert out == []
    assert err == [
        f"redis at redis://127.0.0.1:{port}/0: Connection refused; "
        "cure: systemctl start redis-server",
        f"SMSC 127.0.0.1:{port}: Connection refused; "
        "cure: see that it runs and that its firewall lets this machine in",
    ]


def test_a_source_address_that_is_not_ours(
    tmp_path: Path, redis_server: RedisServer, smsc_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(tmp_path, redis_server.url, f"127.0.0.1:{smsc_port}")
    text = site.config.read_text().replace(
        f"'127.0.0.1:{smsc_port}'",
        f"{{address: '127.0.0.1:{smsc_port}', source_address: 192.0.2.1}}",
    )
    site.config.write_text(text)

    status, _, err = site.check(capsys)

    assert status == 1
    assert f"SMSC 127.0.0.1:{smsc_port}: " in err[-1]
    assert "assign requested address" in err[-1]


def test_an_smsc_that_does_not_answer(
    tmp_path: Path, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = full.getsockname()[1]
        for _ in range(3):  # the queue is full: further connections get no answer
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        site = Site(tmp_path, redis_server.url, f"127.0.0.1:{port}")
        text = site.config.read_text()
        site.config.write_text(text.replace("limits:", "timeouts: {connect: 100ms}, limits:"))

        status, _, err = site.check(capsys)

    assert status == 1
    assert f"SMSC 127.0.0.1:{port}: no answer in 0.1s; cure: " in err[-1]


async def test_an_smsc_with_tls_is_shaken_hands_with(
    tmp_path: Path, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    authority, strangers = Authority(tmp_path), Authority(tmp_path, "strangers")
    smsc = await FakeSMSC.start(tls=authority.server(authority.issue("smsc")))
    site = Site(tmp_path, redis_server.url, f"127.0.0.1:{smsc.port}")
    text = site.config.read_text()
    said = {}
    for name, tls in (
        ("good", f"ca: {authority.ca}"),
        ("unknown", f"ca: {strangers.ca}"),
        ("other", f"ca: {authority.ca}, server_name: smsc.example"),
    ):
        end = f"{{address: '127.0.0.1:{smsc.port}', tls: {{{tls}}}}}"
        site.config.write_text(text.replace(f"'127.0.0.1:{smsc.port}'", end))
        said[name] = await asyncio.to_thread(site.check, capsys)
    await smsc.wait_no_connection()
    await smsc.stop()

    where = f"SMSC 127.0.0.1:{smsc.port}"
    assert said["good"][1][-1] == f"{where} takes connections with TLS: ok"
    refused = f"{where}: TLS: the certificate is not accepted: "
    cure = "; cure: see proxy.smsc.tls: ca, server_name, certificate and key"
    assert said["unknown"][2][-1] == f"{refused}unable to get local issuer certificate{cure}"
    assert said["other"][2][-1].startswith(f"{refused}Hostname mismatch")
    assert smsc.received == []


@pytest.mark.parametrize(("version", "cautions"), [("6.2.14", 1), ("7.0.15", 0), ("7.2.4", 0)])
async def test_a_redis_without_keys_that_are_only_read(version: str, cautions: int) -> None:
    from smsfilter.cli import live  # noqa: PLC0415

    class Old:
        async def info(self) -> dict[str, str]:
            return {"redis_version": version}

    found = await live._server(Old(), "here")  # type: ignore[arg-type]
    assert [each.ok for each in found] == [True]
    assert len([each for each in found if each.caution]) == cautions
