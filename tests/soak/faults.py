"""What is done to the daemon under load, how it has to show, and how it is undone.

Each fault is a function of the bed, a context manager: what is before the `yield` breaks
something, what is after it repairs it. The table says which log event must tell of either.
"""

import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import NamedTuple

from tests.fakes.calm import customer
from tests.fakes.chaos import ChaosProxy, Way
from tests.fakes.esme import FakeESME
from tests.fakes.history import Block, mark
from tests.soak.bed import Bed

Done = contextlib.AbstractAsyncContextManager[None]
BLOCKS_MOST = 300


class Kind(NamedTuple):
    """A fault as the table has it."""

    do: Callable[[Bed], Done]
    lasts_s: tuple[float, float]
    shows: str = ""
    heals: str = ""


# Redis


@contextlib.asynccontextmanager
async def redis_frozen(bed: Bed) -> AsyncIterator[None]:
    """SIGSTOP."""
    bed.redis.freeze()
    yield
    bed.redis.resume()


@contextlib.asynccontextmanager
async def redis_killed(bed: Bed) -> AsyncIterator[None]:
    """SIGKILL, then empty, then filled."""
    bed.redis.kill()
    yield
    bed.redis.start()
    await bed.refill()


@contextlib.asynccontextmanager
async def redis_emptied(bed: Bed) -> AsyncIterator[None]:
    """FLUSHALL."""
    bed.redis.client().flushall()
    yield
    await bed.refill()


# the wires


def cut(wire_of: Callable[[Bed], ChaosProxy]) -> Callable[[Bed], Done]:
    """Every connection reset, again and again for as long as it lasts."""

    @contextlib.asynccontextmanager
    async def fault(bed: Bed) -> AsyncIterator[None]:
        wire_of(bed).cut()
        yield

    return fault


def switched(
    wire_of: Callable[[Bed], ChaosProxy],
    switch: Callable[[Way], object],
    ways: str = "both",
    *,
    lost: bool = False,
) -> Callable[[Bed], Done]:
    """A switch of the wire, in one direction or both; `lost`: the connections are of no use."""

    @contextlib.asynccontextmanager
    async def fault(bed: Bed) -> AsyncIterator[None]:
        chaos = wire_of(bed)
        for name in ("to_server", "to_client"):
            if ways in (name, "both"):
                switch(getattr(chaos, name))
        yield
        if lost:
            chaos.cut()
        chaos.heal()

    return fault


def half_closed(wire_of: Callable[[Bed], ChaosProxy], way: str) -> Callable[[Bed], Done]:
    """FIN in one direction."""

    @contextlib.asynccontextmanager
    async def fault(bed: Bed) -> AsyncIterator[None]:
        chaos = wire_of(bed)
        chaos.half_close(getattr(chaos, way))
        yield
        chaos.cut()

    return fault


@contextlib.asynccontextmanager
async def smsc_down(bed: Bed) -> AsyncIterator[None]:
    """No connection, old or new."""
    bed.smsc_wire.refuse()
    bed.smsc_wire.cut()
    yield
    bed.smsc_wire.heal()


# ESMEs


@contextlib.asynccontextmanager
async def esmes_reset(bed: Bed) -> AsyncIterator[None]:
    """Half of the senders are gone from one moment to the next."""
    for sender in bed.senders[::2]:
        if sender.esmes:
            sender.esmes[-1].abort()
    yield


@contextlib.asynccontextmanager
async def esmes_do_not_read(bed: Bed) -> AsyncIterator[None]:
    """Half of the senders take no answers for a while."""
    deaf = [sender.esmes[-1] for sender in bed.senders[::2] if sender.esmes]
    deaf = [esme for esme in deaf if esme.ended is None]
    for esme in deaf:
        esme.pause_reading()
    yield
    for esme in deaf:
        if esme.ended is None:
            esme.resume_reading()


@contextlib.asynccontextmanager
async def garbage(bed: Bed) -> AsyncIterator[None]:
    """Strangers who speak something else, bound and not bound."""
    for n in range(20):
        esme = await FakeESME.connect(bed.site.port)
        if n % 4 == 0:
            bed.strangers.append(esme)
            await esme.bound("trx", "acme", **mark(-len(bed.strangers) - bed.rounds * 100))
        esme.send_raw(bed.chance.randbytes(2000) + b"\xff" * 16)
        if n % 4:
            await esme.wait_ended()
    yield


# files, registry, blocks


@contextlib.asynccontextmanager
async def good_policy(bed: Bed) -> AsyncIterator[None]:
    """SIGHUP with other rules."""
    status = bed.chance.choice(("0x0B", "0x45", "0x66"))
    bed.site.write_policy({"accounts": {"acme": {"status": {"blocked_by_report": status}}}})
    bed.site.signal(signal.SIGHUP)
    yield


@contextlib.asynccontextmanager
async def bad_policy(bed: Bed) -> AsyncIterator[None]:
    """SIGHUP with a file that cannot be read, and then with one that can."""
    bed.site.policy_path.write_text(bed.chance.choice(("", "rules: [\n", "version: 1\nmode: of\n")))
    bed.site.signal(signal.SIGHUP)
    yield
    bed.site.write_policy({})
    bed.site.signal(signal.SIGHUP)


