"""The report centre at its SMSC: binds as a transceiver, stays bound, gives and takes messages.

A message is answered once `on_deliver` has said how, on the connection it came on and on no other;
many are in progress at a time. What is over the limit is answered as temporary, never held up: a
paused stream would hide the answers to our own SMS. The caller of `submit` always learns whether
an SMS was never sent, or may have been.
"""

import asyncio
import random
from time import monotonic
from typing import Any, Final

from smsfilter import log
from smsfilter.config import ConfigError
from smsfilter.deskconfig import ReportCentreConfig
from smsfilter.deskmetrics import CentreMetrics
from smsfilter.ends import Upstream
from smsfilter.reports.backoff import Backoff, Jitter
from smsfilter.reports.events import Bind, Ended, Limits, Why
from smsfilter.reports.link import Link
from smsfilter.reports.progress import InProgress, Take
from smsfilter.reports.session import Session
from smsfilter.reports.sms import TEMPORARY, Answer, Delivered, NotBound, Outgoing
from smsfilter.smpp.const import ESME_RALYBND, STATUS_NAMES
from smsfilter.tcp import connect
from smsfilter.tls import FileError, told

PASSING: Final = TEMPORARY | {ESME_RALYBND}
"""Refusals of a bind that may soon be over: a connection that broke may count for minutes yet."""


