"""The daemon itself: killed, stopped, short of descriptors, held up, unable to start or to log."""

import asyncio
import contextlib
import signal
import socket
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from smsfilter.smpp import const as c
from tests.conftest import MakeRedis, MakeSite
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, customer
from tests.fakes.certificates import HOST
from tests.fakes.daemon import ROOT
from tests.fakes.esme import FakeESME
from tests.fakes.history import Block, History, check, mark
from tests.fakes.legs import Legs
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [pytest.mark.system, pytest.mark.redis]

FROM, TO = "10657555", "8613800138000"
QUIET = {"log": {"decisions": "refused"}}


class Flood:
    """Sends windows of messages one after the other until the connection ends or it is told to."""

    def __init__(self, esme: FakeESME, source: str = FROM, window: int = 20) -> None:
        self.esme = esme
        self.asked: list[tuple[bytes, asyncio.Future[bytes]]] = []
        self.stop = False
        self._task = asyncio.create_task(self._run(source, window))

    async def _run(self, source: str, window: int) -> None:
        with contextlib.suppress(ConnectionResetError):
            while not self.stop:
                pdus = [
                    self.esme.submit_octets(source, BLOCKED if n % 7 == 3 else customer())
                    for n in range(window)
                ]
                self.asked += [(pdu, self.esme.expect(pdu)) for pdu in pdus]
                self.esme.send_raw(b"".join(pdus))
                await self.asked[-1][1]

    async def ended(self) -> None:
        await self._task

    def by_status(self) -> dict[int | None, list[bytes]]:
        """What was sent, by how it was answered; None = not at all."""
        found: dict[int | None, list[bytes]] = {}
        for pdu, future in self.asked:
            answered = future.done() and not future.exception()
            status = wire.header(future.result()).command_status if answered else None
            found.setdefault(status, []).append(pdu)
        return found


async def traffic(site: Site, count: int = 3) -> list[Flood]:
    """Sessions under load, past their first messages."""
    site.block(BLOCKED, "acme")
    floods = [Flood(await site.esme(**mark(n))) for n in range(count)]
    await site.smsc.wait_for(200)
    return floods


def history(site: Site, floods: list[Flood]) -> History:
    """What became of the traffic, with a block in force all the while."""
    esmes = [flood.esme for flood in floods]
    return History.of(esmes, site.smsc.connections, [Block(BLOCKED, "acme", since=0.0)])


# killed


@pytest.mark.tls
async def test_killed_under_load(make_site: MakeSite) -> None:
    site = await make_site(config=QUIET)
    floods = await traffic(site)
    await site.kill()
    for flood in floods:
        await flood.esme.wait_ended()
        await flood.ended()
    await site.smsc.wait_no_connection()
    check(history(site, floods))
    for flood in floods:
        answered = flood.by_status()
        assert set(answered) <= {0, 0x66, None}
        assert all(BLOCKED.encode() in pdu for pdu in answered[0x66])
    submits = site.smsc.submits()
    started = asyncio.get_running_loop().time()
    await site.start()
    esmes = [await site.esme() for _ in range(3)]
    assert asyncio.get_running_loop().time() - started < 5, "2 s where nothing else runs"
    assert (await esmes[0].submit(FROM, BLOCKED)).command_status == 0x66
    assert (await esmes[2].submit(FROM, customer())).command_status == 0
    assert len(site.smsc.submits()) == len(submits) + 1


# stopped


