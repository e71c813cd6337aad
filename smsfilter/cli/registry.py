"""`smsfilter registry`: put a registry file in force, show what is in force, ask who a name is.

A file that is not valid is never loaded; its errors are printed with line and column, all at once.
"""

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from smsfilter.cli.store import add_config, run_on_redis, warn

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from smsfilter.config import Config
    from smsfilter.rules.senders import Holding, RegistryFile


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("registry", help="companies, their accounts and sources")
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    load = commands.add_parser(
        "load",
        help="put a registry file in force",
        description="Replace the whole registry by that of FILE, in one step. Proxies follow "
        "within 2 seconds. A file with an error changes nothing.",
    )
    load.add_argument("file", metavar="FILE", type=Path, help="the registry, as YAML")
    show = commands.add_parser("show", help="print the registry in force")
    who = commands.add_parser(
        "who",
        help="say which company an account, a source or a header belongs to",
        description="Say what NAME is in the registry in force: a company, an account, a "
        "reseller, a source (the longest prefix counts), a header. Exit status 1 when it is none.",
    )
    who.add_argument("name", metavar="NAME", help="such as acme, 1065755501 or ACME")
    for command in (show, who):
        command.add_argument("--json", action="store_true", help="print JSON")
    for command, run in ((load, _load), (show, _show), (who, _who)):
        add_config(command)
        command.set_defaults(run=run)


def _load(args: argparse.Namespace) -> int:
    from smsfilter.config import load_yaml  # noqa: PLC0415 - start-up stays light
    from smsfilter.rules.senders import RegistryFile  # noqa: PLC0415
    from smsfilter.store import keys, registry  # noqa: PLC0415

    with registry.uncollected():
        content = load_yaml(args.file, RegistryFile)

    async def work(redis: "Redis", config: "Config") -> int:
        prefix = config.redis.prefix
        before = await registry.version(redis, prefix)
        if before is not None and (await registry.origin(redis, prefix, before))[0] != "file":
            raise registry.RegistryError(
                f"registry {before} is that of a desk, which would put its own back: give it the"
                f" file, with smsfilter company import {args.file}"
            )
        after = await registry.save(redis, prefix, content)
        what = "unchanged" if before == after else "in force within 2 seconds"
        print(f"registry {after}: {_summary(content)}; {what}")
        if not content.companies:
            warn("it has no company: every message is refused")
        if not await redis.exists(prefix + keys.EPOCH):
            warn("the index is not marked as filled, so nothing is forwarded", _READY)
        return 0

    return run_on_redis(args, work)


_READY = "smsfilter index ready, once blocks and approvals are in Redis"


def _summary(content: "RegistryFile") -> str:
    companies = content.companies.values()
    counted = (
        (len(content.companies), "company", "companies"),
        (sum(len(one.accounts) for one in companies), "account", "accounts"),
        (sum(len(one.sources) for one in companies), "source", "sources"),
        (sum(len(one.headers) for one in companies), "header", "headers"),
        (len(content.resellers), "reseller", "resellers"),
    )
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counted)


def _show(args: argparse.Namespace) -> int:
    from smsfilter.store import registry  # noqa: PLC0415 - start-up stays light

    async def work(redis: "Redis", config: "Config") -> int:
        loaded = await registry.load(redis, config.redis.prefix)
        if loaded is None:
            return _no_registry()
        version, content = loaded
        owner, at = await registry.origin(redis, config.redis.prefix, version)
        since = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
        plain = content.model_dump(mode="json", exclude_defaults=True)
        if args.json:
            about = {"version": version, "owner": owner, "loaded_at": since}
            print(json.dumps(about | plain, ensure_ascii=False))
            return 0
        print(f"# registry {version}, by {owner} at {since}: {_summary(content)}")
        print(as_yaml(plain), end="")
        return 0

    return run_on_redis(args, work)


def as_yaml(plain: dict[str, Any]) -> str:
    """Write a registry as its file is written."""
    import yaml  # noqa: PLC0415 - start-up stays light

    text: str = yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=100)
    return text


def _who(args: argparse.Namespace) -> int:
    from smsfilter.config import load_policy  # noqa: PLC0415 - start-up stays light
    from smsfilter.rules.senders import Registry  # noqa: PLC0415
    from smsfilter.store import registry  # noqa: PLC0415

    async def work(redis: "Redis", config: "Config") -> int:
        policy = load_policy(config.proxy.policy)
        loaded = await registry.load(redis, config.redis.prefix)
        if loaded is None:
            return _no_registry()
        zone = ZoneInfo(policy.timezone)
        known = Registry(loaded[1], zone)
        found = known.who(args.name, time.time(), policy.country_code)
        if args.json:
            print(json.dumps([one._asdict() for one in found], ensure_ascii=False))
        elif not found:
            print(f"{args.name} is nothing in registry {loaded[0]}")
        else:
            for one in found:
                print(_sentence(args.name, one, loaded[1], zone))
        return 0 if found else 1

    return run_on_redis(args, work)


def _sentence(name: str, holding: "Holding", content: "RegistryFile", zone: ZoneInfo) -> str:
    def called(company: str) -> str:
        full = content.companies[company].name if company in content.companies else None
        return f"{company} ({full})" if full else company

    owners = ", ".join(called(company) for company in holding.companies) or "nobody"
    until = ""
    if holding.valid_until is not None:
        moment = datetime.fromtimestamp(holding.valid_until, zone)
        until = f", until {moment.isoformat(timespec='minutes')}"
    match holding.kind:
        case "company":
            return f"{name} is the company {owners}"
        case "account":
            return f"{name} is an account of {owners}"
        case "reseller":
            return f"{name} is a reseller that may send for {owners}"
        case "source":
            return f"{name} is a source of {owners}, by its prefix {holding.name}{until}"
        case "header":
            return f"{name} is a header of {owners}, registered as {holding.name}"
        case "signature":
            return f"{name} is a signature of {owners}"
        case _:
            return f"{name} imitates {holding.name} of {owners}, and is nobody's own"


def _no_registry() -> int:
    warn("no registry was loaded", "smsfilter registry load registry.yaml")
    return 1
