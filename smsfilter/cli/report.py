"""`smsfilter report`: reports that are entered for customers, looked at, decided."""

import argparse
import json
import re
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from smsfilter.cli import report_groups
from smsfilter.cli.given import (
    InputError,
    add_list_options,
    ask,
    moment,
    page_size,
    past,
    reads,
    table_of,
)
from smsfilter.cli.printable import indented, printable
from smsfilter.cli.saying import local_time, progress, say_force, say_json, say_timeline
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smsfilter.cli.client import Client
    from smsfilter.config import Loaded

TOGETHER: Final = 100
"""Rows of a file in one request."""
_STAR: Final = re.compile(r"[*＊]")
_IN_LEDGER: Final = re.compile(r"report:([1-9][0-9]{0,17})")


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("report", help="customers' reports: enter, look at, decide")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    new = actions.add_parser(
        "add",
        help="enter a report for a customer, by phone",
        description="Enter reports as if the customer had sent them. Asks on a terminal; else each "
        "line of standard input is one: CUSTOMER SOURCE*TEXT, or JSON with customer, source, text "
        "and note. Numbers are never arguments, which every user of the machine can see.",
    )
    import_ = actions.add_parser(
        "import",
        help="enter the reports of a file",
        description="Enter each row of a CSV file with the columns customer, source, text and, if "
        "it was said before, received_at. A row that was taken in before is not taken in again. "
        "One that is wrong stops the whole file: all of them are named.",
    )
    import_.add_argument("file", metavar="FILE", type=Path, help="UTF-8 or GB 18030")
    import_.add_argument("--dry-run", action="store_true", help="only say what would come of it")
    list_ = actions.add_parser("list", help="list reports, the newest first")
    list_.add_argument("--state", help="only these, such as to_decide")
    list_.add_argument("--since", type=past, metavar="TIME", help="taken in since a date or time")
    add_list_options(list_)
    show = actions.add_parser("show", help="show a report, its blocks, SMS, and who did what")
    show.add_argument(
        "--purpose", metavar="WHY", help="show the text as well; WHY goes into the ledger"
    )
    resolve = actions.add_parser(
        "resolve",
        help="decide whom a report is about",
        description="Have the company blocked that the report is about, or all reports of a source "
        "at once. Blocks of the source end, and the customers are told.",
    )
    resolve.add_argument("--company", metavar="ID", help="as in company list")
    report_groups.add_options(resolve)
    for action, count in ((show, None), (resolve, "?")):
        action.add_argument(
            "report",
            metavar="NUMBER",
            nargs=count,
            type=_report,
            help="as the customer was told it, or report:N as in the ledger",
        )
    groups = report_groups.add_groups(actions)
    works = {new: _add, import_: _import, list_: _list, show: _show, resolve: _resolve}
    for action, work in (works | {groups: report_groups.listed}).items():
        offer(action, reads(work))


def _report(text: str) -> int:
    from smsfilter.reports import ids  # noqa: PLC0415 - start-up stays light

    in_ledger = _IN_LEDGER.fullmatch(text)
    found = int(in_ledger[1]) if in_ledger else ids.read(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"not the number of a report: {text}: look for a slip")
    return found


# --- entered


def _add(args: argparse.Namespace) -> int:
    entries = [_asked()] if sys.stdin.isatty() else _from_lines(sys.stdin.read())

    def work(desk: "Client") -> int:
        for entry in entries:
            said = desk.post("/reports", entry)
            if args.json:
                say_json(said)
                continue
            again = ", as before" if said["copy"] else ""
            whom = f", company {said['company']}" if said["company"] else ""
            print(f"report {said['number']}: {said['outcome']}{whom}{again}")
            say_force(said)
        return 0

    return with_desk(args, work)


def _asked() -> dict[str, str]:
    questions = {
        "customer": "the customer's number:",
        "source": "the number or header it came from:",
        "text": "its text, if they have it:",
        "note": "a note, if there is one:",
    }
    return {name: answer for name, question in questions.items() if (answer := ask(question))}


