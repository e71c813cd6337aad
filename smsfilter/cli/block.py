"""`smsfilter block`: who may not reach whom, put and ended by hand, recycled numbers."""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from smsfilter.cli import block_proof
from smsfilter.cli.given import (
    InputError,
    add_list_options,
    block_id,
    moment,
    numbers,
    page_size,
    pair,
    reads,
    service,
    table_of,
)
from smsfilter.cli.release import say_asked
from smsfilter.cli.saying import local_time, say_force, say_json, say_timeline
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from smsfilter.cli.client import Client
    from smsfilter.config import Loaded

END_REASONS: Final = ("withdrawal", "consent", "correction", "recycled")


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("block", help="customers' blocks: look at, put, end")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    block_proof.add(actions)
    list_ = actions.add_parser("list", help="list blocks, the newest first")
    which = list_.add_mutually_exclusive_group()
    which.add_argument("--company", metavar="ID", help="only of this company")
    which.add_argument(
        "--of",
        metavar="FILE",
        help="only of the customers whose numbers stand in FILE, one a line; - is standard input",
    )
    list_.add_argument("--state", choices=("live", "ended", "all"), default="live")
    add_list_options(list_)
    show = actions.add_parser("show", help="show a block, and who did what")
    new = actions.add_parser(
        "add",
        help="block a company for customers",
        description="Block a company, a source or everybody for the customers whose numbers stand "
        "on standard input, one a line; on a terminal it is asked for.",
    )
    target = new.add_mutually_exclusive_group(required=True)
    target.add_argument("--company", metavar="ID", help="as in company list")
    target.add_argument(
        "--source",
        metavar="SOURCE",
        help="a service number or a header; -: it stands behind each customer's number, which it "
        "has to where it is a person's",
    )
    target.add_argument("--everybody", action="store_true", help="all senders")
    new.add_argument(
        "--reason", default="by hand", metavar="WORDS", help="a few words without digits"
    )
    remove = actions.add_parser("remove", help="ask that a block ends: another one releases it")
    remove.add_argument("--reason", required=True, choices=END_REASONS)
    recycle = actions.add_parser(
        "recycle",
        help="ask that what belongs to numbers that are somebody else's by now ends",
        description="Ask another person to end all blocks of the numbers in a CSV file with the "
        "columns customer and, if known, recycled_at, so that whoever has them now inherits "
        "nothing. The same file again changes nothing.",
    )
    recycle.add_argument("file", metavar="FILE", type=Path)
    adopt = actions.add_parser(
        "adopt",
        help="take blocks that were put into Redis by hand into the records",
        description="Name the blocks in Redis that the desk never put there. With --all each "
        "becomes a block of the records, and survives when the index is written again.",
    )
    adopt.add_argument("--all", action="store_true", help="adopt all of them")
    for action in (show, remove):
        action.add_argument("block", metavar="ID", type=block_id, help="as in block list")
    works = {list_: _list, show: _show, new: _add, remove: _remove}
    for action, work in {**works, recycle: _recycle, adopt: _adopt}.items():
        offer(action, reads(work))


# --- looked at


def _list(args: argparse.Namespace) -> int:
    of = numbers(args.of) if args.of is not None else []

    def work(desk: "Client") -> int:
        from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

        found = islice(_found(desk, args, of), args.limit)
        if args.json:
            for each in found:
                say_json(each)
            return 0
        rows = [
            (
                each["id"],
                each["customer"],
                each["target"],
                each["reason"],
                local_time(each["in_force_at"]),
                local_time(each["ended_at"]),
            )
            for each in found
        ]
        table.show(
            ("id", "customer", "blocks", "by reason of", "in force", "ended"), rows, "no blocks"
        )
        return 0

    return with_desk(args, work)