@pytest.mark.tls
async def test_sigterm_drains(make_site: MakeSite) -> None:
    site = await make_site(config={"proxy": {"timeouts": {"drain": "10s"}}})
    smsc = site.smsc
    esme, idle, binding = await site.esme(), await site.esme("bravo", "rx"), await site.connect()
    smsc.hold = {c.SUBMIT_SM}
    waiting = [esme.post(esme.submit_octets(FROM, customer())) for _ in range(3)]
    await smsc.wait_for(3)
    port = site.port
    site.signal(signal.SIGTERM)
    await site.wait_for_log("draining")
    with pytest.raises(ConnectionRefusedError):
        await FakeESME.connect(port)
    assert (await esme.submit(FROM, customer())).command_status == c.ESME_RTHROTTLED
    assert (await binding.bind()).command_status == c.ESME_RTHROTTLED
    assert (await esme.enquire_link()).command_status == 0
    ready = await site.get("/readyz")
    assert ready.status == 503
    assert site.exit_status is None
    assert not any(future.done() for future in waiting)
    smsc.release()
    assert [(await esme.response(future)).command_status for future in waiting] == [0, 0, 0]
    assert await site.wait_exit() == 0
    for connection in smsc.connections:
        assert wire.header(connection.received[-1]).command_id == c.UNBIND
        assert await connection.wait_ended() == "fin"
    for one in (esme, idle, binding):
        assert await one.wait_ended() == "fin"
    assert len(smsc.submits()) == 3
    assert site.logged("stopped")


@pytest.mark.tls
async def test_sigterm_under_load_loses_no_answer(make_site: MakeSite) -> None:
    """Every message the SMSC has said ok to is ok at its sender, who will not send it again."""
    site = await make_site(config=QUIET)
    floods = await traffic(site)
    site.signal(signal.SIGTERM)
    assert await site.wait_exit() == 0
    for flood in floods:
        await flood.esme.wait_ended()
        await flood.ended()
    submits = site.smsc.submits()
    answered = [flood.by_status() for flood in floods]
    assert sorted(pdu for found in answered for pdu in found[0]) == sorted(submits)
    check(history(site, floods))
    for connection in site.smsc.connections:
        assert wire.header(connection.received[-1]).command_id == c.UNBIND


@pytest.mark.tls
async def test_answers_on_their_way_survive_the_end_of_a_session_that_still_sends(
    make_site: MakeSite,
) -> None:
    """To close a connection with octets unread is to reset it, and what it was sent is lost."""
    site = await make_site(config={**QUIET, "proxy": {"timeouts": {"drain": "300ms"}}})
    esme = await site.connect(rcvbuf=4096)
    await esme.bound()
    esme.pause_reading()
    answers = [esme.post(esme.submit_octets(FROM, customer())) for _ in range(3000)]
    await site.smsc.wait_for(3000)
    late = esme.submit_octets(FROM, customer(), b"x" * 100)
    stop = asyncio.Event()

    async def go_on() -> None:
        while not stop.is_set() and not esme.transport.is_closing():
            if esme.transport.get_write_buffer_size() < 1 << 20:
                esme.send_raw(late * 1000)
            await asyncio.sleep(0.001)

    sending = asyncio.create_task(go_on())
    site.signal(signal.SIGTERM)
    await site.wait_for_log("session_closed")
    esme.resume_reading()
    statuses = [(await esme.response(answer)).command_status for answer in answers]
    assert statuses == [0] * 3000
    stop.set()
    await sending
    assert await site.wait_exit() == 0


async def test_a_drain_ends_at_its_deadline_without_inventing_answers(
    make_site: MakeSite,
) -> None:
    site = await make_site(config={"proxy": {"timeouts": {"drain": "300ms"}}})
    site.smsc.hold = {c.SUBMIT_SM}
    esme = await site.esme()
    waiting = esme.post(esme.submit_octets(FROM, customer()))
    await site.smsc.wait_for(1)
    started = asyncio.get_running_loop().time()
    site.signal(signal.SIGTERM)
    assert await site.wait_exit() == 0
    assert asyncio.get_running_loop().time() - started < 4
    with pytest.raises(ConnectionResetError):
        await waiting
    assert len(esme.received) == 1


