"""What the commands of the desk read from people: options, a terminal, standard input, files.

Numbers of customers come from a terminal, standard input or a file: arguments can be seen by every
user of the machine.
"""

import argparse
import csv
import io
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

SHOWN: Final = 50
"""Rows of a list, unless told otherwise."""
_PAGE_MOST: Final = 500
_ID_DIGITS: Final = 18


class InputError(ValueError):
    """What was read cannot be used; one line for each thing that is wrong."""


def reads(work: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Say in lines what is wrong with what `work` reads."""

    def run(args: argparse.Namespace) -> int:
        try:
            return work(args)
        except InputError as error:
            print(error, file=sys.stderr)
            return 1

    return run


# --- options


def add_list_options(parser: argparse.ArgumentParser) -> None:
    """Add how much of a list is shown."""
    parser.add_argument(
        "--limit", type=_count, default=SHOWN, metavar="N", help=f"the newest N (default: {SHOWN})"
    )


def page_size(args: argparse.Namespace) -> int:
    """Return how many rows to ask for at once."""
    return min(int(args.limit), _PAGE_MOST)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number from 1 on: {text}")
    return int(text)


def block_id(text: str) -> int:
    """Read the id of a block, also as the ledger names it: `block:7`."""
    digits = text.removeprefix("block:")
    if not digits.isdigit() or len(digits) > _ID_DIGITS:
        raise argparse.ArgumentTypeError(f"not the id of a block: {text}")
    return int(digits)


def moment(text: str, zone: ZoneInfo | None = None) -> int:
    """Read a date or a time as µs UTC, in `zone` (the machine's own) if it names no offset.

    Raises ValueError.
    """
    found = datetime.fromisoformat(text.strip())
    if found.tzinfo is None:
        found = found.astimezone() if zone is None else found.replace(tzinfo=zone)
    return int(found.timestamp()) * 1_000_000


def past(text: str) -> int:
    """Read the value of an option that is a time."""
    try:
        return moment(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"not a date or time such as 2026-11-27 or 2026-11-27T08:30+08:00: {text}"
        ) from None


# --- a terminal, or standard input

_WHOSE: Final = "the customer's number:"


def ask(question: str) -> str:
    """Ask on the terminal, on standard error, so that output stays what it is."""
    print(question, end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def number() -> str:
    """Return the one number on standard input; on a terminal it is asked for."""
    return ask(_WHOSE) if sys.stdin.isatty() else sys.stdin.readline().strip()


def numbers(source: str = "-") -> list[str]:
    """Return the numbers of a file, one a line; - is standard input, where one is asked for.

    Raises InputError.
    """
    if source != "-":
        return _lines(decoded(Path(source)))
    if sys.stdin.isatty():
        return _lines(ask(_WHOSE))
    return _lines(sys.stdin.read())


def pair(line: str) -> tuple[str, str]:
    """Read a customer's number and, behind a blank, a source. Raises InputError."""
    found = line.split(maxsplit=1)
    if len(found) != 2:
        raise InputError("each line is a customer's number, a blank, and the source")
    return found[0], found[1]


def service(args: argparse.Namespace) -> str:
    """Return the option --source. InputError where it is a person's number: all would see it."""
    from smsfilter.config import load  # noqa: PLC0415 - start-up stays light
    from smsfilter.rules.numbers import subscriber  # noqa: PLC0415

    if subscriber(args.source.encode(), load(args.config).policy.country_code):
        raise InputError(
            "a person's number is seen by all where it is an argument: write --source - and, on"
            " standard input, the customer's number, a blank, and the source"
        )
    return str(args.source)


def _lines(text: str) -> list[str]:
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise InputError("no number was given: write it on standard input, one a line")
    return found


# --- files


def decoded(path: Path) -> str:
    """Read a file as text: UTF-8, else GB 18030, as spreadsheets write it. Raises InputError."""
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return octets.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path}: neither UTF-8 nor GB 18030")


def table_of(
    path: Path, needed: Sequence[str], optional: Sequence[str]
) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a CSV file that begins with the names of its columns, with their lines.

    Raises InputError.
    """
    reader = csv.reader(io.StringIO(decoded(path), newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        known = (*needed, *optional)
        wrong = [f"no column {name}" for name in needed if name not in header]
        wrong += [f"unknown column {name!r}" for name in header if name not in known]
        wrong += ["a column twice"] if len(set(header)) < len(header) else []
        if wrong:
            columns = ", ".join([*needed, *(f"{name} (optional)" for name in optional)])
            raise InputError(f"{path}:1: {'; '.join(wrong)}; the first line names {columns}")
        found, problems = [], []
        for row in reader:
            if len(row) == len(header):
                found.append((reader.line_num, dict(zip(header, row, strict=True))))
            elif any(map(str.strip, row)):
                problems.append(
                    f"{path}:{reader.line_num}: {len(row)} columns, not {len(header)}: put a text "
                    'that has a comma between "quotes"'
                )
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: {error}") from None
    if problems:
        raise InputError("\n".join(problems))
    return found