def _from_lines(text: str) -> list[dict[str, str]]:
    found, problems = [], []
    for n, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(_from_line(line.strip()))
        except ValueError as error:
            problems.append(f"line {n}: {error}")
    if problems:
        raise InputError("\n".join(problems))
    if not found:
        raise InputError("no report was given: CUSTOMER SOURCE*TEXT on standard input")
    return found


def _from_line(line: str) -> dict[str, str]:
    if line.startswith("{"):
        try:
            read = json.loads(line)
        except ValueError:
            raise ValueError("not JSON") from None
        if not isinstance(read, dict):
            raise ValueError("not an object")
        return read
    customer, _, message = line.partition(" ")
    source, *text = _STAR.split(message.strip(), maxsplit=1)
    if not source:
        raise ValueError("not CUSTOMER SOURCE*TEXT")
    return {"customer": customer, "source": source, "text": text[0] if text else ""}


# --- a file


def _import(args: argparse.Namespace) -> int:
    from smsfilter.config import load  # noqa: PLC0415 - start-up stays light

    rows = _rows(args.file, load(args.config))

    def work(desk: "Client") -> int:
        done: list[dict[str, Any]] = []
        marks: set[str] = set()
        why = problem = ""
        with progress(len(rows), "reports") as move:
            for at in range(0, len(rows), TOGETHER):
                some = rows[at : at + TOGETHER]
                body = {"rows": [row for _, row in some], "dry_run": args.dry_run}
                said = desk.post("/reports/import", body)
                for result in said["results"]:  # in a dry run the desk forgets the rows before
                    result["new"] = result["new"] and result["mark"] not in marks
                    marks.add(result["mark"])
                done += said["results"]
                why, problem = why or said.get("why", ""), problem or said.get("problem", "")
                move(len(some))
        summary = _summary(done, args.dry_run) | {"in_force": not why}
        summary |= {"why": why} if why else {}
        if args.json:
            say_json(summary | ({"problem": problem} if problem else {}))
        else:
            _say_import(summary)
        if problem:
            print(
                f"smsfilter: {summary['failed']} rows were not taken in: {problem}: run it again, "
                "what is there already stays as it is",
                file=sys.stderr,
            )
        return 1 if problem else 0

    return with_desk(args, work)


def _rows(path: Path, loaded: "Loaded") -> "list[tuple[int, dict[str, Any]]]":
    """Read a file of reports, or say all that is wrong with it. Raises InputError."""
    from pydantic import ValidationError  # noqa: PLC0415 - start-up stays light

    from smsfilter.reports import entered  # noqa: PLC0415

    zone, country_code = ZoneInfo(loaded.policy.timezone), loaded.policy.country_code
    found, problems = [], []
    table = table_of(path, ("customer", "source", "text"), ("received_at", "note"))
    for line, cells in table:
        try:
            row = _row(cells, zone)
            entered.read(entered.Entry.model_validate(row), country_code)
            found.append((line, row))
        except ValidationError as error:
            problems += [f"{path}:{line}: {each}" for each in _said(error)]
        except ValueError as error:
            problems.append(f"{path}:{line}: {error}")
    if problems:
        raise InputError("\n".join(problems))
    return found


def _row(cells: dict[str, str], zone: ZoneInfo) -> dict[str, Any]:
    row: dict[str, Any] = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
    if "received_at" in row:
        try:
            row["received_at"] = moment(row["received_at"], zone)
        except ValueError:
            raise ValueError(
                "received_at: not a date or time such as 2026-11-27 08:30 or 2026-11-27T08:30+08:00"
            ) from None
    return row


def _said(error: Any) -> "Sequence[str]":
    """Say what is wrong with a row, without what it says."""
    return [
        f"{each['loc'][0]}: {'is missing' if each['type'] == 'missing' else each['msg']}"
        for each in error.errors(include_url=False, include_input=False)
    ]


