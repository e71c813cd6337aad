"""`smsfilter audit export`, `checkpoints` and `show`: the ledger, asked of the running desk."""

import argparse
import gzip
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from smsfilter.cli.given import number
from smsfilter.cli.newfile import FileError, new_file
from smsfilter.cli.printable import printable
from smsfilter.cli.saying import local_time, say_json
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from smsfilter.cli.client import Client

_END: Final = '{"end":'
"""How the last line of an export begins."""
_SHOWN: Final = 50


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the actions."""
    export = commands.add_parser(
        "export",
        help="write the ledger into a file that can be verified",
        description="Write the ledger into FILE, one record a line, for smsfilter audit verify. It "
        "begins behind the checkpoint before --from and ends with the one at or after --to, so "
        "that all of it is signed. The export is entered into the ledger.",
    )
    export.add_argument("file", metavar="FILE", help="a new file; gzipped if .gz; - is stdout")
    export.add_argument("--from", dest="first", metavar="SEQ", type=int, help="from this record")
    export.add_argument("--to", dest="last", metavar="SEQ", type=int, help="up to this record")
    checkpoints = commands.add_parser(
        "checkpoints",
        help="print the signed checkpoints, or keep them as a witness",
        description="Print the checkpoints of the ledger. With --keep, add to FILE what it lacks, "
        "after a look whether the desk still has what FILE ends with: exit status 1 if not.",
    )
    what = checkpoints.add_mutually_exclusive_group()
    what.add_argument("--from", dest="first", metavar="SEQ", type=int, help="from this record on")
    what.add_argument("--keep", metavar="FILE", type=Path, help="add the new ones to FILE")
    show = commands.add_parser(
        "show",
        help="show what was done, when and by whom",
        description="Show the newest records of the ledger, numbers masked. The look is entered.",
    )
    show.add_argument("--case", metavar="ID", help="only of this case")
    whose = show.add_mutually_exclusive_group()
    whose.add_argument("--customer", metavar="ID", help="only of the customer with this id")
    whose.add_argument(
        "--number", action="store_true", help="only of the customer whose number stands on stdin"
    )
    show.add_argument("--before", metavar="SEQ", type=int, help="only older ones")
    show.add_argument(
        "--last", metavar="N", type=int, default=_SHOWN, help="how many (%(default)s)"
    )
    for command, run in ((export, _export), (checkpoints, _checkpoints), (show, _show)):
        offer(command, run)


# --- export


def _export(args: argparse.Namespace) -> int:
    from smsfilter.cli.client import DeskError  # noqa: PLC0415 - start-up stays light

    def work(client: "Client") -> int:
        try:
            with (
                client.lines("/ledger/export", **{"from": args.first, "to": args.last}) as lines,
                _opened(args.file) as file,
            ):
                said = _written(lines, file)
                if said is None:
                    raise DeskError("the desk did not send all of it: nothing was kept")
        except FileError as error:
            raise DeskError(str(error)) from None
        first, last = said["first"], said["last"]
        if args.json and args.file != "-":  # which is JSON already
            say_json({"file": args.file, "first": first, "last": last, "chain": said["chain"]})
        else:
            print(f"{args.file}: seq {first} to {last}, chain {said['chain']}", file=sys.stderr)
        return 0

    return with_desk(args, work)


def _written(lines: Iterator[str], file: IO[bytes]) -> dict[str, Any] | None:
    """Write the lines of an export, and return its header; None where its end is missing."""
    header: dict[str, Any] | None = None
    line = ""
    for line in lines:
        if header is None:
            header = json.loads(line).get("header")
        file.write(line.encode() + b"\n")
    return header if line.startswith(_END) else None


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        if name == "-":
            yield sys.stdout.buffer
            return
        file: IO[bytes] = stack.enter_context(new_file(Path(name)))
        if name.endswith(".gz"):
            file = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=file, mode="wb")))
        yield file


# --- checkpoints


def _checkpoints(args: argparse.Namespace) -> int:
    from smsfilter.cli.client import DeskError  # noqa: PLC0415 - start-up stays light

    def work(client: "Client") -> int:
        if args.keep is None:
            return _printed(client, args)
        try:
            added, count = _kept(client, args.keep)
        except (OSError, ValueError) as error:
            raise DeskError(f"{args.keep}: {error}") from None
        if args.json:
            say_json({"file": str(args.keep), "added": added, "count": count})
        else:
            print(f"{args.keep}: {added} added, {count} in all")
        return 0

    return with_desk(args, work)


def _printed(client: "Client", args: argparse.Namespace) -> int:
    with client.lines("/ledger/checkpoints", **{"from": args.first}) as lines:
        for line in lines:
            print(line if args.json else json.loads(line)["text"], end="\n" if args.json else "")
    return 0


def _kept(client: "Client", path: Path) -> tuple[int, int]:
    """Add what a file lacks; how many these were, and how many it has. OSError, ValueError."""
    from smsfilter.cli.client import DeskError  # noqa: PLC0415 - start-up stays light
    from smsfilter.ledger.checkpoint import read, split  # noqa: PLC0415

    known = split(path.read_text(encoding="ascii")) if path.exists() else []
    last = read(known[-1]).seq if known else None
    count = 0
    with client.lines("/ledger/checkpoints", **{"from": last}) as lines, path.open("a") as file:
        if last is not None and json.loads(next(lines, "{}")).get("text") != known[-1]:
            raise DeskError(
                f"the ledger has not the checkpoint of seq {last} that {path} ends with: it was"
                f" cut, replaced or restored. Verify an export with --witness {path}"
            )
        for line in lines:
            file.write(json.loads(line)["text"])
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count, len(known) + count


# --- show


def _show(args: argparse.Namespace) -> int:
    wanted = {
        "case": args.case,
        "customer": args.customer,
        "number": number() if args.number else None,
        "before": args.before,
        "limit": args.last,
    }

    def work(client: "Client") -> int:
        given = {name: value for name, value in wanted.items() if value is not None}
        items = client.post("/ledger/read", given)["items"]
        if args.json:
            say_json(items)
        else:
            for item in items:
                print("\n".join(map(printable, _told(item))))
            if len(items) == args.last:
                print(f"older ones: --before {items[0]['seq']}", file=sys.stderr)
        return 0

    return with_desk(args, work)


def _told(item: dict[str, Any]) -> Iterator[str]:

    about = [item["object"], item["number"], item["case"] and f"case {item['case']}"]
    what = "  ".join((item["action"], *filter(None, about)))
    yield f"{local_time(item['at'])}  {item['seq']:>7}  {what}  by {item['actor']}"
    detail = item["detail"]
    if detail is None:
        yield " " * 35 + "this record is not what was entered: see smsfilter audit verify"
        return
    for name, value in detail.items():
        if value not in (None, [], {}, ""):
            said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield " " * 35 + f"{name}: {said}"