@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]])
async def test_a_second_sigterm_or_sigint_is_at_once(
    make_site: MakeSite, signals: list[signal.Signals]
) -> None:
    site = await make_site(config={"proxy": {"timeouts": {"drain": "60s"}}})
    site.smsc.hold = {c.SUBMIT_SM, c.UNBIND}
    esme = await site.esme()
    esme.post(esme.submit_octets(FROM, customer()))
    await site.smsc.wait_for(1)
    started = asyncio.get_running_loop().time()
    for signum in signals:
        site.signal(signum)
        if len(signals) > 1:
            await site.wait_for_log("draining")
    assert await site.wait_exit() == 0
    assert asyncio.get_running_loop().time() - started < 2
    await esme.wait_ended()
    connection = site.smsc.connections[0]
    await connection.wait_ended()
    assert wire.header(connection.received[-1]).command_id == c.UNBIND


# unable to start


async def test_what_makes_a_start_impossible_is_said_in_a_line(
    make_site: MakeSite, make_redis: MakeRedis
) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    guarded = make_redis(password="open sesame")

    async def fails(site: Site, *said: str) -> None:
        await site.start(wait=False)
        site.expect_exit(None)
        assert await site.wait_exit() != 0
        assert not site.logged("listening")
        text = [line for line in site.stderr if line.strip()]
        assert len(text) == 1, text
        for word in said:
            assert word in text[0]
        assert "mistaken" not in "".join([*site.stderr, *map(str, site.log)])

    async def unable(change: Callable[[Site], object] | None = None, **options: Any) -> Site:
        site = await make_site(started=False, **options)
        if change is not None:
            change(site)
        return site

    def write_policy(text: str) -> Any:
        return lambda site: site.policy_path.write_text(text)

    def password_file(site: Site) -> None:
        (site.directory / "password").write_text("mistaken\n")
        over = {"redis": {"password_file": str(site.directory / "password")}}
        site.write_config(over)

    wrong = [
        (await unable(write_policy("version: 1\nrulez: []\n")), "policy.yaml:2:"),
        (await unable(write_policy("")), "policy.yaml"),
        (await unable(lambda site: site.policy_path.unlink()), "policy.yaml"),
        (await unable(config={"proxy": {"listen": [f"127.0.0.1:{port}"]}}), str(port)),
        (await unable(config={"proxy": {"admin": f"127.0.0.1:{port}"}}), str(port)),
        (await unable(config={"state_dir": "/dev/null/x"}), "state_dir"),
        (await unable(config={"redis": {"password_file": "none"}}), "none: cannot be read"),
        (await unable(redis=guarded, config={"redis": {"url": guarded.url}}), "NOAUTH"),
        (await unable(password_file, redis=guarded), "WRONGPASS"),
    ]
    with taken:
        for at in range(0, len(wrong), 3):
            async with asyncio.TaskGroup() as together:
                for site, said in wrong[at : at + 3]:
                    together.create_task(fails(site, said))


@pytest.mark.slow
async def test_without_redis_or_anything_in_it_it_starts_and_says_what_is_missing(
    make_site: MakeSite, make_redis: MakeRedis
) -> None:
    server = make_redis()
    server.kill()
    site = await make_site(redis=server)
    missing = {line["missing"]: line["cure"] for line in site.logged("not_ready")}
    assert set(missing) == {"redis", "registry", "epoch"}
    assert "registry load" in missing["registry"]
    assert "index ready" in missing["epoch"]
    assert (await site.get("/readyz")).status == 503
    esme = await site.esme()
    assert (await esme.submit(FROM, customer())).command_status == c.ESME_RTHROTTLED
    since = len(site.log)
    server.start()
    await site.wait_for_log("redis_up", since=since)
    assert (await esme.submit(FROM, customer())).command_status == c.ESME_RTHROTTLED
    assert (await site.get("/readyz")).status == 503
    await site.fill()
    await site.wait_for_log("ready", since=since)
    assert (await site.get("/readyz")).status == 200
    assert site.smsc.submits() == []
    assert (await esme.submit(FROM, customer())).command_status == 0