@contextlib.asynccontextmanager
async def registry_reloaded(bed: Bed) -> AsyncIterator[None]:
    """Another registry, with the same companies in it."""
    assert bed.site.registry is not None
    extra = {f"c{bed.rounds}": {"accounts": [f"c{bed.rounds}"], "sources": [f"1065{bed.rounds}"]}}
    companies = {**bed.site.registry["companies"], **extra}
    await bed.site.load_registry({**bed.site.registry, "companies": companies})
    yield


@contextlib.asynccontextmanager
async def blocks_come_and_go(bed: Bed) -> AsyncIterator[None]:
    """Some more customers block acme, some take it back."""
    for _ in range(20):
        number = customer()
        bed.site.block(number, "acme")
        bed.blocks.append(Block(number, "acme", monotonic()))
        bed.blocked.append(number)
    yield
    for at in range(bed.chance.randint(0, 5)):
        block = bed.blocks[at]
        if block.number in bed.blocked and len(bed.blocked) > 1:
            bed.blocks[at] = block._replace(until=min(block.until, monotonic()))
            bed.blocked.remove(block.number)
            bed.site.unblock(block.number, "acme")
    del bed.blocked[: max(0, len(bed.blocked) - BLOCKS_MOST)]


@contextlib.asynccontextmanager
async def log_unread(bed: Bed) -> AsyncIterator[None]:
    """Nobody takes the log."""
    bed.site.stop_reading_log()
    yield
    bed.site.read_log_again()


def _redis(bed: Bed) -> ChaosProxy:
    return bed.redis_wire


def _smsc(bed: Bed) -> ChaosProxy:
    return bed.smsc_wire


def _esme(bed: Bed) -> ChaosProxy:
    return bed.esme_wire


def _delay(way: Way) -> None:
    way.delay_s = 0.3


def _split(way: Way) -> None:
    way.piece = 7


def _drop(way: Way) -> None:
    way.dropping = True


SHORT, LONG, UNANSWERED = (0.5, 1.5), (3.0, 5.0), (5.0, 6.5)
"""Seconds. LONG is more than the two seconds between health checks, UNANSWERED more than the
time-out of `response` and the second in which it is noticed."""
CLOSED = "session_closed"

KINDS: dict[str, Kind] = {
    "Redis frozen": Kind(redis_frozen, (1.0, 3.0), "redis_away", "redis_up"),
    "Redis killed": Kind(redis_killed, SHORT, "redis_away", "redis_up"),
    "Redis emptied": Kind(redis_emptied, LONG, "index_untrusted", "index_epoch"),
    "Redis cut off": Kind(cut(_redis), SHORT, "redis_away", "redis_up"),
    "Redis slow": Kind(switched(_redis, _delay), SHORT, "redis_away", "redis_up"),
    "Redis silent": Kind(switched(_redis, Way.stall), LONG, "redis_away", "redis_up"),
    "Redis in pieces": Kind(switched(_redis, _split, "to_client"), SHORT),
    "SMSC cut off": Kind(cut(_smsc), SHORT, CLOSED),
    "SMSC down": Kind(smsc_down, SHORT, "bind_refused"),
    "SMSC takes nothing": Kind(switched(_smsc, Way.stall, "to_server"), UNANSWERED, CLOSED),
    "SMSC says nothing": Kind(switched(_smsc, Way.stall, "to_client"), UNANSWERED, CLOSED),
    "SMSC loses octets": Kind(switched(_smsc, _drop, lost=True), SHORT, CLOSED),
    "SMSC slow": Kind(switched(_smsc, _delay), SHORT),
    "SMSC in pieces": Kind(switched(_smsc, _split), SHORT),
    "SMSC half-closed": Kind(half_closed(_smsc, "to_client"), SHORT, CLOSED),
    "SMSC half-closed by the proxy": Kind(half_closed(_smsc, "to_server"), SHORT, CLOSED),
    "ESMEs reset": Kind(esmes_reset, SHORT, CLOSED),
    "ESMEs do not read": Kind(esmes_do_not_read, (1.0, 2.0)),
    "ESMEs cut off": Kind(cut(_esme), SHORT, CLOSED),
    "ESMEs lose octets": Kind(switched(_esme, _drop, lost=True), SHORT, "", CLOSED),
    "ESMEs in pieces": Kind(switched(_esme, _split), SHORT),
    "ESMEs half-closed": Kind(half_closed(_esme, "to_server"), SHORT, CLOSED),
    "garbage": Kind(garbage, SHORT, CLOSED),
    "good policy": Kind(good_policy, SHORT, "config_reloaded"),
    "bad policy": Kind(bad_policy, SHORT, "config_rejected", "config_reloaded"),
    "registry": Kind(registry_reloaded, LONG, "registry_loaded"),
    "blocks": Kind(blocks_come_and_go, SHORT),
    "log unread": Kind(log_unread, SHORT),
}
"""By name, what may happen."""
