"""The look-ups of the SMS path: one pipelined connection to Redis, batches in, replies out.

A batch is never cancelled on the wire: at its deadline it is answered with None and its place in
the queue of replies stays, so that no reply can be taken for another's. A late, broken or
untrusted connection is `away`: batches are then answered at once, a probe goes out every 200 ms,
and nothing piles up. RESP is packed by hand and read by hiredis; everything else in the project
uses redis-py.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Protocol, cast

import hiredis

from smsfilter.store import keys
from smsfilter.store.address import RedisAddress
from smsfilter.store.connect import RedisRefused, Unreachable, dial, greeting, refused
from smsfilter.store.health import NO_MASTER, QUESTIONS, Health

Replies = list[object]
Done = Callable[[Replies | None], None]

PENDING_MOST = 64
"""Batches on the wire before the connection is given up: more means that nobody answers."""
HEAD_AGE_MOST_S = 1.0
"""Age of the oldest unanswered batch at which the connection is given up."""
HELD_UP_S = 0.01
"""How late a timer may be before the fault is looked for in this process and not in Redis."""
PROBE_EVERY_S = 0.2
HEALTH_EVERY_S = 2.0
RECONNECT_LEAST_S = 0.05
RECONNECT_MOST_S = 1.0
HELLO_WITHIN_S = 3.0
REASONS_TOLD_MOST = 8
"""Reasons told of one time away: each once, as some alternate for as long as it lasts."""

_NOT_YET = object()
"""What the reader gives while a reply is not whole; its own default is a reply of RESP3."""


def pack(*words: str | bytes) -> bytes:
    """One command in RESP."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        octets = word.encode() if isinstance(word, str) else word
        parts.append(b"$%d\r\n%b\r\n" % (len(octets), octets))
    return b"".join(parts)


class BlockQuestion:
    """SMISMEMBER of one set of members against many customers, packed but for the number.

    The command for the digits `d` is `heads[len(d)] + d + tail`.
    """

    __slots__ = ("clean", "heads", "tail")

    def __init__(self, prefix: str, members: tuple[str, ...]) -> None:
        packed = pack("SMISMEMBER", "KEY", *members)
        head, _, tail = packed.partition(b"$3\r\nKEY\r\n")
        left, right = keys.block(prefix, "\0").encode().split(b"\0")
        width = len(left) + len(right)
        self.heads = tuple(head + b"$%d\r\n" % (width + n) + left for n in range(16))
        self.tail = right + b"\r\n" + tail
        self.clean: list[int] = [0] * len(members)
        """The reply that finds no block."""


class Watcher(Protocol):
    """Who is told when the index comes and goes."""

    def index_up(self) -> None:
        """The index answers."""

    def index_away(self, why: str) -> None:
        """Look-ups cannot be made, or not be trusted."""


class _Pending:
    __slots__ = ("count", "done", "replies", "sent")

    def __init__(self, count: int, done: Done | None, sent: float) -> None:
        self.count = count
        self.done = done
        self.sent = sent
        self.replies: Replies = []


