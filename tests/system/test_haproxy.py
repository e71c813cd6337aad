"""A real HAProxy in front of the daemon, with both versions of its header and TLS passed through.

The ESME comes from an address of its own: the daemon must see that one and not HAProxy's.
"""

from pathlib import Path

import pytest

from smsfilter.smpp import const as c
from tests.conftest import MakeSite
from tests.fakes.certificates import Authority
from tests.fakes.esme import FakeESME
from tests.fakes.haproxy import HAProxy
from tests.fakes.peer import running

pytestmark = [pytest.mark.peer, pytest.mark.system, pytest.mark.redis]

SOURCE = "10657555"
ESME, OTHER = "127.0.0.3", "127.0.0.4"


async def test_the_esme_behind_haproxy_is_known_by_its_own_address(
    tmp_path: Path, make_site: MakeSite
):
    authority = Authority(tmp_path)
    behind = {"address": "127.0.0.1:0", "proxy_protocol_from": ["127.0.0.1/32"]}
    secured = {**behind, "tls": authority.issue("proxy").section()}
    site = await make_site(
        config={"proxy": {"listen": [behind, secured]}},
        policy={"accounts": {"acme": {"addresses": [f"{ESME}/32"]}}},
    )
    async with running(HAProxy.start(tmp_path, *site.ports)) as haproxy:
        for way in ("v1", "v2", "tls"):
            tls = authority.client() if way == "tls" else None
            port = haproxy.ports[way]
            esme = await FakeESME.connect(port, local_host=ESME, tls=tls)
            await esme.bound("trx", "acme")
            line = await site.wait_for_log("session_bound", account="acme")
            assert line["peer"] == ESME
            before = len(site.smsc.submits())
            answers = await esme.submit_all(SOURCE, [f"8613800{n:06d}" for n in range(1000)])
            assert {answer.command_status for answer in answers} == {0}
            assert site.smsc.submits()[before:] == esme.sent[1:]
            delivered = site.smsc.bound_connections("acme")[-1].deliver_sm("8613800000000", SOURCE)
            assert await esme.recv_raw() == delivered

            other = await FakeESME.connect(port, local_host=OTHER, tls=tls)
            assert (await other.bind("trx", "acme")).command_status == c.ESME_RBINDFAIL
            refused = await site.wait_for_log("bind_refused", peer=OTHER)
            assert refused["reason"] == "address_not_allowed"
            await other.close()
            await esme.close()
            await site.smsc.wait_no_connection()
        closes = "smsfilter_closes_total"
        assert await site.metric(closes, why="proxy_header") == 0, "nor at its health checks"
