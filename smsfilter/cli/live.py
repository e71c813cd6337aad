"""`smsfilter check --live`: whether Redis and the SMSC are there, and Redis is filled.

Asks what the proxy will need, in the order in which one sets it up, and names for each thing that
is missing the command that cures it. Changes nothing in Redis; to the SMSC only a connection is
opened, with TLS where that is configured, and closed without an octet of SMPP.
"""

import asyncio
import contextlib
import os
import shlex
import ssl
import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from smsfilter.cli import check_desk
from smsfilter.cli.store import warn
from smsfilter.config import Config, Loaded
from smsfilter.ends import Upstream
from smsfilter.rules.policy import ApprovalRule, Mode
from smsfilter.store import keys, registry
from smsfilter.store.address import parse_url
from smsfilter.store.connect import (
    RedisRefused,
    Unreachable,
    connected,
    not_allowed,
    not_known,
)
from smsfilter.store.epoch import EpochGuard
from smsfilter.tls import told

if TYPE_CHECKING:
    from redis.asyncio import Redis

REDIS_LEAST: Final = (6, 2)
"""SMISMEMBER came with 6.2."""
REDIS_ACL: Final = (7, 0)
"""Keys that a user may only read came with 7.0."""
KEYS: Final = ("block:*", "approved:*", "registry:*", "index:epoch")
COMMANDS: Final = ("+ping", "+info", "+get", "+smismember", "+hgetall", "+exists", "+scan")
"""What the proxy's user has to be allowed: docs/redis-keys.md says what for."""


class Finding(NamedTuple):
    """One thing that was asked for; `cure` is a command, where one helps."""

    ok: bool
    message: str
    cure: str = ""
    caution: str = ""
    """What is legal, and less safe than it could be."""


def run(loaded: Loaded, config_file: str) -> int:
    """Print what was found; 1 when something is missing."""
    return asyncio.run(_report(loaded, config_file))


async def _report(loaded: Loaded, file: str) -> int:
    found = [*await redis_findings(loaded, file), *await smsc_findings(loaded.config)]
    found += await asyncio.to_thread(check_desk.records, loaded)
    for finding in found:
        if finding.ok:
            print(f"{finding.message}: ok")
            if finding.caution:
                warn(finding.caution)
        else:
            cure = f"; cure: {finding.cure}" if finding.cure else ""
            print(f"{finding.message}{cure}", file=sys.stderr)
    return 0 if all(finding.ok for finding in found) else 1


async def redis_findings(loaded: Loaded, file: str) -> list[Finding]:
    """Ask Redis for itself and for what it holds; `file` is the configuration, for the cures."""
    config = loaded.config
    address = parse_url(config.redis.url, config.state_dir, config.redis.password())
    found: list[Finding] = []
    try:
        async with connected(address) as redis:
            found += await _server(redis, str(address))
            found.append(await _epoch(redis, config, file))
            found += await _companies(redis, loaded, file)
    except RedisRefused as error:
        cure = _refusal_cure(error, address.username or "default", config.redis.prefix, file)
        found.append(Finding(False, str(error), cure))
    except Unreachable as error:
        found.append(Finding(False, str(error), "systemctl start redis-server"))
    return found


def _refusal_cure(error: RedisRefused, user: str, prefix: str, file: str) -> str:
    if not_allowed(error):
        names = [f"~{prefix}{name}" for name in KEYS]
        return shlex.join(("redis-cli", "ACL", "SETUSER", user, *names, *COMMANDS))
    if not_known(error):
        return (
            f"name the user in redis.url and the password's file in redis.password_file of {file}"
        )
    return "see the ssl_ options of redis.url"


async def smsc_findings(config: Config) -> list[Finding]:
    """Open a connection to each SMSC, of the proxy and of the desk."""
    timeout_s = config.proxy.timeouts.connect.total_seconds()
    centre = () if config.desk is None else config.desk.report_centre.smsc
    ends = {str(each.address): each for each in (*centre, *config.proxy.smsc)}
    return [await _smsc(upstream, timeout_s) for upstream in ends.values()]


