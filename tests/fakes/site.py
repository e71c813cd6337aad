"""One installation: configuration files, a filled Redis, an SMSC, and the real daemon between.

What a test may rely on at its end is in tests/fakes/daemon.py.
"""

import contextlib
import secrets
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis.asyncio
import yaml

from smsfilter.rules.senders import RegistryFile
from smsfilter.store import registry as registry_store
from tests.fakes.daemon import Daemon
from tests.fakes.esme import FakeESME
from tests.fakes.legs import PLAIN, Legs
from tests.fakes.redis_server import RedisServer
from tests.fakes.registry import APPROVED, REGISTRY
from tests.fakes.smsc import FakeSMSC


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over` in their places, at any depth."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        nested = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if nested else value  # type: ignore[arg-type]
    return result


class Site(Daemon):
    """A directory, a Redis, an SMSC and a daemon. Options are described at `make_site`."""

    def __init__(
        self,
        directory: Path,
        server: RedisServer,
        smsc: FakeSMSC | None,
        *,
        policy: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        registry: Mapping[str, Any] | None = REGISTRY,
        approved: Mapping[str, Iterable[str]] = APPROVED,
        index_ready: bool = True,
        wrapper: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        legs: Legs = PLAIN,
    ) -> None:
        super().__init__(directory, wrapper, env)
        self.legs = legs
        self.server = server
        self._smsc = smsc
        self.registry = registry
        self.approved = approved
        self.index_ready = index_ready
        self.policy_path = directory / "policy.yaml"
        self._esmes: list[FakeESME] = []
        self.write_policy(policy or {})
        self.write_config(config or {})

    # files

    def write_policy(self, over: Mapping[str, Any]) -> None:
        """Write policy.yaml: the defaults, and what differs from them."""
        self._write(self.policy_path, merged({"version": "1"}, over))

    def write_config(self, over: Mapping[str, Any]) -> None:
        """Write smsfilter.yaml: all ports chosen by the kernel, generous Redis deadline."""
        smsc = [f"127.0.0.1:{self._smsc.port}"] if self._smsc is not None else ["127.0.0.1:1"]
        base = {
            "proxy": {
                "listen": ["127.0.0.1:0"],
                "smsc": smsc,
                "policy": "policy.yaml",
                "admin": "127.0.0.1:0",
                "timeouts": {"drain": "1s"},
            },
            # Other tests share the cores: a default deadline of 50 ms would be a matter of luck.
            "redis": {"url": self.server.url, "deadline": "500ms"},
            "state_dir": str(self.directory / "state"),
            "log": {"format": "json", "decisions": "all"},
        }
        (self.directory / "state").mkdir(exist_ok=True)
        self._write(self.config_path, self.legs.config(merged(base, over)))

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        path.write_text(yaml.safe_dump(dict(content), allow_unicode=True), encoding="utf-8")

    # Redis

    async def fill(self) -> None:
        """Load registry and approvals and declare the index ready, as far as this site has them."""
        if self.registry is not None:
            await self.load_registry(self.registry)
        for company, sources in self.approved.items():
            self.approve(company, *sources)
        if self.index_ready:
            self.make_index_ready()

    async def load_registry(self, registry: Mapping[str, Any]) -> None:
        """Replace the registry in Redis, as `smsfilter registry load` does."""
        async with self._async_client() as client:
            await registry_store.save(client, "", RegistryFile.model_validate(registry))

    def make_index_ready(self) -> None:
        """Write a new epoch, as `smsfilter index ready` does."""
        self.server.client().set("index:epoch", f"{secrets.token_hex(8)}:{time.time_ns() // 10**6}")

    @contextlib.asynccontextmanager
    async def _async_client(self) -> Any:
        client = redis.asyncio.Redis(
            unix_socket_path=str(self.server.socket_path), password=self.server.password
        )
        try:
            yield client
        finally:
            await client.aclose()

    def block(self, number: str, *companies: str) -> None:
        """Block companies for a customer, as `redis-cli SADD` does."""
        self.server.client().sadd(f"block:{{{number}}}", *companies)

    def unblock(self, number: str, *companies: str) -> None:
        """Take blocks back."""
        self.server.client().srem(f"block:{{{number}}}", *companies)

    def approve(self, company: str, *sources: str) -> None:
        """Approve a company's sources (all without any), as `redis-cli SADD` does."""
        self.server.client().sadd(f"approved:{{{company}}}", *(sources or ("*",)))

    def disapprove(self, company: str) -> None:
        """Take every approval of a company back."""
        self.server.client().delete(f"approved:{{{company}}}")

    # the daemon

    @property
    def smsc(self) -> FakeSMSC:
        """The SMSC behind the daemon."""
        assert self._smsc is not None, "this site was made without an SMSC"
        return self._smsc

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port_in("listen")

    @property
    def ports(self) -> list[int]:
        """All ports it listens on, in the order of the configuration."""
        found = self.logged("listening")[-1]["listen"]
        return [int(address.rpartition(":")[2]) for address in found]

    async def start(self, *, wait: bool = True) -> None:
        """Start the daemon and, unless told otherwise, wait until it listens."""
        await self.run("proxy", wait=wait)

    async def reload(self, policy: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Write a new policy if there is one, send SIGHUP, and return what it logged of it."""
        if policy is not None:
            self.write_policy(policy)
        since = len(self.log)
        self.signal(signal.SIGHUP)
        return await self.wait_for_log("config_reloaded", "config_rejected", since=since)

    async def restart(self) -> None:
        """Stop the daemon in order and start it again."""
        await self.stop()
        await self.start()

    async def close(self) -> None:
        """Close what tests left open, and stop."""
        for esme in self._esmes:
            if esme.ended is None:
                esme.abort()
        for esme in self._esmes:
            await esme.wait_ended()
        try:
            await self.stop()
        finally:
            if self._program is not None:
                await self._program.close()

    # senders

    async def connect(self, **options: Any) -> FakeESME:
        """An ESME that has connected and not bound, closed at the end of the test."""
        esme = await self.legs.esme(self.port, **options)
        self._esmes.append(esme)
        return esme

    async def esme(self, account: str = "acme", kind: str = "trx", **fields: Any) -> FakeESME:
        """An ESME that is bound as `account`."""
        return await (await self.connect()).bound(kind, account, **fields)
