"""`smsfilter staff rota` and `staff absent`: who is on duty when, and who stands in for whom."""

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from smsfilter.cli.given import InputError, add_list_options, moment, reads, table_of
from smsfilter.cli.saying import local_time, say_json
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from smsfilter.cli.client import Client

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TOGETHER: Final = 1_000
"""Shifts of a file in one request."""


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommands."""
    parser = actions.add_parser("rota", help="who is on duty when")
    rota = parser.add_subparsers(metavar="ACTION", required=True)
    list_ = rota.add_parser("list", help="shifts and absences that are not over")
    list_.add_argument("--staff", metavar="ID", help="only of this person")
    add_list_options(list_)
    new = rota.add_parser(
        "add",
        help="plan shifts",
        description="Plan one shift by --from and --to, or those of a weekly pattern by --days,"
        " --hours and --until. Times without an offset are of this machine's time zone, the hours"
        " of a pattern of the policy's.",
    )
    new.add_argument("staff", metavar="ID")
    new.add_argument("--from", dest="begins", metavar="TIME", help="or the first day of a pattern")
    new.add_argument("--to", dest="ends", metavar="TIME")
    new.add_argument("--days", metavar="DAYS", help="such as mon-fri or sat,sun")
    new.add_argument("--hours", metavar="HH:MM-HH:MM")
    new.add_argument("--until", metavar="DATE", help="the last day of a pattern")
    import_ = rota.add_parser(
        "import",
        help="plan the shifts of a file",
        description="Plan the shifts of a CSV file with the columns staff, from and to. The same"
        " file again changes nothing.",
    )
    import_.add_argument("file", metavar="FILE", type=Path)
    remove = rota.add_parser("remove", help="take a shift or an absence out")
    remove.add_argument("span", metavar="ID", type=int, help="as in rota list")
    check = rota.add_parser("check", help="name the hours that nobody covers; 1 if there are any")
    check.add_argument("--days", metavar="N", type=int, default=14, help="(default: 14)")
    absent = actions.add_parser("absent", help="say that somebody is away, and who stands in")
    absent.add_argument("staff", metavar="ID")
    absent.add_argument("--from", dest="begins", metavar="TIME", required=True)
    absent.add_argument("--to", dest="ends", metavar="TIME", required=True)
    absent.add_argument("--cover", metavar="ID", help="who does their work meanwhile")
    works = {list_: _list, new: _add, import_: _import, remove: _remove, check: _check}
    for action, work in {**works, absent: _absent}.items():
        offer(action, reads(work))


def _list(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

        found = desk.get("/rota", staff=args.staff, limit=min(args.limit, 500))["items"]
        if args.json:
            for each in found:
                say_json(each)
            return 0
        rows = [
            (
                each["id"],
                each["staff"],
                each["branch"],
                "on duty" if each["kind"] == "on" else "away",
                local_time(each["from_at"]),
                local_time(each["to_at"]),
                each["cover"] or "",
            )
            for each in found
        ]
        columns = ("id", "who", "branch", "", "from", "to", "covered by")
        table.show(columns, rows, "nothing is planned")
        return 0

    return with_desk(args, work)


def _add(args: argparse.Namespace) -> int:
    path, body = _planned(args)

    def work(desk: "Client") -> int:
        return _say_planned(args, desk.post(path, body))

    return with_desk(args, work)


def _planned(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Return where to ask for what is to be planned, and with what. Raises InputError."""
    if args.days is None:
        if args.begins is None or args.ends is None:
            raise InputError("say --from and --to, or --days, --hours and --until")
        shift = {"staff": args.staff, "from_at": _time(args.begins), "to_at": _time(args.ends)}
        return "/rota", {"shifts": [shift]}
    if args.hours is None or args.until is None:
        raise InputError("a pattern needs --days, --hours and --until")
    begins, dash, ends = args.hours.partition("-")
    first = date.today() if args.begins is None else _day(args.begins)  # noqa: DTZ011 - of here
    if not dash:
        raise InputError("--hours is such as 08:30-17:30")
    return "/rota/weekly", {
        "staff": args.staff,
        "days": _days(args.days),
        "begins": begins,
        "ends": "00:00" if ends == "24:00" else ends,  # the next day's
        "first": first.isoformat(),
        "last": _day(args.until).isoformat(),
    }


def _days(text: str) -> list[int]:
    found: list[int] = []
    for part in text.lower().split(","):
        first, _, last = part.strip().partition("-")
        if first not in DAYS or (last and last not in DAYS):
            raise InputError(f"--days is such as mon-fri or sat,sun: {text}")
        begin = DAYS.index(first)
        length = (DAYS.index(last) - begin) % 7 if last else 0
        found += [(begin + n) % 7 for n in range(length + 1)]
    return sorted(set(found))


def _import(args: argparse.Namespace) -> int:
    from smsfilter.config import load  # noqa: PLC0415 - start-up stays light

    zone = ZoneInfo(load(args.config).policy.timezone)
    shifts, problems = [], []
    for line, cells in table_of(args.file, ("staff", "from", "to"), ()):
        try:
            begins, ends = moment(cells["from"], zone), moment(cells["to"], zone)
        except ValueError:
            problems.append(f"{args.file}:{line}: not a time such as 2026-11-27T08:30")
            continue
        shifts.append({"staff": cells["staff"].strip(), "from_at": begins, "to_at": ends})
    if problems:
        raise InputError("\n".join(problems))

    def work(desk: "Client") -> int:
        ids: list[int] = []
        for at in range(0, len(shifts), TOGETHER):
            ids += desk.post("/rota", {"shifts": shifts[at : at + TOGETHER]})["ids"]
        return _say_planned(args, {"ids": ids, "count": len(ids)})

    return with_desk(args, work)


def _remove(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.post(f"/rota/{args.span}/end")
        if args.json:
            say_json(said)
        else:
            print(f"{said['id']}, of {said['staff']}, is taken out")
        return 0

    return with_desk(args, work)


def _check(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.get("/rota/check", days=args.days)
        if args.json:
            say_json(said)
        elif not said["uncovered"]:
            print(f"somebody is on duty in each branch, for {said['days']} days")
        else:
            from smsfilter.cli import table  # noqa: PLC0415

            rows = [
                (each["branch"], local_time(each["from_at"]), local_time(each["to_at"]))
                for each in said["uncovered"]
            ]
            table.show(("branch", "nobody on duty from", "to"), rows, "")
        return 1 if said["uncovered"] else 0

    return with_desk(args, work)


def _absent(args: argparse.Namespace) -> int:
    body = {
        "staff": args.staff,
        "from_at": _time(args.begins),
        "to_at": _time(args.ends),
        "cover": args.cover,
    }

    def work(desk: "Client") -> int:
        return _say_planned(args, desk.post("/rota/absences", body))

    return with_desk(args, work)


def _say_planned(args: argparse.Namespace, said: dict[str, Any]) -> int:
    if args.json:
        say_json(said)
        return 0
    ids = said["ids"]
    named = f"{ids[0]}" if len(ids) == 1 else f"{ids[0]} to {ids[-1]}"
    print(f"planned: {said['count']} ({named}); take one out with smsfilter staff rota remove ID")
    return 0


def _time(text: str) -> int:
    try:
        return moment(text)
    except ValueError:
        raise InputError(f"not a time such as 2026-11-27T08:30: {text}") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise InputError(f"not a day such as 2026-11-27: {text}") from None