async def _server(redis: "Redis", where: str) -> list[Finding]:
    info: dict[str, Any] = await redis.info()
    version = str(info.get("redis_version", "0"))
    number = tuple(int(part) for part in version.split(".")[:2])
    caution = ""
    if number < REDIS_ACL:
        caution = f"redis {version} cannot keep the proxy's user from writing: that takes 7.0"
    found = [Finding(True, f"redis at {where}, version {version}", caution=caution)]
    if number < REDIS_LEAST:
        found = [Finding(False, f"redis at {where} is version {version}; 6.2 or later is needed")]
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys-"):
        message = f"redis may evict blocks: maxmemory-policy is {policy}"
        found.append(Finding(False, message, "redis-cli CONFIG SET maxmemory-policy noeviction"))
    return found


async def _epoch(redis: "Redis", config: Config, file: str) -> Finding:
    epoch: Any = await redis.get(config.redis.prefix + keys.EPOCH)
    guard = EpochGuard()
    if guard.trusted(epoch, epoch):
        return Finding(True, f"index, epoch {epoch.decode()}")
    message = f"the index counts as not filled, so no look-up is trusted: {guard.why}"
    by_hand = config.desk is None
    return Finding(False, message, f"smsfilter {'index ready' if by_hand else 'desk'} -c {file}")


async def _companies(redis: "Redis", loaded: Loaded, file: str) -> list[Finding]:
    prefix = loaded.config.redis.prefix
    command = "registry load" if loaded.config.desk is None else "company import"
    load = f"smsfilter {command} registry.yaml -c {file}"
    try:
        stored = await registry.load(redis, prefix)
    except registry.RegistryError as error:
        return [Finding(False, str(error), load)]
    if stored is None:
        return [Finding(False, "no registry: nothing tells which company sends", load)]
    version, content = stored
    found = [Finding(True, f"registry {version}, {len(content.companies)} companies")]
    rules = loaded.policy.rules
    if not any(isinstance(rule, ApprovalRule) and rule.mode is Mode.ENFORCE for rule in rules):
        return found
    names = sorted(content.companies)
    async with redis.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.exists(keys.approved(prefix, name))
        approved = await cast("Awaitable[list[int]]", pipeline.execute())
    if any(approved):
        found.append(Finding(True, f"approvals of {sum(approved)} of {len(names)} companies"))
    else:
        key = keys.approved(prefix, names[0] if names else "company")
        message = "no company is approved: every message is refused"
        found.append(Finding(False, message, f"redis-cli SADD '{key}' '*'"))
    return found


async def _smsc(upstream: Upstream, timeout_s: float) -> Finding:
    host, port = upstream.address
    local = (upstream.source_address, 0) if upstream.source_address else None
    tls: dict[str, Any] = {}
    if upstream.tls is not None:
        name = upstream.tls.server_name or host
        tls = {"ssl": upstream.tls.read().context, "server_hostname": name}
    try:
        async with asyncio.timeout(timeout_s):
            _reader, writer = await asyncio.open_connection(host, port, local_addr=local, **tls)
    except ssl.SSLError as error:
        await asyncio.sleep(0)  # its socket is closed in the next turn
        return Finding(False, f"SMSC {upstream.address}: {told(error)}", _TLS_CURE)
    except TimeoutError:
        return Finding(False, f"SMSC {upstream.address}: no answer in {timeout_s:g}s", _SMSC_CURE)
    except OSError as error:
        number = error.errno or 0  # negative: the name was not found
        why = os.strerror(number) if number > 0 else error.strerror or str(error)
        return Finding(False, f"SMSC {upstream.address}: {why}", _SMSC_CURE)
    writer.close()
    with contextlib.suppress(OSError):  # a TimeoutError is one
        async with asyncio.timeout(timeout_s):
            await writer.wait_closed()
    with_tls = " with TLS" if tls else ""
    return Finding(True, f"SMSC {upstream.address} takes connections{with_tls}")


_TLS_CURE: Final = "see proxy.smsc.tls: ca, server_name, certificate and key"
_SMSC_CURE: Final = "see that it runs and that its firewall lets this machine in"
