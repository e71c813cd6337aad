"""`smsfilter rebuild`: write the whole index again from the records, or say how the two differ.

It needs the records alone, so the desk must be down; a running desk mends the index by itself.
"""

import argparse
import asyncio
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from smsfilter.cli.saying import say_json
from smsfilter.cli.steps import unlogged
from smsfilter.cli.store import add_config, warn

if TYPE_CHECKING:
    from smsfilter.config import Loaded
    from smsfilter.desk.compare import Difference
    from smsfilter.desk.indexing import Counts
    from smsfilter.desk.office import Office


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "rebuild",
        help="write the index in Redis again from the records",
        description="Write every block and the registry into Redis again, remove blocks that have "
        "ended, and mark the index as filled. What an operator put there by hand stays, and is "
        "counted. The desk must be down. Exit status 1 when Redis still differs.",
    )
    add_config(parser)
    parser.add_argument(
        "--compare", action="store_true", help="change nothing; exit status 1 when they differ"
    )
    parser.add_argument(
        "--take-over", action="store_true", help="also where the index belongs to another desk"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Rebuild or compare; 1 when that cannot be done, or Redis differs from the records."""
    from smsfilter.config import load  # noqa: PLC0415 - start-up stays light
    from smsfilter.desk.indexing import IndexAway  # noqa: PLC0415
    from smsfilter.desk.office import Office, check  # noqa: PLC0415
    from smsfilter.store.connect import Unreachable  # noqa: PLC0415
    from smsfilter.store.keyfiles import KeyFileError  # noqa: PLC0415
    from smsfilter.store.records import RecordsAway, RecordsError  # noqa: PLC0415
    from smsfilter.store.seal import SealError  # noqa: PLC0415

    loaded = load(args.config)
    try:
        office = Office.of(loaded)
        check(office.records, office.keys)
        office.writer.start()
        try:
            with unlogged():
                counts, found = asyncio.run(_work(args, loaded, office))
        finally:
            office.writer.stop()
            office.records.close()
    except (KeyFileError, RecordsAway, RecordsError, SealError, IndexAway, Unreachable) as error:
        print(f"smsfilter rebuild: {error}", file=sys.stderr)
        return 1
    (_print_json if args.json else _print)(counts, found)
    return 0 if found.in_step else 1


async def _work(
    args: argparse.Namespace, loaded: "Loaded", office: "Office"
) -> "tuple[Counts | None, Difference]":
    from smsfilter.desk.projection import Projection  # noqa: PLC0415 - start-up stays light
    from smsfilter.desk.settling import settle  # noqa: PLC0415
    from smsfilter.store.address import parse_url  # noqa: PLC0415

    redis = loaded.config.redis
    address = parse_url(redis.url, loaded.config.state_dir, redis.password())
    if not args.compare:
        await settle(office, address, take_over=args.take_over)
    projection = Projection.of(office, address)
    counts = None if args.compare else await projection.rebuild(take_over=args.take_over)
    return counts, await projection.compare()


def _print_json(counts: "Counts | None", found: "Difference") -> None:
    done = {} if counts is None else {"added": counts.added, "removed": counts.removed}
    say_json({"in_step": found.in_step, **done, **asdict(found)})


def _print(counts: "Counts | None", found: "Difference") -> None:
    if counts is not None:
        print(f"the index is written: {counts.added} added, {counts.removed} removed")
    print(f"blocks in Redis as the records say: {found.pairs}")
    print(f"registry: {found.registry}")
    for listed, what in (
        (found.missing, "missing in Redis"),
        (found.ended, "in Redis, but ended"),
        (found.unknown, "in Redis, but in no record"),
    ):
        if listed.count:
            print(f"{what}: {listed.count}")
            for line in listed.first:
                print(f"  {line}")
            if listed.count > len(listed.first):
                print(f"  and {listed.count - len(listed.first)} more")
    if found.unknown.count:
        warn("they block, and would not survive a loss of Redis", "smsfilter block adopt --all")
    if found.unreadable:
        warn(f"{found.unreadable} keys or members block nobody", "smsfilter index lint")
    if found.nameless:
        warn(f"{found.nameless} blocks cannot be in force: their numbers were erased")
