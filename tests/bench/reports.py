"""How soon a report is in force: from its deliver_sm to the first refusal at the proxy.

A real desk and a real proxy on one Redis; a handset reports, its spammer goes on sending without a
pause. The sender's own round trips are in the figures.
"""

import tempfile
from pathlib import Path

from tests.fakes.desk import Desk
from tests.fakes.redis_server import RedisServer
from tests.fakes.report_load import in_force_times, registry
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC


async def measure(samples: int) -> list[float]:
    """Seconds, the shortest first."""
    server = RedisServer.started()
    smsc = await FakeSMSC.start()
    try:
        with tempfile.TemporaryDirectory(prefix="smsfilter-bench-") as folder:
            site = Site(Path(folder), server, smsc, registry=None, index_ready=False)
            desk = Desk(site)
            try:
                await desk.init()
                await desk.load_companies(registry())
                site.approve("company1")
                await desk.start()
                await site.start()
                return await in_force_times(desk, samples)
            finally:
                await desk.close()
                await site.close()
    finally:
        await smsc.stop()
        server.close()


def table(times: list[float]) -> str:
    """The figures, as Markdown."""
    p50, p99 = (times[int(at * (len(times) - 1))] * 1000 for at in (0.5, 0.99))
    return (
        "| a report in force | p50 ms | p99 ms | most ms | to be reached |\n"
        "|---|---:|---:|---:|---|\n"
        f"| {len(times)} reports | {p50:.0f} | {p99:.0f} | {times[-1] * 1000:.0f} | 5,000 |"
    )