# short of descriptors


async def test_out_of_descriptors_old_sessions_live_and_new_ones_wait(
    make_site: MakeSite,
) -> None:
    site = await make_site(config=QUIET, wrapper=("prlimit", "--nofile=64:64"))
    esme = await site.esme()
    assert site.logged("few_descriptors", needed=20_064, allowed=64)
    crowd = [await FakeESME.connect(site.port) for _ in range(70)]  # the backlog takes them all
    await site.wait_for_log("accept_paused")
    used = site.cpu_s()
    started = asyncio.get_running_loop().time()
    for _ in range(20):
        pdu = esme.submit_octets(FROM, customer())
        assert (await esme.request(pdu)).command_status == 0
        await asyncio.sleep(0.1)  # two seconds in which nothing can be accepted
    took = asyncio.get_running_loop().time() - started
    assert site.cpu_s() - used < 0.5 * took, "it does not spin"
    assert len(site.logged("accept_paused")) <= took + 2
    for one in crowd:
        one.abort()
    late = await site.connect()
    await late.bound(timeout_s=10)
    assert (await late.submit(FROM, customer())).command_status == 0


# held up, or in error


FAULTY = """
import signal
import time

import smsfilter.proxy.relay
import smsfilter.proxy.scan


def hold_up(*_):
    time.sleep(3.2)


def exploding(function):
    def faulty(*args):
        if any(b"boom" in arg for arg in args if isinstance(arg, bytes)):
            raise RuntimeError("boom")
        return function(*args)
    return faulty


signal.signal(signal.SIGUSR1, hold_up)
smsfilter.proxy.scan.peek_data_sm = exploding(smsfilter.proxy.scan.peek_data_sm)
smsfilter.proxy.relay.pass_down = exploding(smsfilter.proxy.relay.pass_down)
"""
"""Faults that no peer can provoke, put into the daemon before it starts."""


@pytest.mark.slow
async def test_an_error_in_one_session_is_its_own_and_a_loop_held_up_is_told(
    make_site: MakeSite, tmp_path: Path
) -> None:
    (tmp_path / "faulty").mkdir()
    (tmp_path / "faulty" / "sitecustomize.py").write_text(textwrap.dedent(FAULTY))
    env = {"PYTHONPATH": f"{tmp_path / 'faulty'}:{ROOT}"}
    site = await make_site(env=env)
    other = await site.esme("bravo")
    for where in ("esme", "smsc"):
        esme = await site.esme()
        if where == "esme":
            held = other.post(other.submit_octets("10658888", customer()))
            esme.send_raw(wire.data_sm(5, FROM, customer(), tlvs=[(0x0424, b"boom")]))
        else:
            held = other.post(other.submit_octets("10658888", customer()))
            site.smsc.bound_connections("acme")[-1].deliver_sm(TO, FROM, b"boom")
        assert await esme.wait_ended() == "fin"
        assert (await other.response(held)).command_status == 0
        line = await site.wait_for_log("unhandled")
        assert "boom" in line["exception"]
        assert line["account"] == "acme"
        site.log.remove(line)  # what the kit must not find at the end of the other tests
    assert site.smsc.of_kind({c.DATA_SM}) == []
    assert await site.metric("smsfilter_closes_total", leg="proxy", why="crashed") == 2

    held = other.post(other.submit_octets("10658888", customer()))
    await other.response(held)
    site.signal(signal.SIGUSR1)
    line = await site.wait_for_log("loop_blocked")
    assert "hold_up" in line["stack"]
    assert (await other.submit("10658888", customer())).command_status == 0
    assert len(site.logged("loop_blocked")) == 1