def _summary(done: "Sequence[dict[str, Any]]", dry_run: bool) -> dict[str, Any]:
    new = [each for each in done if each["new"]]
    failed = sum(each["outcome"] is None for each in done)
    return {
        "rows": len(done),
        "new": len(new),
        "known": len(done) - len(new) - failed,
        "failed": failed,
        "outcomes": dict(Counter(each["outcome"] for each in new)),
        "dry_run": dry_run,
    }


def _say_import(summary: dict[str, Any]) -> None:
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(summary["outcomes"].items()))
    would = "would be " if summary["dry_run"] else ""
    print(
        f"{summary['rows']} rows: {summary['new']} {would}new"
        + (f" ({outcomes})" if outcomes else "")
        + f", {summary['known']} taken in before"
    )
    if not summary["new"] and not summary["failed"]:
        print("nothing changes" if summary["dry_run"] else "nothing was changed")
    elif not summary["dry_run"]:
        say_force(summary)


# --- looked at


def _list(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

        query = {"state": args.state, "since": args.since, "limit": page_size(args)}
        found = islice(desk.pages("/reports", **query), args.limit)
        if args.json:
            for each in found:
                say_json(each)
            return 0
        rows = [
            (
                each["number"],
                local_time(each["received_at"]),
                each["channel"],
                each["customer"],
                each["source"] or "–",
                each["state"],
                each["company"] or "–",
            )
            for each in found
        ]
        columns = ("number", "received", "by", "customer", "reported", "state", "company")
        table.show(columns, rows, "no reports")
        return 0

    return with_desk(args, work)


def _show(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.get(f"/reports/{args.report}")
        if args.purpose is not None:
            said |= desk.post(f"/reports/{args.report}/texts", {"purpose": args.purpose})
        if args.json:
            say_json(said)
        else:
            _say_report(said)
        return 0

    return with_desk(args, work)


def _say_report(said: dict[str, Any]) -> None:
    from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

    copies = f", {said['copies']} copies" if said["copies"] > 1 else ""
    print(f"report {said['number']} (report:{said['id']}): {said['state']}")
    print(
        f"from {said['customer']} by {said['channel']}, {local_time(said['received_at'])}{copies}"
    )
    source = printable(said["source"] or "nobody that is known")
    print(f"about {source}, company {said['company'] or '–'}")
    print(f"case {said['case'] or '–'}, to be answered by {local_time(said['due_at'])}")
    if not said["complete"]:
        print("parts of the message are missing")
    for name in ("text", "note"):
        if said.get(name):
            print(f"{name}: {indented(said[name])}")
    blocked = [
        (
            each["id"],
            each["target"],
            local_time(each["in_force_at"]),
            local_time(each["ended_at"]),
            each["end_reason"] or "",
        )
        for each in said["blocks"]
    ]
    table.show(("block", "of", "in force", "ended", "as"), blocked, "no block")
    sent = [
        (
            each["kind"],
            each["state"] + (", maybe twice" if each["maybe_twice"] else ""),
            local_time(each["sent_at"]),
            ", ".join(f"{one['stat']} {local_time(one['at'])}" for one in each["receipts"]) or "–",
        )
        for each in said["sms"]
    ]
    table.show(("SMS", "state", "sent", "receipt"), sent, "no SMS")
    say_timeline(said)


# --- decided


def _resolve(args: argparse.Namespace) -> int:
    if (args.report is None) == (args.source is None):
        raise InputError("either the NUMBER of one report, or --source for all of a source")
    if args.source is not None:
        return report_groups.resolve(args)
    if args.company is None or args.outcome or args.apply:
        raise InputError("one report is decided by --company ID")

    def work(desk: "Client") -> int:
        said = desk.post(f"/reports/{args.report}/resolve", {"company": args.company})
        if args.json:
            say_json(said)
            return 0
        print(f"company {said['company']} is blocked (block {said['block']})")
        if said["ended"]:
            print(f"blocks of its sources that have ended: {len(said['ended'])}")
        say_force(said)
        return 0

    return with_desk(args, work)
