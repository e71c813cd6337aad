"""From a customer's report to the refusal at the proxy, with the real desk and the real proxy."""

import pytest

from smsfilter.smpp.const import ESME_ROK

pytestmark = pytest.mark.system

ANNA, BERT = "8613800138000", "8613900139000"
BLOCKED = 0x66


async def sends(esme, source: str, to: str) -> int:
    """The status of one submission."""
    return (await esme.submit(source, to)).command_status


async def test_a_report_blocks_the_company_for_its_reporter(make_desk):
    desk = await make_desk()
    site = desk.site
    site.approve("acme")
    site.approve("bravo")
    print(await site.get("/readyz"), await desk.get("/readyz"))
    print(site.server.client().get("index:epoch"), site.server.client().keys())
    acme, acme2 = await site.esme("acme"), await site.esme("acme2")
    bravo = await site.esme("bravo")
    assert await sends(acme, "10657555", ANNA) == ESME_ROK
    (delivery,) = await desk.handsets[ANNA].text("10657555*您中奖了，请回复")
    assert delivery.statuses == [ESME_ROK]
    assert await sends(acme, "10657555", ANNA) == BLOCKED
    assert await sends(acme, "1069055512", ANNA) == BLOCKED
    assert await sends(acme2, "10657555", ANNA) == BLOCKED
    assert await sends(acme, "10657555", BERT) == ESME_ROK
    assert await sends(bravo, "10658888", ANNA) == ESME_ROK
    (answer,) = await desk.handsets[ANNA].wait_for_sms()
    assert "已受理" in answer