async def test_a_log_that_nobody_reads_holds_up_nothing(make_site: MakeSite) -> None:
    site = await make_site()  # a line for each message
    esme = await site.esme()
    site.stop_reading_log()
    before = site.rss_kib()
    count = 0
    async with asyncio.timeout(40):
        while not await site.metric("smsfilter_log_dropped_total"):
            answers = await esme.submit_all(FROM, [customer() for _ in range(4000)])
            assert {answer.command_status for answer in answers} == {0}
            count += 4000
    assert len(site.smsc.submits()) == count
    assert site.rss_kib() < before + 16384
    site.read_log_again()
    dropped = await site.metric("smsfilter_log_dropped_total")
    async with asyncio.timeout(10):
        while count - dropped > len(site.logged("forwarded")):
            await esme.enquire_link()
    await esme.submit(FROM, "8613800000000")
    await site.wait_for_log("forwarded", destination="138****0000")


# memory


SIZE = len(wire.submit_sm(1, FROM, TO))


class Sink(asyncio.Protocol):
    """An SMSC that answers thousands of messages of one size at a time."""

    def __init__(self) -> None:
        self.tail = b""
        self.submits = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self.tail + data
        if data[4:8] != b"\0\0\0\4":
            self.tail = b""
            for pdu in wire.split(data):
                self.transport.write(wire.response(pdu, 0, b"sink\0"))
            return
        count = len(data) // SIZE
        self.submits += count
        self.tail = data[count * SIZE :]
        answers = bytearray(wire.pack(c.SUBMIT_SM_RESP, 0, b"id\0") * count)
        for column in range(12, 16):
            answers[column::19] = data[column : count * SIZE : SIZE]
        self.transport.write(answers)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int) -> None:
    """Send `count` messages to different customers, a thousand at a time; all are accepted."""
    answers = b"".join(wire.pack(c.SUBMIT_SM_RESP, n, b"id\0") for n in range(1000))
    for first in range(0, count, 1000):
        writer.write(
            b"".join(wire.submit_sm(n, FROM, f"86138{first + n:08d}") for n in range(1000))
        )
        assert await reader.readexactly(len(answers)) == answers


@pytest.mark.slow
@pytest.mark.parametrize("count", [100_000, 1_000_000])
async def test_messages_leave_nothing_behind(make_site: MakeSite, legs: Legs, count: int) -> None:
    smsc = await FakeSMSC.start()
    sinks: list[Sink] = []

    def sink() -> Sink:
        sinks.append(Sink())
        return sinks[-1]

    smsc.stop_listening()
    server = await asyncio.get_running_loop().create_server(
        sink, "127.0.0.1", smsc.port, ssl=legs.smsc_tls
    )
    site = await make_site(smsc=smsc, config=QUIET)
    name = HOST if legs.esme_tls else None
    ends = {"ssl": legs.esme_tls, "server_hostname": name}
    pairs = [await asyncio.open_connection("127.0.0.1", site.port, **ends) for _ in range(2)]
    for reader, writer in pairs:
        writer.write(wire.bind(c.BIND_TRANSCEIVER, 1, "acme"))
        await reader.readexactly(21)
    await asyncio.gather(*(pump(*pair, count // 10) for pair in pairs))
    before, descriptors = site.rss_kib(), site.descriptors()
    await asyncio.gather(*(pump(*pair, count // 2) for pair in pairs))
    assert site.rss_kib() < before + 2048
    assert site.descriptors() <= descriptors
    assert sum(one.submits for one in sinks) == count // 10 * 2 + count
    assert await site.metric("smsfilter_in_flight") == 0
    for _, writer in pairs:
        writer.close()
        await writer.wait_closed()
    await site.stop()
    server.close()
    await smsc.stop()


# several at once


async def test_settings_from_the_environment_reach_the_daemon(make_site: MakeSite) -> None:
    site = await make_site(env={"SMSFILTER__LOG__DECISIONS": "all"}, config=QUIET)
    assert yaml.safe_load(site.config_path.read_text())["log"]["decisions"] == "refused"
    esme = await site.esme()
    await esme.submit(FROM, customer())
    await site.wait_for_log("forwarded")