def _found(desk: "Client", args: argparse.Namespace, of: list[str]) -> Iterator[dict[str, Any]]:
    if args.of is None:
        query = {"state": args.state, "target": args.company, "limit": page_size(args)}
        yield from desk.pages("/blocks", **query)
        return
    for number in of:
        body = {"customer": number, "state": args.state}
        yield from desk.post(f"/blocks/of?limit={page_size(args)}", body)["items"]


def _show(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:

        said = desk.get(f"/blocks/{args.block}")
        if args.json:
            say_json(said)
            return 0
        print(f"block {said['id']}: {said['target']} may not reach {said['customer']}")
        print(
            f"by reason of {said['reason']}, report:{said['report'] or '–'},"
            f" case {said['case'] or '–'}"
        )
        print(f"put {local_time(said['created_at'])}, in force {local_time(said['in_force_at'])}")
        if said["ended_at"] is not None:
            print(
                f"ended {local_time(said['ended_at'])} by {said['ended_by']}: {said['end_reason']}"
            )
        say_timeline(said)
        return 0

    return with_desk(args, work)


# --- changed


def _add(args: argparse.Namespace) -> int:
    pairs = _pairs(args)

    def work(desk: "Client") -> int:
        for number, target in pairs:
            body = {"customer": number, "target": target, "reason": args.reason}
            said = desk.post("/blocks", body)
            if args.json:
                say_json(said)
                continue
            print(f"block {said['id']}" + ("" if said["changed"] else ": it was there before"))
            say_force(said)
        return 0

    return with_desk(args, work)


def _pairs(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the customers' numbers, each with whom it is to be blocked for. Raises InputError."""
    if args.source == "-":
        return [(number, f"source:{source}") for number, source in map(pair, numbers())]
    if args.source is not None:
        target = f"source:{service(args)}"
    else:
        target = "*" if args.everybody else args.company
    return [(number, target) for number in numbers()]


def _remove(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.post(f"/blocks/{args.block}/remove", {"reason": args.reason})
        if args.json:
            say_json(said)
        elif "release" in said:
            say_asked(said, f"the end of block {args.block}")
        else:
            print(f"block {said['id']} had ended before, {local_time(said['ended_at'])}")
        return 0

    return with_desk(args, work)


def _adopt(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.post("/blocks/adopt", {"dry_run": not args.all})
        if args.json:
            say_json(said)
        elif args.all:
            print(f"blocks adopted: {said['adopted']}")
            say_force(said)
        else:
            print(f"blocks in Redis that the desk did not put there: {said['unknown']}")
            for pair in said["first"]:
                print(f"  {pair}")
            if said["unknown"]:
                print("keep them with smsfilter block adopt --all")
        return 0

    return with_desk(args, work)


def _recycle(args: argparse.Namespace) -> int:
    from smsfilter.config import load  # noqa: PLC0415 - start-up stays light

    rows = _recycled(args.file, load(args.config))

    def work(desk: "Client") -> int:
        said = desk.post("/blocks/recycle", {"rows": rows})
        if args.json:
            say_json(said)
        else:
            say_asked(said, f"that {said['rows']} numbers are recycled")
        return 0

    return with_desk(args, work)


def _recycled(path: Path, loaded: "Loaded") -> list[dict[str, Any]]:
    """Read a file of numbers, or say all that is wrong with it. Raises InputError."""
    from smsfilter.rules.numbers import customer_key  # noqa: PLC0415 - start-up stays light

    zone, country_code = ZoneInfo(loaded.policy.timezone), loaded.policy.country_code
    found, problems = [], []
    for line, cells in table_of(path, ("customer",), ("recycled_at",)):
        row: dict[str, Any] = {"customer": cells["customer"].strip()}
        if customer_key(row["customer"], country_code) is None:
            problems.append(f"{path}:{line}: customer: not a number of a customer")
        if at := cells.get("recycled_at", "").strip():
            try:
                row["recycled_at"] = moment(at, zone)
            except ValueError:
                problems.append(f"{path}:{line}: recycled_at: not a date such as 2026-11-27")
        found.append(row)
    if problems:
        raise InputError("\n".join(problems))
    return found
