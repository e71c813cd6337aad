"""Dialling an SMSC whose connection is gone before anybody could use it: the next one is tried."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from smsfilter.config import ProxyConfig
from smsfilter.metrics import Metrics
from smsfilter.proxy.dial import dial
from smsfilter.proxy.keyring import Keyring
from tests.fakes.certificates import Authority
from tests.fakes.smsc import FakeSMSC

BROKEN_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)


class Leg(asyncio.Protocol):
    """Closes its first connection as soon as it has it, as a peer's RST would."""

    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Leg.made += 1
        if Leg.made == 1:
            cast(asyncio.Transport, transport).abort()


class Deaf(asyncio.Protocol):
    """A leg that does nothing."""


@pytest.fixture
async def smsc() -> AsyncIterator[FakeSMSC]:
    smsc = await FakeSMSC.start()
    yield smsc
    await smsc.stop()


def proxy(smscs: list[object]) -> tuple[ProxyConfig, Keyring]:
    config = ProxyConfig.model_validate({"listen": ["127.0.0.1:0"], "smsc": smscs})
    return config, Keyring(config, Metrics())


async def test_one_that_is_lost_at_once_is_not_taken(smsc: FakeSMSC) -> None:
    Leg.made = 0
    config, keyring = proxy([f"127.0.0.1:{smsc.port}"] * 2)
    transport, _, _ = await dial(config.smsc, 5.0, Leg, keyring)
    assert Leg.made == 2
    assert not transport.is_closing()
    transport.abort()


async def test_one_that_is_lost_with_the_end_of_its_handshake_is_not_taken(
    tmp_path: Path, smsc: FakeSMSC
) -> None:
    """The peer's last words in the handshake, and behind them what breaks the connection."""
    authority = Authority(tmp_path)
    context = authority.server(authority.issue("smsc"))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(await reader.read(1 << 16))
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        writer.write(outgoing.read() + BROKEN_RECORD)
        await reader.read(1 << 16)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    first = {"address": f"127.0.0.1:{port}", "tls": {"ca": str(authority.ca)}}
    config, keyring = proxy([first, f"127.0.0.1:{smsc.port}"])
    transport, _, upstream = await dial(config.smsc, 5.0, Deaf, keyring)
    assert upstream.address.port == smsc.port
    transport.abort()
    server.close()
