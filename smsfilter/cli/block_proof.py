"""`smsfilter block proof`: since when a customer has blocked a company, and what it sent since."""

import argparse
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from smsfilter.cli.given import InputError, block_id, number, pair, service
from smsfilter.cli.saying import local_time, say_json
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import add_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsfilter.cli.client import Client

STATUS: Final = {"proven": 0, "forwarded": 1, "not_provable": 3}
"""Exit statuses; 3 also where the desk could not be asked: then nothing is proven either."""
USAGE: Final = 2
_SAID: Final = {
    "proven": "PROVEN: nothing was forwarded since the block",
    "forwarded": "FORWARDED: the block was in force, and a message went to the SMSC",
    "not_provable": "NOT PROVABLE: no forward is known, but not everything is",
}
_LISTS: Final = (
    ("violations", "forwarded although the block was in force"),
    ("doubtful", "forwarded about then or later, with nothing to tell whether it was in force"),
    ("refused", "refused since"),
    ("before", "forwarded before the block"),
    ("delivered_after", "receipts after the block, of what the SMSC had accepted before it"),
)
_LIMITS: Final = """\
What this cannot show: whether a message that was handed to the SMSC reached the customer, unless
its receipt says so; a message without a receipt may have been delivered at any time; what went
round the proxies, which is in no record of theirs."""


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action."""
    parser = actions.add_parser(
        "proof",
        help="prove that nothing was forwarded since a block",
        description="Say since when a customer has blocked a company, by which report, what was "
        "refused since, and whether anything was forwarded. With --company or --source the "
        "customer's number is read from standard input.",
        epilog="Exit status: 0 proven, 1 a forward was found, 3 not provable, 2 usage.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("id", metavar="ID", nargs="?", type=block_id, help="the block")
    which.add_argument("--company", metavar="ID", help="the company that was blocked")
    which.add_argument(
        "--source",
        metavar="SOURCE",
        help="the source that was blocked; -: it stands behind the number, as a person's has to",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask the desk for the proof. Where none is made, the status is neither 0 nor 1."""
    from smsfilter.config import ConfigError  # noqa: PLC0415 - start-up stays light

    try:
        return with_desk(args, _asking(_wanted(args), args.json))
    except InputError as error:
        print(f"smsfilter: {error}", file=sys.stderr)
        return USAGE
    except ConfigError as error:
        print(error, file=sys.stderr)
        return STATUS["not_provable"]


def _wanted(args: argparse.Namespace) -> dict[str, Any]:
    """Say what is to be proven. Raises InputError."""
    if args.id is not None:
        return {"block": args.id}
    if args.company is not None:
        return {"customer": number(), "company": args.company}
    if args.source == "-":
        customer, source = pair(number())
        return {"customer": customer, "source": source}
    source = service(args)
    return {"customer": number(), "source": source}


def _asking(wanted: dict[str, Any], as_json: bool) -> "Callable[[Client], int]":
    from smsfilter.cli.client import DeskError  # noqa: PLC0415 - start-up stays light

    def work(desk: "Client") -> int:
        try:
            proof = desk.post("/blocks/proof", wanted)
        except DeskError as error:
            print(f"smsfilter: {error}", file=sys.stderr)
            is_usage = error.answer.get("status") == HTTPStatus.UNPROCESSABLE_ENTITY
            return USAGE if is_usage else STATUS["not_provable"]
        if as_json:
            say_json(proof)
        else:
            _show(proof)
        return STATUS[proof["result"]]

    return work


def _show(proof: dict[str, Any]) -> None:
    from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light
    from smsfilter.reports.ids import spell  # noqa: PLC0415

    print(f"{proof['customer']} and {proof['target']}: {_SAID[proof['result']]}")
    by = ""
    if proof["report"] is not None:
        by = f", by report {spell(proof['report'])} of {local_time(proof['reported_at'])}"
        by += f" ({proof['channel']})"
    print(f"blocked since {local_time(proof['created_at'])}{by}")
    print(
        f"block {proof['block']}, case {proof['case'] or '–'}, in force"
        f" {local_time(proof['in_force_at'])}, seq {proof['seq']}"
    )
    print(f"looked at up to {local_time(proof['until'])}:")
    for proxy, seen in proof["proxies"].items():
        since, until = local_time(seen["since"]), local_time(seen["until"])
        print(f"  {proxy}: {seen['segments']} segments, {since} to {until}")
    for name, title in _LISTS:
        count = proof["counts"][name]
        print(f"\n{title}: {count or 'none'}")
        if count:
            rows = [_row(one) for one in proof[name]]
            table.show(("time", "proxy", "record", "source", "verdict", "reason"), rows, "")
        for one in proof["summed"] if name == "refused" else ():
            first, last = local_time(one["first"]), local_time(one["last"])
            print(
                f"  and {one['count']} by {one['proxy']}, {first} to {last}: only the sum is left"
            )
    print(f"\nmissing: {proof['counts']['gaps'] or 'nothing'}")
    for gap in proof["gaps"]:
        since, until = local_time(gap["since"]), local_time(gap["until"])
        print(f"  {gap['proxy']}, {since} to {until}: {gap['why']}")
    print(f"\n{_LIMITS}")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    where = f"{one['segment']}/{one['slot']}"
    when = local_time(one["at"])
    return when, one["proxy"], where, one["source"], one["verdict"], one["reason"]
