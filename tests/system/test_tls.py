"""TLS on both legs of the real daemon: what passes, who is let in, and what nonsense costs.

The other ends use Python's own TLS transports. One site for each event loop: its SMSC wants the
proxy's certificate, and it listens with TLS, with TLS for known certificates only, and without.
"""

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, Visitors, calm_site, customer
from tests.fakes.certificates import Authority, Issued
from tests.fakes.daemon import ROOT
from tests.fakes.esme import FakeESME
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

FROM = "10657555"
TLS, KNOWN, PLAIN = range(3)
"""The addresses of the site, in the order of its configuration."""
BIND_S = 3


class Papers:
    """All certificates of this file."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory)
        self.strangers = Authority(directory, "strangers")
        self.proxy = self.authority.issue("proxy")
        self.smsc = self.authority.issue("smsc")
        self.acme = self.authority.issue("acme", "esme.acme.example", common_name="Acme")
        self.bravo = self.authority.issue("bravo", "esme.bravo.example", common_name="Bravo")
        self.stranger = self.strangers.issue("acme", "esme.acme.example", common_name="Acme")

    def accounts(self) -> dict[str, Any]:
        """The policy: one account for each way to name a certificate."""
        return {
            "acme": {"certificates": [self.acme.fingerprint, "dns:nobody.example"]},
            "acme2": {"certificates": ["dns:ESME.acme.example"]},
            "bravo": {"certificates": ["cn:Bravo"]},
        }


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """The certificates."""
    return Papers(tmp_path_factory.mktemp("papers"))


def no_uvloop(directory: Path) -> dict[str, str]:
    """Hide uvloop from the daemon."""
    directory.mkdir(exist_ok=True)
    (directory / "uvloop.py").write_text("raise ImportError\n")
    return {"PYTHONPATH": f"{directory}:{ROOT}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["uvloop", "asyncio"])
async def calm(
    tmp_path_factory: pytest.TempPathFactory, papers: Papers, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    """The site of this file."""
    directory = tmp_path_factory.mktemp("tls")
    smsc = await FakeSMSC.start(tls=papers.authority.server_for_known(papers.smsc))
    own = papers.proxy.section()
    ca = str(papers.authority.ca)
    config = {
        "proxy": {
            "listen": [
                {"address": "127.0.0.1:0", "tls": own},
                {"address": "127.0.0.1:0", "tls": {**own, "client_ca": ca}},
                "127.0.0.1:0",
            ],
            "smsc": [{"address": f"127.0.0.1:{smsc.port}", "tls": {**own, "ca": ca}}],
            "timeouts": {"bind": f"{BIND_S}s", "unread": "1s", "connect": "1s"},
        },
        "log": {"decisions": "refused", "level": "debug"},
    }
    env = no_uvloop(directory / "hidden") if request.param == "asyncio" else {}
    async with calm_site(directory, smsc, config=config, env=env) as site:
        yield site
        keys = [line for one in (papers.proxy, papers.acme) for line in one.key.read_text().split()]
        assert not any(line in str(each) for line in keys if len(line) > 30 for each in site.log)
    await smsc.stop()


@pytest.fixture
def smsc(calm: Site) -> FakeSMSC:
    """Its SMSC."""
    return calm.smsc


class TLSVisitors(Visitors):
    """ESMEs that connect to an address of the site, with TLS where it wants it."""

    def __init__(self, site: Site, papers: Papers) -> None:
        super().__init__(site)
        self.papers = papers

    async def to(
        self,
        address: int,
        account: str | None = "acme",
        kind: str = "trx",
        own: Issued | None = None,
        **options: Any,
    ) -> FakeESME:
        """Connect to one of the three addresses, with a certificate or without."""
        if address != PLAIN:
            options.setdefault("tls", self.papers.authority.client(own))
        return await self(account, kind, port=self.site.ports[address], **options)


@pytest_asyncio.fixture(loop_scope="module")
async def connect(calm: Site, papers: Papers) -> AsyncIterator[TLSVisitors]:
    """Connects ESMEs; afterwards all are gone, and so is every descriptor they took."""
    visitors = TLSVisitors(calm, papers)
    yield visitors
    await visitors.leave()
    async with asyncio.timeout(8):
        while await calm.metric("smsfilter_sessions"):
            pass


async def closes(site: Site, why: str) -> float:
    return await site.metric("smsfilter_closes_total", leg="esme", why=why)


async def still_works(esme: FakeESME, smsc: FakeSMSC, source: str = FROM) -> None:
    """The session goes on, and its next message arrives octet for octet."""
    pdu = esme.submit_octets(source, customer())
    assert (await esme.request(pdu)).command_status == 0
    assert smsc.submits()[-1] == pdu


def shown(esme: FakeESME) -> bytes:
    """The certificate that this ESME was shown."""
    tls: ssl.SSLObject = esme.transport.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


# what passes


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_thousand_messages_each_way_arrive_octet_for_octet(
    connect: TLSVisitors, papers: Papers, smsc: FakeSMSC, version: ssl.TLSVersion
) -> None:
    esme = await connect.to(TLS, tls=papers.authority.client(version=version))
    connection, before = smsc.bound_connections("acme")[-1], len(smsc.submits())
    pdus = [
        esme.submit_octets(
            FROM, customer(), tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"x" * (n * 60))], text=b""
        )
        if n % 3
        else esme.submit_octets(FROM, customer(), b"\0\xff" * (n % 127))
        for n in range(1000)
    ]
    answers = [esme.expect(pdu) for pdu in pdus]
    esme.send_raw(b"".join(pdus))
    delivered = [connection.deliver_sm("8613900000000", FROM, f"{n}") for n in range(1000)]
    for answer in answers:
        assert (await esme.response(answer, 30)).command_status == 0
    assert smsc.submits()[before:] == pdus
    assert [await esme.recv_raw() for _ in delivered] == delivered
    await connection.response_to(delivered[-1])
    assert len(connection.sent_by_peer(c.DELIVER_SM_RESP)) == 1000


async def test_a_block_is_enforced_and_the_rest_passes(
    connect: TLSVisitors, smsc: FakeSMSC
) -> None:
    esme = await connect.to(TLS)
    assert (await esme.submit(FROM, BLOCKED)).command_status == c.ESME_RX_R_APPN
    await still_works(esme, smsc)


async def test_single_octets_make_whole_records(connect: TLSVisitors, smsc: FakeSMSC) -> None:
    esme = await connect.to(TLS)
    pdu = esme.submit_octets(FROM, customer())
    answer = esme.expect(pdu)
    await esme.send_slowly(pdu)
    assert (await esme.response(answer)).command_status == 0
    assert smsc.submits()[-1] == pdu


# who is let in


@pytest.mark.parametrize(
    ("account", "own", "source"),
    [("acme", "acme", FROM), ("acme2", "acme", FROM), ("bravo", "bravo", "10658888")],
)
async def test_a_certificate_binds_as_its_account(
    connect: TLSVisitors, papers: Papers, account: str, own: str, source: str
) -> None:
    calm = connect.site
    await calm.reload({"accounts": papers.accounts()})
    esme = await connect.to(KNOWN, account, own=getattr(papers, own))
    await still_works(esme, calm.smsc, source)
    await calm.reload({})


async def test_without_the_right_certificate_a_bind_fails_like_a_wrong_address(
    connect: TLSVisitors, calm: Site, papers: Papers, smsc: FakeSMSC
) -> None:
    """Where no certificate is asked for, none counts, although the ESME has it."""
    cases = [
        (KNOWN, "acme", papers.bravo),
        (KNOWN, "acme2", papers.bravo),
        (KNOWN, "bravo", papers.acme),
        (TLS, "acme", papers.acme),
        (TLS, "acme", None),
        (PLAIN, "acme", None),
    ]
    await calm.reload({"accounts": papers.accounts()})
    made, since = len(smsc.connections), len(calm.log)
    esmes = [
        await connect.to(address, None, own=own, local_host=f"127.0.1.{number}")
        for number, (address, _, own) in enumerate(cases, 1)
    ]
    started = asyncio.get_running_loop().time()
    binds = [esme.bind("trx", account) for esme, (_, account, _) in zip(esmes, cases, strict=True)]
    answers = await asyncio.gather(*binds)
    assert {answer.command_status for answer in answers} == {c.ESME_RBINDFAIL}
    assert asyncio.get_running_loop().time() - started > 0.9, "like a wrong password, no sooner"
    await calm.changes.until(
        lambda: len(calm.logged("bind_refused", since=since)) == len(cases), "a line for each"
    )
    lines = calm.logged("bind_refused", since=since)
    assert {line["reason"] for line in lines} == {"certificate_not_allowed"}
    assert len(smsc.connections) == made, "the SMSC never hears of it"
    await calm.reload({})


async def test_accounts_without_certificates_bind_as_ever(
    connect: TLSVisitors, calm: Site, papers: Papers, smsc: FakeSMSC
) -> None:
    await calm.reload({"accounts": {"acme": papers.accounts()["acme"]}})
    for address, own in ((PLAIN, None), (TLS, None), (KNOWN, papers.acme)):
        await still_works(await connect.to(address, "bravo", own=own), smsc, "10658888")
    await calm.reload({})


# nonsense: closed, counted, and nobody else notices


async def refused(site: Site, esme: FakeESME, since: int, why: str = "handshake") -> dict[str, Any]:
    """Wait until the proxy has closed this one, and return what it logged."""
    await esme.wait_ended(BIND_S + 2)
    assert esme.received == []
    line = await site.wait_for_log("connection_refused", since=since, why=why)
    assert line["level"] == "debug"
    return line


async def test_plain_text_where_tls_is_spoken(
    connect: TLSVisitors, calm: Site, smsc: FakeSMSC
) -> None:
    neighbour = await connect.to(TLS)
    counted, since = await closes(calm, "handshake"), len(calm.log)
    esme = await connect(None, port=calm.ports[TLS])
    esme.keep_open_at_eof = True
    esme.send_raw(wire.bind(c.BIND_TRANSCEIVER, 1, "acme"))
    await esme.wait_eof(1)
    esme.hang_up()
    await calm.wait_for_log("connection_refused", since=since, why="handshake")
    assert await closes(calm, "handshake") == counted + 1
    await still_works(neighbour, smsc)


async def test_tls_where_plain_text_is_spoken(
    connect: TLSVisitors, calm: Site, papers: Papers
) -> None:
    counted = await closes(calm, "framing")
    with pytest.raises(ssl.SSLError):
        await connect(None, port=calm.ports[PLAIN], tls=papers.authority.client())
    async with asyncio.timeout(5):
        while await closes(calm, "framing") != counted + 1:
            pass


async def test_an_old_version_of_tls(connect: TLSVisitors, calm: Site, papers: Papers) -> None:
    counted, since = await closes(calm, "handshake"), len(calm.log)
    context = papers.authority.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        await connect.to(TLS, None, tls=context)
    line = await calm.wait_for_log("connection_refused", since=since)
    assert line["said"] == "TLS: unsupported protocol"
    assert await closes(calm, "handshake") == counted + 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("own", [None, "stranger"])
async def test_a_missing_or_strange_client_certificate(
    connect: TLSVisitors, calm: Site, papers: Papers, own: str | None, version: ssl.TLSVersion
) -> None:
    counted, since = await closes(calm, "handshake"), len(calm.log)
    context = papers.authority.client(getattr(papers, own) if own else None, version=version)
    try:
        esme = await connect.to(KNOWN, None, tls=context)
    except ssl.SSLError:
        assert version is ssl.TLSVersion.TLSv1_2, "in 1.3 the client is ready before the server"
    else:
        await refused(calm, esme, since)
    line = await calm.wait_for_log("connection_refused", since=since)
    missing, strange = "peer did not return a certificate", "the certificate is not accepted"
    assert (strange if own else missing) in line["said"]
    assert await closes(calm, "handshake") == counted + 1


async def test_a_handshake_that_stalls_is_closed_with_the_time_of_the_bind(
    connect: TLSVisitors, calm: Site, smsc: FakeSMSC
) -> None:
    neighbour = await connect.to(TLS)
    counted, descriptors = await closes(calm, "bind_timeout"), calm.descriptors()
    started = asyncio.get_running_loop().time()
    halves = [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"] * 10
    stalled = [await connect(None, port=calm.ports[TLS], before=half) for half in halves]
    stalled.append(await connect.to(TLS, None))  # the handshake is over, the bind does not come
    await still_works(neighbour, smsc)
    for esme in stalled:
        await esme.wait_ended(BIND_S + 3)
        assert esme.received == []
    assert asyncio.get_running_loop().time() - started > BIND_S - 0.5
    assert await closes(calm, "bind_timeout") == counted + len(stalled)
    await still_works(neighbour, smsc)
    await calm.wait_for_log("session_closed", why="bind_timeout")
    assert calm.descriptors() <= descriptors


async def test_too_many_handshakes_are_turned_away_and_nobody_in_session_notices(
    tmp_path: Path, papers: Papers
) -> None:
    smsc, most = await FakeSMSC.start(), 4
    listen = [{"address": "127.0.0.1:0", "tls": papers.proxy.section()}]
    config = {"proxy": {"listen": listen, "limits": {"handshakes": most}}}
    tls = papers.authority.client()
    async with calm_site(tmp_path, smsc, config=config) as site:
        visitors = Visitors(site)
        bound = await visitors(tls=tls)
        silent = [await visitors(None) for _ in range(2 * most)]
        for esme in silent[:most]:
            esme.send_raw(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of a ClientHello
            await still_works(bound, smsc)
        dawdlers = silent[:most]
        silent[most].send_raw(b"\x16")
        await site.changes.until(
            lambda: any(one.ended for one in [*dawdlers, silent[most]]), "one of them to be closed"
        )
        counted = {"leg": "proxy", "why": "too_many_handshakes"}
        assert await site.metric("smsfilter_closes_total", **counted) == 1
        assert sum(one.ended is not None for one in silent) == 1, "who says nothing takes no place"
        assert await site.metric("smsfilter_limit", limit="handshakes") == most
        while True:  # by now, or in a second, one of the dawdlers makes room
            try:
                late = await visitors("bravo", tls=tls)
                break
            except (ConnectionError, ssl.SSLError):
                await still_works(bound, smsc)
        await still_works(late, smsc, "10658888")
        await still_works(bound, smsc)
        await visitors.leave()
    await smsc.stop()


async def test_a_broken_record_ends_its_session_and_no_other(
    connect: TLSVisitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme, neighbour = await connect.to(TLS), await connect.to(TLS, "bravo")
    connection = smsc.bound_connections("acme")[-1]
    with esme.socket.dup() as sock:  # beside the ESME's own TLS
        sock.setblocking(True)
        sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    await esme.wait_ended()
    await connection.wait_ended()
    assert connection.sent_by_peer(c.UNBIND)
    await still_works(neighbour, smsc, "10658888")


# the end of a session


async def test_a_stream_that_cannot_be_framed_is_answered_before_the_end(
    connect: TLSVisitors, smsc: FakeSMSC
) -> None:
    esme = await connect.to(TLS)
    connection = smsc.bound_connections("acme")[-1]
    good = [esme.submit_octets(FROM, customer()) for _ in range(20)]
    esme.send_raw(b"".join(good) + b"\xff" * 16)
    assert await esme.wait_ended() == "fin"
    assert wire.header(esme.received[-1]).command_id == c.GENERIC_NACK
    assert await connection.wait_ended() == "fin"
    assert connection.received[1:-1] == good, "what came before counts"
    assert wire.header(connection.received[-1]).command_id == c.UNBIND


async def test_who_goes_on_sending_while_it_is_closed_gets_its_answers(
    connect: TLSVisitors, smsc: FakeSMSC
) -> None:
    """Octets that nobody reads any more would make TCP throw away what is on its way."""
    esme = await connect.to(TLS)
    esme.keep_open_at_eof = True
    garbage = [b"\xff" * 16, *[wire.pack(c.ENQUIRE_LINK, n) for n in range(2000)]]
    for piece in garbage:
        esme.send_raw(piece)
    assert wire.header(await esme.recv_raw()).command_id == c.GENERIC_NACK
    await esme.wait_ended()
    assert [wire.header(pdu).command_id for pdu in esme.received[1:]] == [c.GENERIC_NACK]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_what_was_sent_before_close_notify_is_decided_and_answered(
    connect: TLSVisitors, papers: Papers, smsc: FakeSMSC, version: ssl.TLSVersion
) -> None:
    context = papers.authority.client(version=version)
    esme = await connect.to(TLS, tls=context, half_closing=True)
    connection = smsc.bound_connections("acme")[-1]
    pdus = [esme.submit_octets(FROM, customer()) for _ in range(200)]
    pdus[150] = esme.submit_octets(FROM, BLOCKED)
    answers = [esme.expect(pdu) for pdu in pdus]
    esme.send_raw(b"".join(pdus))
    esme.half_close()
    statuses = [(await esme.response(answer)).command_status for answer in answers]
    assert [n for n, status in enumerate(statuses) if status] == [150]
    assert await esme.wait_ended() == "fin"
    assert await connection.wait_ended() == "fin"
    assert connection.received[1:-1] == pdus[:150] + pdus[151:]
    assert wire.header(connection.received[-1]).command_id == c.UNBIND


async def test_an_unbind_ends_both_legs_in_order(connect: TLSVisitors, smsc: FakeSMSC) -> None:
    esme = await connect.to(TLS)
    connection = smsc.bound_connections("acme")[-1]
    assert (await esme.unbind()).command_status == 0
    esme.hang_up()
    assert await connection.wait_ended() == "fin"
    await esme.wait_ended()


async def test_after_a_reset_the_smsc_is_unbound(connect: TLSVisitors, smsc: FakeSMSC) -> None:
    esme = await connect.to(TLS)
    connection = smsc.bound_connections("acme")[-1]
    esme.abort()
    assert await connection.wait_ended() == "fin"
    assert connection.sent_by_peer(c.UNBIND)


@pytest.mark.parametrize("how", ["hang_up", "abort"])
async def test_an_smsc_that_goes_takes_its_esme_along(
    connect: TLSVisitors, calm: Site, smsc: FakeSMSC, how: str
) -> None:
    esme = await connect.to(TLS)
    connection = smsc.bound_connections("acme")[-1]
    answered = esme.post(esme.submit_octets(FROM, customer()))
    assert (await esme.response(answered)).command_status == 0
    since = len(calm.log)
    getattr(connection, how)()
    await esme.wait_ended()
    line = await calm.wait_for_log("session_closed", since=since, account="acme")
    assert line["who"] == "smsc"
    assert line["why"] in ("closed", "reset")


# peers that do not read


async def test_an_esme_that_never_reads_is_closed(
    connect: TLSVisitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme = await connect.to(TLS, "acme", "rx", rcvbuf=4096)
    connection = smsc.bound_connections("acme")[-1]
    since = len(calm.log)
    rss = calm.rss_kib()
    esme.pause_reading()
    pdu = wire.deliver_sm(1, BLOCKED, FROM, b"", tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"x" * 60_000)])
    for _ in range(500):
        if calm.logged("session_closed", since=since, account="acme"):
            break
        connection.send_raw(pdu)
        await asyncio.sleep(0.005)
    line = await calm.wait_for_log("session_closed", since=since, account="acme")
    assert (line["who"], line["why"]) == ("esme", "unread")
    assert calm.rss_kib() - rss < 12 << 10
    await connection.wait_ended()
    assert connection.sent_by_peer(c.UNBIND)


async def test_a_slow_smsc_holds_up_its_own_sender_until_it_stalls(
    connect: TLSVisitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme, neighbour = await connect.to(TLS), await connect.to(TLS, "bravo")
    connection, since = smsc.bound_connections("acme")[-1], len(calm.log)
    rss = calm.rss_kib()
    connection.pause_reading()
    payload = [(c.TAG_MESSAGE_PAYLOAD, b"x" * 60_000)]
    for _ in range(500):
        esme.send_raw(esme.submit_octets(FROM, customer(), b"", tlvs=payload))
    await still_works(neighbour, smsc, "10658888")
    line = await calm.wait_for_log("session_closed", since=since, account="acme", timeout_s=15)
    assert (line["who"], line["why"]) == ("smsc", "stalled")
    assert calm.rss_kib() - rss < 20 << 10, "30 MB wait at the sender, not in the proxy"


# the SMSC


async def refused_bind(connect: TLSVisitors, site: Site) -> str:
    """Bind in vain, and return why the log says it was in vain."""
    since = len(site.log)
    esme = await connect.to(TLS, None)
    answer = await esme.bind("trx", "bravo")
    assert answer.command_status == c.ESME_RSYSERR
    line = await site.wait_for_log("bind_refused", since=since)
    assert line["reason"] == "smsc_unavailable"
    why: str = line["why"]
    return why


async def test_an_smsc_that_cannot_be_trusted_gets_no_bind(
    connect: TLSVisitors, calm: Site, papers: Papers, smsc: FakeSMSC
) -> None:
    good, smsc.tls = smsc.tls, None
    other_name = papers.authority.issue("other", "smsc.example")
    cases = [
        (
            papers.strangers.server(papers.strangers.issue("smsc")),
            "the certificate is not accepted",
        ),
        (
            papers.authority.server(other_name),
            "the certificate is not accepted: IP address mismatch",
        ),
        (papers.strangers.server_for_known(papers.smsc), ""),  # does not know the proxy
        (None, "TLS: "),  # speaks no TLS: it waits, or answers with something else
    ]
    received = len(smsc.received)
    try:
        for context, said in cases:
            smsc.stop_listening()
            smsc.tls = context
            await smsc.listen()
            why = await refused_bind(connect, calm)
            assert said in why or (context is None and why == "TimeoutError"), why
    finally:
        smsc.stop_listening()
        smsc.tls = good
        await smsc.listen()
    assert not [pdu for pdu in smsc.received[received:] if b"bravo\0" in pdu]
    await still_works(await connect.to(TLS), smsc)


# certificates are renewed


async def test_a_renewed_certificate_is_shown_to_those_who_come_and_nobody_is_dropped(
    connect: TLSVisitors, calm: Site, papers: Papers, smsc: FakeSMSC
) -> None:
    old, since = await connect.to(TLS), len(calm.log)
    before = shown(old)
    done = asyncio.Event()

    async def send() -> int:
        sent = 0
        while not done.is_set():
            answers = await old.submit_all(FROM, [customer() for _ in range(20)])
            assert all(answer.command_status == 0 for answer in answers)
            sent += len(answers)
        return sent

    sending = asyncio.create_task(send())
    papers.authority.issue("proxy")
    assert (await calm.reload())["event"] == "config_reloaded"
    new = await connect.to(TLS, "bravo")
    done.set()
    assert await sending
    assert shown(new) != before
    loaded = await calm.wait_for_log("certificate_loaded", since=since, role="listen_certificate")
    assert f"sha256:{loaded['sha256']}" == papers.proxy.fingerprint
    await still_works(old, smsc)
    await still_works(new, smsc, "10658888")


async def test_a_bad_file_keeps_the_old_certificate_in_force(
    connect: TLSVisitors, calm: Site, papers: Papers, smsc: FakeSMSC
) -> None:
    before = shown(await connect.to(TLS))
    good = papers.proxy.certificate.read_bytes()
    for bad in (b"", good[:300], papers.smsc.certificate.read_bytes()):
        papers.proxy.certificate.write_bytes(bad)
        line = await calm.reload()
        assert line["event"] == "config_rejected"
        assert any(str(papers.proxy.certificate) in error for error in line["errors"])
        assert await calm.metric("smsfilter_config_stale") == 1
        new = await connect.to(TLS)
        assert shown(new) == before
        await still_works(new, smsc)
    papers.proxy.certificate.write_bytes(good)
    assert (await calm.reload())["event"] == "config_reloaded"
    assert await calm.metric("smsfilter_config_stale") == 0


async def test_the_metric_tells_when_each_role_ends(calm: Site, papers: Papers) -> None:
    name = "smsfilter_certificate_expiration_timestamp_seconds"
    metrics = await calm.metrics()
    found = {dict(labels)["role"]: at for (each, labels), at in metrics.items() if each == name}
    assert set(found) == {"listen_certificate", "listen_client_ca", "smsc_certificate", "smsc_ca"}
    decoded: Any = ssl._ssl._test_decode_cert(str(papers.proxy.certificate))  # type: ignore[attr-defined]
    assert found["listen_certificate"] == ssl.cert_time_to_seconds(decoded["notAfter"])


async def test_a_certificate_that_ends_soon_or_has_ended_is_said(tmp_path: Path) -> None:
    """And the proxy starts all the same."""
    smsc = await FakeSMSC.start()
    authority, now = Authority(tmp_path), datetime.now(UTC)
    soon = authority.issue("soon", not_after=now + timedelta(days=10))
    ended = authority.issue(
        "ended", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)
    )
    listen = [{"address": "127.0.0.1:0", "tls": each.section()} for each in (soon, ended)]
    async with calm_site(tmp_path, smsc, config={"proxy": {"listen": listen}}) as site:
        warned = await site.wait_for_log("certificate_expires_soon")
        assert (warned["level"], warned["file"]) == ("warning", str(soon.certificate))
        assert warned["days_left"] in (9, 10)
        said = await site.wait_for_log("certificate_expired")
        assert (said["level"], said["file"]) == ("error", str(ended.certificate))
    await smsc.stop()
