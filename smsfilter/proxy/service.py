"""The proxy as a whole: its parts put together, its start, its every second, reload and drain.

Listens only after the first attempt to read the registry, so that the first ESME is not refused
for want of it. What is missing then is said once, with the command that cures it; the proxy runs
all the same and answers that it cannot decide.
"""

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from redis.exceptions import RedisError

from smsfilter import log, tasks
from smsfilter.admin import Admin
from smsfilter.config import ConfigError, Loaded, load
from smsfilter.exposition import present
from smsfilter.log import DecisionLog, Writer
from smsfilter.metrics import Metrics, render
from smsfilter.notify import Notify
from smsfilter.proxy import memory
from smsfilter.proxy.bind import BindDesk
from smsfilter.proxy.close import Leg, Why
from smsfilter.proxy.gate import Gate
from smsfilter.proxy.hub import Hub
from smsfilter.proxy.janitor import Janitor
from smsfilter.proxy.keyring import Keyring
from smsfilter.proxy.listener import Listener, too_few_descriptors
from smsfilter.proxy.recorder import Recorder
from smsfilter.proxy.status import Status
from smsfilter.rules.judge import Judge
from smsfilter.rules.policy import ApprovalRule, Mode, Policy
from smsfilter.rules.senders import Registry, RegistryFile
from smsfilter.store import keys, registry
from smsfilter.store.address import RedisAddress
from smsfilter.store.connect import client
from smsfilter.store.epoch import EpochGuard
from smsfilter.store.index import Index
from smsfilter.store.lint import any_approval
from smsfilter.store.segments import FOLDER, mark_unrecorded
from smsfilter.tls import FileError

TICK_S = 1.0
REGISTRY_WITHIN_S = 2.0
"""How long the start waits for Redis and for the first registry."""
DRAIN_LOOK_S = 0.02
UNBIND_WITHIN_S = 2.5
"""How long the end waits for the SMSC to answer the unbinds: a little more than a relay does."""
DROPPED = [
    ("esme", "unexpected_response"),
    ("smsc", "unexpected_response"),
    ("smsc", "unexpected_request"),
    ("smsc", "malformed"),
]
"""The series of `pdus_dropped`, there from the start."""