class _Link(asyncio.Protocol):
    """One TCP or UNIX connection to Redis."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        self.pending: deque[_Pending] = deque()
        self.transport: asyncio.Transport | None = None
        self.ended = ""
        """Why the connection is of no use any more."""
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET)
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def send(self, commands: bytes, count: int, done: Done | None) -> None:
        self.pending.append(_Pending(count, done, monotonic()))
        if self.transport is not None:
            self.transport.write(commands)

    def data_received(self, data: bytes) -> None:
        reader, pending = self._reader, self.pending
        reader.feed(data)
        try:
            while pending:
                head = pending[0]
                replies, missing = head.replies, head.count - len(head.replies)
                for _ in range(missing):
                    reply = reader.gets()
                    if reply is _NOT_YET:
                        return
                    replies.append(reply)
                pending.popleft()
                if head.done is not None:
                    head.done(replies)
            if reader.has_data():
                self.drop("Redis sent a reply that was not asked for")
        except hiredis.ProtocolError as error:
            self.drop(f"Redis broke its protocol: {error}")

    def drop(self, why: str) -> None:
        """Give the connection up; what waits is answered with None."""
        if self.transport is not None:
            self.transport.abort()
        self._fail(why)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(str(exc) if exc else "Redis closed the connection")

    def _fail(self, why: str) -> None:
        lost, self._lost = self._lost, _nothing
        self.ended = self.ended or why
        waiting = list(self.pending)
        self.pending.clear()  # also for data_received, if one of its replies has led here
        lost(why)
        for head in waiting:
            if head.done is not None:
                head.done(None)


def _nothing(_why: str) -> None:
    return None


class Index:
    """The index as the path sees it: `ask` always answers, by replies or by None.

    `deadline` is in seconds. `up` tells whether look-ups are made at all, `why` why not.
    """

    def __init__(
        self, address: RedisAddress, prefix: str, deadline: float, watcher: Watcher
    ) -> None:
        self.address = address
        self.prefix = prefix
        self.up = False
        self.why = "not connected yet"
        self.epoch_command = pack("GET", prefix + keys.EPOCH)
        self._deadline = deadline
        self._watcher = watcher
        self._link: _Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._probe: asyncio.TimerHandle | None = None
        self._told: set[str] = set()
        self._untrusted = ""
        self._keeper: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._health = Health(as_master=bool(address.sentinel))
        self._questions = b"".join(pack(*each) for each in QUESTIONS) + self.epoch_command
        self.epoch_read: Callable[[object], None] = lambda _raw: None
        """Called with `index:epoch` at each health check, so that it is known without traffic."""

    async def start(self, patience: float) -> None:
        """Connect, and keep connected. Returns once up, or after `patience` seconds.

        Raises RedisRefused when Redis is there and refuses: a wrong password, user or
        certificate does not heal by itself.
        """
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(first), name="index")
        try:
            async with asyncio.timeout(patience):
                await asyncio.shield(first)
        except TimeoutError:
            first.cancel()  # nobody waits for it any more

    async def stop(self) -> None:
        """Close the connection; later questions are answered with None."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self._set_away("stopped", tell=False)
        link, self._link = self._link, None
        if link is not None:
            link.drop("stopped")

    def ask(self, commands: bytes, count: int, done: Done) -> None:
        """Send `commands`, which have `count` replies; `done` gets them all, or None."""
        link = self._link
        if not self.up or link is None:
            done(None)
            return
        if len(link.pending) >= PENDING_MOST:
            link.drop(f"{PENDING_MOST} batches are unanswered")
            done(None)
            return
        link.send(commands, count, done)
        if self._timer is None:
            self._look_in(self._deadline)

    # --- deadlines and probes

    def _look_in(self, wait: float) -> None:
        self._due = monotonic() + wait
        self._timer = asyncio.get_running_loop().call_later(wait, self._check_deadline)

    def _check_deadline(self) -> None:
        """Answer what is too late. One timer serves all batches: it is set again while any wait."""
        self._timer = None
        link = self._link
        if link is None or not link.pending:
            return
        now = monotonic()
        if now > self._due + HELD_UP_S:
            self._look_in(0.001)  # it was this process that was late: the replies may be here
            return
        late = [p for p in link.pending if p.done is not None and p.sent + self._deadline <= now]
        if late:
            self._set_away(f"no answer within {self._deadline * 1000:.0f} ms")
        for pending in late:
            done, pending.done = pending.done, None
            if done is not None:
                done(None)
        if not link.pending:
            return
        head = link.pending[0].sent + HEAD_AGE_MOST_S
        if head <= now:
            link.drop(f"no answer for {HEAD_AGE_MOST_S:.0f} s")
            return
        waiting = (p.sent + self._deadline for p in link.pending if p.done is not None)
        self._look_in(max(min(waiting, default=head) - now, 0.001))

    def _send_probe(self) -> None:
        self._probe = None
        if self.up or self._link is None:
            return
        link, sent = self._link, monotonic()

        def answered(replies: Replies | None) -> None:
            if replies is None or link is not self._link:
                return
            self._judge_health(replies)
            if monotonic() - sent <= self._deadline and not self._untrusted and not link.pending:
                self._set_up()

        if not link.pending:
            self._send_health(answered)
        elif monotonic() - link.pending[0].sent > HEAD_AGE_MOST_S:
            link.drop(f"no answer for {HEAD_AGE_MOST_S:.0f} s")
            return
        self._probe = asyncio.get_running_loop().call_later(PROBE_EVERY_S, self._send_probe)

    def _send_health(self, done: Done) -> None:
        if self._link is not None:
            self._link.send(self._questions, len(QUESTIONS) + 1, done)

    def _set_up(self) -> None:
        if not self.up:
            self.up, self.why = True, ""
            self._told.clear()
            self._watcher.index_up()

    def _set_away(self, why: str, *, tell: bool = True) -> None:
        self.up, self.why = False, why
        if tell and why not in self._told and len(self._told) < REASONS_TOLD_MOST:
            self._told.add(why)
            self._watcher.index_away(why)
        if self._probe is None and self._link is not None:
            self._probe = asyncio.get_running_loop().call_later(PROBE_EVERY_S, self._send_probe)

    # --- connection and health

    async def _keep(self, first: asyncio.Future[None]) -> None:
        wait = RECONNECT_LEAST_S
        while True:
            began = monotonic()
            try:
                await self._connect()
                if not first.done():
                    first.set_result(None)
                await self._watch()
            except RedisRefused as refusal:
                if not first.done():
                    first.set_exception(refusal)
                self._set_away(str(refusal))
            except TimeoutError:
                self._set_away("no answer in time")
            except Exception as error:  # whatever it is, it must not be the last try
                self._set_away(str(error) or type(error).__name__)
            if monotonic() - began > RECONNECT_MOST_S:
                wait = RECONNECT_LEAST_S
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            wait = min(wait * 2, RECONNECT_MOST_S)

    async def _connect(self) -> None:
        self._gone = gone = asyncio.Event()

        def lost(why: str) -> None:
            gone.set()
            if self._link is not None:  # else it was never in use: `_keep` says why
                self._link = None
                self._set_away(why)

        _, link = await dial(self.address, lambda: _Link(lost))
        try:
            async with asyncio.timeout(HELLO_WITHIN_S):
                health = await self._greet(link)
            if link.ended:  # since its last word
                raise ConnectionError(link.ended)
        except BaseException:
            link.drop("not in use")
            raise
        self._link = link
        self._health.begin()
        self._judge_health(health)
        if self._untrusted:
            self._set_away(self._untrusted)
        else:
            self._set_up()

    async def _greet(self, link: _Link) -> Replies:
        """Enter, and return what Redis says of its health."""
        hello = greeting(self.address)
        replies = await self._first_words(link, b"".join(pack(*c) for c in hello), len(hello))
        for reply in replies:
            if isinstance(reply, Exception):
                kind = RedisRefused if refused(reply) else Unreachable
                raise kind(f"redis at {self.address}: {reply}")
        return await self._first_words(link, self._questions, len(QUESTIONS) + 1)

    async def _first_words(self, link: _Link, commands: bytes, count: int) -> Replies:
        answer: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()

        def done(replies: Replies | None) -> None:
            if answer.done():
                return
            if replies is None:
                answer.set_exception(ConnectionError(link.ended))
            else:
                answer.set_result(replies)

        link.send(commands, count, done)
        return await answer

    async def _watch(self) -> None:
        """Ask for health every two seconds until the connection is lost."""
        while not self._gone.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEALTH_EVERY_S):
                    await self._gone.wait()
            link = self._link
            if link is None:
                return
            if link.pending and link.pending[0].sent + HEAD_AGE_MOST_S <= monotonic():
                link.drop(f"no answer for {HEAD_AGE_MOST_S:.0f} s")
            elif not link.pending or self.up:
                self._send_health(self._health_answered)

    def _health_answered(self, replies: Replies | None) -> None:
        if replies is None:
            return
        self._judge_health(replies)
        if self._untrusted and self.up:
            self._set_away(self._untrusted)

    def _judge_health(self, replies: Replies) -> None:
        """See whether look-ups can be trusted, and read the epoch."""
        self._untrusted = self._health.untold(replies)
        if self._untrusted:
            return
        self._untrusted = self._health.distrust(replies)
        if self._untrusted == NO_MASTER and self._link is not None:
            self._link.drop(NO_MASTER)
        self.epoch_read(replies[-1])
