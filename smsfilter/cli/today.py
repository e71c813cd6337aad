"""`smsfilter desk today`: how the day stands, incidents first."""

import argparse
from typing import TYPE_CHECKING, Any

from smsfilter.cli.printable import printable
from smsfilter.cli.saying import local_time, say_json
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from smsfilter.cli.client import Client


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action to those of `smsfilter desk`."""
    parser = actions.add_parser(
        "today",
        help="say how the day stands",
        description="Say how the day stands in your branch and those below it: incidents, what "
        "came, what is due and late, who is reported most, and texts that many report.",
    )
    offer(parser, _today)


def _today(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.get("/today")
        if args.json:
            say_json(said)
        else:
            _say(said)
        return 0

    return with_desk(args, work)


def _say(said: dict[str, Any]) -> None:
    from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

    incidents = [
        (
            ("! " if each["alarm"] else "") + (each["result"] or "looked into").replace("_", " "),
            each["of"],
            local_time(each["opened_at"]),
            f"incident:{each['id']}, report:{each['report']}, block:{each['block']}",
        )
        for each in said["incidents"]
    ]
    table.show(
        ("incident", "of", "when", "records"),
        incidents,
        "no report on anybody who was blocked, in 7 days",
    )
    print(f"received since {local_time(said['since'])}: {said['received']}")
    print(
        f"open: {said['open']}, due in 4 h: {said['due']}, late: {said['breaches']}, "
        f"unowned: {said['unowned']}, answers that failed: {said['replies_failed']}"
    )
    companies = [
        (each["company"], each["reports"], each["customers"]) for each in said["companies"]
    ]
    table.show(("company", "reports in 24 h", "customers"), companies, "no company was reported")
    texts = [
        (
            f"report:{each['report']}",
            f"{each['customers']}{' or more' if each['more'] else ''}",
            each["sources"],
            printable(", ".join(each["companies"]) or "–"),
            local_time(each["first_at"]),
            local_time(each["last_at"]),
        )
        for each in said["campaigns"]
    ]
    columns = ("same text as", "customers", "sources", "companies", "since", "last")
    table.show(columns, texts, "no text that many report, in 7 days")