class Service:
    """One proxy, from start to stop."""

    def __init__(
        self,
        config_file: Path,
        loaded: Loaded,
        address: RedisAddress,
        writer: Writer,
        notify: Notify,
    ) -> None:
        config, policy = loaded.config, loaded.policy
        self._config_file = config_file
        self._config = config
        self._address = address
        self._writer = writer
        self._notify = notify
        self._registry_file: RegistryFile | None = None
        self._said: dict[str, str] = {}
        self.metrics = metrics = Metrics()
        self._guard = EpochGuard(**_kept(config.state_dir / "index.json"))
        deadline = config.redis.deadline.total_seconds()
        self.index = Index(address, config.redis.prefix, deadline, self)
        self.index.epoch_read = lambda raw: self._epoch_read(self._guard.trusted(raw, raw))
        self._decisions = DecisionLog(
            config.log.decisions, writer, config.log.format, policy.country_code
        )
        judge = Judge(policy, None)
        self._recorder: Recorder | None = None
        if config.decisions.record:
            self._recorder = Recorder(
                config.decisions, config.state_dir, metrics, policy.country_code
            )
        self._gate = Gate(
            self.index, self._guard, judge, metrics, self._decisions, recorder=self._recorder
        )
        binds = BindDesk(config.proxy.limits.bind_password_max)
        self._keyring = Keyring(config.proxy, metrics)
        self._memory = memory.Memory(_memory_most(config.proxy.limits.memory))
        self._hub = Hub(config.proxy, self._gate, metrics, binds, self._keyring, self._memory)
        self.listener = Listener(self._hub, config.proxy.limits)
        self._status = Status(self._hub, self.listener, self.index, self._guard, metrics)
        self._janitor = Janitor(config.proxy.timeouts)
        self._redis = client(address)
        self._tasks: list[asyncio.Task[None]] = []
        self._admin: Admin | None = None
        present(metrics.closes, [(leg, why) for leg in Leg for why in Why])
        present(metrics.bypassed, [rule.id for rule in judge.rules])
        present(metrics.pdus_dropped, DROPPED)
        metrics.policy_version = judge.version
        metrics.log_dropped = lambda: writer.dropped

    # --- start

    async def start(self) -> None:
        """Come up. Raises OSError when a port cannot be had, RedisRefused when Redis refuses."""
        if self._config.proxy.admin is not None:
            admin = self._config.proxy.admin
            status = self._status
            self._admin = Admin(
                admin,
                lambda: render(self.metrics),
                status.readiness,
                status.liveness,
                status.page,
            )
            try:
                self._admin.start()
            except OSError as error:
                why = f"cannot listen on {admin}: {error.strerror}"
                raise OSError(error.errno, why) from None
        if self._recorder is not None:
            await self._recorder.start()
        else:
            mark_unrecorded(self._config.state_dir / FOLDER)
        await self.index.start(REGISTRY_WITHIN_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REGISTRY_WITHIN_S):
                await self._poll_registry()
        await self._look_for_missing()
        few = too_few_descriptors(self._config.proxy.limits.sessions)
        if few is not None:
            log.get().warning("few_descriptors", needed=few[0], allowed=few[1])
        listening = self.listener.listen(self._config.proxy.listen)
        log.get().info(
            "listening",
            listen=listening,
            admin=f"{self._config.proxy.admin.host}:{self._admin.port}"
            if self._config.proxy.admin is not None and self._admin is not None
            else None,
        )
        self._tasks.append(asyncio.create_task(self._tick(), name="tick"))
        self._tasks.append(asyncio.create_task(self._follow_registry(), name="registry"))
        if not self._status.missing:
            log.get().info("ready")
        self._notify.ready(f"listening on {', '.join(listening)}")

    async def _look_for_missing(self) -> None:
        """Say what has to be there before a message can pass, and what cures its absence."""
        config, prefix = self._config_file, self._config.redis.prefix
        if not self.index.up:
            self._status.missing["redis"] = f"start Redis at {self._address}: {self.index.why}"
        if self._registry_file is None:
            self._status.missing["registry"] = f"smsfilter registry load FILE -c {config}"
        if not self.metrics.index_ready:
            self._status.missing["epoch"] = f"smsfilter index ready -c {config}"
        for what, cure in self._status.missing.items():
            log.get().warning("not_ready", missing=what, cure=cure)
        policy = self._gate.judge.policy
        asked = any(isinstance(r, ApprovalRule) and r.mode is Mode.ENFORCE for r in policy.rules)
        if asked and self._registry_file is not None and not await self._any_approval(policy):
            key = keys.approved(prefix, next(iter(self._registry_file.companies), "company"))
            cure = f"redis-cli SADD '{key}' '*'"
            log.get().warning("not_ready", missing="approvals", cure=cure)

    async def _any_approval(self, policy: Policy) -> bool:
        """Whether anybody may send groups; True as well when that cannot be told."""
        content = self._registry_file
        companies = list(content.companies) if content else []
        try:
            return await any_approval(self._redis, self._config.redis.prefix, companies, policy)
        except (RedisError, OSError):
            return True

    # --- the registry

    async def _follow_registry(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self._poll_registry()

    async def _poll_registry(self) -> None:
        """Take over another registry, if there is one. The old one stays when that fails."""
        prefix = self._config.redis.prefix
        try:
            version = await registry.version(self._redis, prefix)
            if version is None or version == self.metrics.registry_version:
                self._said.pop("registry_unreadable", None)
                return
            loaded = await registry.load(self._redis, prefix)
            if loaded is None:
                return
            version, content = loaded
            judge = self._gate.judge
            compiled = await asyncio.to_thread(_compiled, content, judge.policy.timezone)
        except Exception as error:  # whatever it is, it must not be the last look
            self._say_once("registry_unreadable", str(error) or type(error).__name__)
            return
        self._said.pop("registry_unreadable", None)
        self._registry_file = content
        self._gate.judge = Judge(self._gate.judge.policy, compiled)
        self.metrics.registry_version = version
        self._status.cured("registry")
        log.get().info("registry_loaded", version=version, companies=len(content.companies))

    # --- reload

    async def reload(self) -> None:
        """SIGHUP: the policy and all certificates anew, in one step, or the old ones stay."""
        self._notify.reloading()
        try:
            loaded = await asyncio.to_thread(load, self._config_file)
            certificates = await asyncio.to_thread(self._keyring.read)
        except (ConfigError, FileError) as error:
            self.metrics.config_stale = True
            log.get().error("config_rejected", errors=str(error).splitlines())
        else:
            self._keyring.take(certificates)
            policy, old = loaded.policy, self._gate.judge
            compiled = old.registry
            if policy.timezone != old.policy.timezone and self._registry_file is not None:
                compiled = await asyncio.to_thread(_compiled, self._registry_file, policy.timezone)
            self._gate.judge = judge = Judge(policy, compiled)
            present(self.metrics.bypassed, [rule.id for rule in judge.rules])
            self._decisions.country_code = policy.country_code
            if self._recorder is not None:
                self._recorder.country_code = policy.country_code
            self.metrics.policy_version = judge.version
            self.metrics.config_stale = False
            restart = loaded.config != self._config
            log.get().info("config_reloaded", policy=judge.version, needs_restart=restart)
        self._notify.ready()

    # --- each second

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + TICK_S
        self._status.beat = time.monotonic()
        while True:
            await asyncio.sleep(max(due - loop.time(), 0))
            now = loop.time()
            self.metrics.loop_lag = max(now - due, 0.0)
            due = now + TICK_S
            self._status.beat = time.monotonic()
            self._memory.look()
            self._janitor.sweep(self.listener.relays, self._status.beat)
            self._decisions.tick(time.time())
            for reason, count in self._hub.binds.next_second().items():
                log.get().warning("bind_refused_summary", reason=reason, count=count)
            self._keyring.tick(now)
            self._notify.watchdog()
            await self._keep_epoch()

    async def _keep_epoch(self) -> None:
        if self._guard.changed:
            self._guard.changed = False
            await asyncio.to_thread(
                _keep, self._config.state_dir / "index.json", self._guard.state()
            )

    def _epoch_read(self, trusted: bool) -> None:
        """The index was looked at, by a health check at least every two seconds."""
        if not trusted:
            self._say_once("index_untrusted", self._guard.why)
        elif not self.metrics.index_ready:
            self._said.pop("index_untrusted", None)
            log.get().info("index_epoch", epoch=self._guard.epoch, seq=self._guard.seq)
            self._status.cured("epoch")
        self.metrics.index_ready = trusted

    def _say_once(self, event: str, why: str) -> None:
        """Say what lasts when it begins, and when it is something else; not at each look."""
        if self._said.get(event) != why:
            self._said[event] = why
            log.get().error(event, why=why)

    def index_up(self) -> None:
        """See `store.index.Watcher`."""
        self.metrics.redis_up = True
        log.get().info("redis_up", redis=str(self._address))
        self._status.cured("redis")

    def index_away(self, why: str) -> None:
        """See `store.index.Watcher`."""
        self.metrics.redis_up = False
        log.get().error("redis_away", redis=str(self._address), why=why)

    # --- the end

    async def drain(self) -> None:
        """Take no more, let what is under way be answered, unbind, say good-bye."""
        self._status.draining = self._gate.paused = True
        self.listener.stop()
        seconds = self._config.proxy.timeouts.drain.total_seconds()
        log.get().info("draining", sessions=len(self.listener.relays), within_s=seconds)
        self._notify.stopping("draining")
        relays = self.listener.relays
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # many sessions' states in one, and only at the end: looked at, not awaited
                while not all(relay.quiet() for relay in relays):  # noqa: ASYNC110
                    await asyncio.sleep(DRAIN_LOOK_S)
        self.close_at_once()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNBIND_WITHIN_S):
                await self.listener.empty.wait()

    def close_at_once(self) -> None:
        """End every session without waiting for anyone."""
        for relay in list(self.listener.relays):
            relay.close(Leg.PROXY, Why.DRAINED)

    def heartbeat(self) -> float:
        """When the event loop last turned, in monotonic seconds."""
        return self._status.beat

    async def stop(self) -> None:
        """End what is left, whatever state it is in."""
        self.listener.stop()
        await tasks.ended(self._tasks)
        await self.index.stop()
        if self._recorder is not None:
            await self._recorder.stop()
        await self._redis.aclose()
        await self._keep_epoch()
        if self._admin is not None:
            await asyncio.to_thread(self._admin.stop)
        log.get().info("stopped", forwarded=self.metrics.forwarded)


def _memory_most(mib: int) -> int | None:
    """The limit in octets, by the setting in MiB."""
    if mib:
        return mib << 20
    kernels = memory.allowed()
    return None if kernels is None else int(kernels * memory.SHARE)


def _compiled(content: RegistryFile, timezone: str) -> Registry:
    with registry.uncollected():
        return Registry(content, ZoneInfo(timezone))


def _kept(path: Path) -> dict[str, Any]:
    """What the index was when this host last saw it."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {
            "epoch": str(kept["epoch"]),
            "seq": int(kept["seq"]),
            "left": tuple(str(epoch) for epoch in kept["left"]),
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.get().error("state_unreadable", file=str(path), why=str(error))
        return {}


def _keep(path: Path, state: dict[str, object]) -> None:
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps(state), encoding="utf-8")
        new.replace(path)
    except OSError as error:
        log.get().error("state_unwritable", file=str(path), why=str(error))