class Centre:
    """The bind of the short code, from `run` to `stop`.

    `on_deliver` gives the command_status to answer a message with; what it raises counts as
    temporary, and it may be cancelled when the time to stop has run out.
    """

    def __init__(
        self,
        config: ReportCentreConfig,
        on_deliver: Take,
        metrics: CentreMetrics,
        jitter: Jitter = random.uniform,
    ) -> None:
        timeouts = config.timeouts
        self._config = config
        self._limits = Limits(
            window=config.window,
            bind_s=timeouts.bind.total_seconds(),
            enquire_link_s=timeouts.enquire_link.total_seconds(),
            response_s=timeouts.response.total_seconds(),
            drain_s=timeouts.drain.total_seconds(),
        )
        self._metrics = metrics
        self._backoff = Backoff(jitter)
        self._progress = InProgress(on_deliver, metrics)
        self._link: Link | None = None
        self._smsc = ""  # the address of the SMSC that it has to do with
        self._bound_at: float | None = None
        self._said: set[tuple[str, str]] = set()  # of what keeps it from being bound
        self._running = False
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stop_by = float("inf")
        self._why = "not started"
        metrics.in_progress = lambda: self._progress.count
        metrics.in_flight = lambda: self._link.session.in_flight if self._link else 0
        for why in Why:
            metrics.closes.setdefault(why, 0)

    @property
    def bound(self) -> bool:
        """Whether SMS can be submitted."""
        return self._link is not None and self._link.session.bound and not self._stopping.is_set()

    @property
    def why(self) -> str:
        """What keeps it from being bound; empty while it is."""
        if self.bound:
            return ""
        return "stopping" if self._stopping.is_set() and self._running else self._why

    async def run(self) -> None:
        """Be bound, until `stop`."""
        self._running = True
        try:
            while not self._stopping.is_set():
                pause_s = await self._round()
                await self._before_stop(asyncio.create_task(asyncio.sleep(pause_s)))
            await self._progress.finish(self._left_s())
        finally:
            await self._progress.cancel()
            self._running = False
            self._why = "stopped"
            self._stopped.set()

    async def stop(self) -> None:
        """Take no new message, let what is under way end, unbind, close: within `drain`."""
        self._stop_by = min(self._stop_by, monotonic() + self._limits.drain_s)
        self._stopping.set()
        if self._running:
            await self._stopped.wait()

    async def submit(self, sms: Outgoing) -> Answer:
        """Send an SMS and wait for the SMSC's answer; waits for room in the window.

        Raises NotBound where it was never sent, NoAnswer where it was and the answer never came,
        PDUError where no submit_sm can carry it.
        """
        if self._link is None or not self.bound:
            raise NotBound(self.why)
        return await self._link.submit(sms)

    def _left_s(self) -> float:
        """Seconds that are left of the time to stop."""
        return max(self._stop_by - monotonic(), 0.0)

    # --- one connection after the other

    async def _round(self) -> float:
        """Try the SMSCs in their order, and stay with the first that accepts the bind.

        Gives the seconds to wait before the next round.
        """
        for upstream in self._config.smsc:
            self._smsc = str(upstream.address)
            try:
                link = await self._dialled(upstream)
            except ConfigError as error:
                self._unavailable(str(error))
                return self._backoff.refused()
            except TimeoutError:
                seconds = self._config.timeouts.connect.total_seconds()
                self._unavailable(f"no connection within {seconds:g} s")
                continue
            except (OSError, FileError) as error:
                self._unavailable(told(error))
                continue
            if link is None:
                return 0.0
            end = await self._stay(link)
            if self._bound_at is not None:
                self._backoff.bound_for(monotonic() - self._bound_at)
                break
            if end.why is Why.REFUSED and end.status not in PASSING:
                return self._backoff.refused()
            if self._stopping.is_set():
                break
        return self._backoff.failed()

    async def _dialled(self, upstream: Upstream) -> Link | None:
        """Connect, TLS included; None where the centre is stopped first.

        Raises OSError, FileError, and ConfigError for a password that cannot be read.
        """
        bind = self._bind()
        self._why = f"connecting to {self._smsc}"
        self._bound_at = None

        def session(now: float) -> Session:
            return Session(bind, self._limits, self._metrics, self._progress.admit, now)

        link = Link(self, session, self._metrics)
        connect_s = self._config.timeouts.connect.total_seconds()
        dialling = asyncio.create_task(_dial(upstream, link, connect_s))
        if not await self._before_stop(dialling):
            return None
        dialling.result()
        return link

    def _bind(self) -> Bind:
        """Read anew each time, so that a password that was mended is used."""
        config = self._config
        return Bind(
            system_id=config.system_id,
            password=config.password(),
            system_type=config.system_type,
            address=config.address,
            address_ton=config.address_ton,
            address_npi=config.address_npi,
        )

    async def _stay(self, link: Link) -> Ended:
        """Stay with a connection to its end, and give that."""
        self._link = link
        if self._bound_at is None:
            self._why = f"{self._smsc} has not answered the bind yet"
        try:
            if not await self._before_stop(link.closed):
                await link.part(self._left_s())
            end = link.closed.result()
        finally:
            link.abort()
            self._link = None
            self._metrics.bound = False
        self._metrics.closes[end.why] += 1
        self._ended(end)
        return end

    async def _before_stop(self, future: "asyncio.Future[Any]") -> bool:
        """Wait for `future`; False where `stop` came first, and then it is cancelled if a task."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({future, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return future.done()
        finally:
            stopping.cancel()
            if isinstance(future, asyncio.Task) and not future.done():
                future.cancel()
                await asyncio.gather(future, return_exceptions=True)

    # --- what a connection tells

    def bind_accepted(self, link: Link) -> None:
        """The SMSC has accepted the bind."""
        self._link, self._bound_at = link, monotonic()
        self._said.clear()
        self._why = f"the connection to {self._smsc} has ended"
        self._metrics.bound = True
        self._metrics.binds["accepted"] += 1
        log.get().info("centre_bound", smsc=self._smsc, system_id=self._config.system_id)

    def delivered(self, link: Link, message: Delivered) -> None:
        """A message has come, and was let in."""
        self._progress.start(message, link.answer)

    # --- what is said of it: of what lasts, once

    def _ended(self, end: Ended) -> None:
        self._why = f"{self._smsc}: {end.why}"
        if self._bound_at is not None:
            shown = {"smsc": self._smsc, "why": end.why}
            seconds = round(monotonic() - self._bound_at, 1)
            if end.why is Why.STOPPED:
                log.get().info("centre_unbound", **shown, seconds=seconds)
            else:
                log.get().warning("centre_unbound", **shown, seconds=seconds)
        elif end.why is Why.REFUSED:
            status = STATUS_NAMES.get(end.status, f"0x{end.status:08X}")
            self._why = f"{self._smsc} refuses the bind: {status}"
            self._metrics.binds["refused"] += 1
            if self._new(status):
                log.get().error(
                    "centre_refused",
                    smsc=self._smsc,
                    system_id=self._config.system_id,
                    status=status,
                )
        elif end.why is not Why.STOPPED:
            self._unavailable(end.why)

    def _unavailable(self, why: str) -> None:
        self._why = f"{self._smsc}: {why}"
        self._metrics.binds["unavailable"] += 1
        if self._new(why):
            log.get().warning("centre_unavailable", smsc=self._smsc, why=str(why))

    def _new(self, said: str) -> bool:
        """Whether this was not said of this SMSC since the centre was bound last."""
        if (self._smsc, said) in self._said:
            return False
        self._said.add((self._smsc, said))
        return True


async def _dial(upstream: Upstream, link: Link, within_s: float) -> None:
    """Connect within so many seconds; raises OSError (TimeoutError is one) or FileError."""
    tls: dict[str, Any] = {}
    async with asyncio.timeout(within_s):
        if upstream.tls is not None:
            # read for each connection: a certificate that was renewed is used
            credentials = await asyncio.to_thread(upstream.tls.read)
            name = upstream.tls.server_name or upstream.address.host
            tls = {"ssl": credentials.context, "server_hostname": name}
        await connect(upstream, link, **tls)
