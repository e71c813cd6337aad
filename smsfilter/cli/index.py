"""`smsfilter index`: mark the index as filled, and find what is wrong in it."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from smsfilter.cli.store import offer, run_on_redis, warn

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from smsfilter.config import Config


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("index", help="mark the index in Redis as filled, or check it")
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    ready = commands.add_parser(
        "ready",
        help="mark the index as filled",
        description="Set index:epoch, as the last act of filling the index. Until it is set, and "
        "after Redis was emptied, nothing is forwarded. What is missing is named in a warning.",
    )
    lint = commands.add_parser(
        "lint",
        help="find keys and members that nobody asks for",
        description="Read the whole index, and name each key and member that blocks or approves "
        "nothing: misspelt numbers, unknown companies, wrong types. Changes nothing. "
        "Exit status 1 when something was found.",
    )
    for command, run in ((ready, _ready), (lint, _lint)):
        offer(command, run)


_A_DESK_S = """smsfilter: the index is a desk's, which marks it by itself
  cure: start the desk; where there is none any more: redis-cli DEL index:epoch, then again"""


def _ready(args: argparse.Namespace) -> int:
    from smsfilter.config import load_policy  # noqa: PLC0415 - start-up stays light
    from smsfilter.store import lint  # noqa: PLC0415

    async def work(redis: "Redis", config: "Config") -> int:
        if await lint.is_a_desk_s(redis, config.redis.prefix):
            print(_A_DESK_S, file=sys.stderr)
            return 1
        policy = load_policy(config.proxy.policy)
        missing = await lint.missing(redis, config.redis.prefix, policy)
        epoch = await lint.ready(redis, config.redis.prefix)
        if args.json:
            print(json.dumps({"epoch": epoch, "missing": [one._asdict() for one in missing]}))
            return 0
        print(f"the index is marked as filled, epoch {epoch}")
        for one in missing:
            warn(str(one), one.cure)
        return 0

    return run_on_redis(args, work)


def _lint(args: argparse.Namespace) -> int:
    from smsfilter.config import load_policy  # noqa: PLC0415 - start-up stays light
    from smsfilter.store import lint  # noqa: PLC0415

    async def work(redis: "Redis", config: "Config") -> int:
        policy = load_policy(config.proxy.policy)
        found = await lint.lint(redis, config.redis.prefix, policy)
        if args.json:
            print(json.dumps([one._asdict() for one in found], ensure_ascii=False))
            return 1 if found else 0
        for one in found:
            print(one)
            if one.cure:
                print(f"  cure: {one.cure}")
        if found:
            print(f"{len(found)} found", file=sys.stderr)
        else:
            print("nothing is wrong in the index")
        return 1 if found else 0

    return run_on_redis(args, work)
