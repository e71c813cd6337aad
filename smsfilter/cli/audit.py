"""`smsfilter audit`: prove a ledger offline, from the files that are named and nothing else.

What a desk has to be asked for, the export among it, is in audit_desk.py.
"""

import argparse
import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from smsfilter.cli import audit_desk

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from smsfilter.ledger.verdict import Coverage, Verdict

_GZIP: Final = b"\x1f\x8b"
_LINES_PER_STEP: Final = 1_000
"""How often the bar moves."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("audit", help="export a ledger, read it, prove it")
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    verify = commands.add_parser(
        "verify",
        help="verify an export, offline",
        description="Verify an export of the ledger. Trusts the keys and checkpoints named here "
        "and nothing else: no configuration, no database. Names the first bad record, what was "
        "done to it, and what such files cannot show.",
        epilog="Exit status: 0 ok, 1 bad, 3 cannot be proven, 2 usage or an unreadable file.",
    )
    verify.add_argument("file", metavar="FILE", help="the export, also gzipped; - is stdin")
    verify.add_argument(
        "--key",
        dest="keys",
        metavar="PUB",
        type=Path,
        action="append",
        required=True,
        help="a public key in PEM; again for each key that signed, where keys were changed",
    )
    verify.add_argument(
        "--witness",
        dest="witnesses",
        metavar="CHECKPOINT",
        type=Path,
        action="append",
        default=[],
        help="a file of one or more checkpoints that were kept elsewhere; again for each file",
    )
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run=_verify)
    audit_desk.add(commands)


def _verify(args: argparse.Namespace) -> int:
    from smsfilter.ledger.verify import verify  # noqa: PLC0415 - start-up stays light

    try:
        keys = _keys(args.keys)
        witnesses = witnesses_in(args.witnesses)
        with _lines(args.file) as lines:
            verdict = verify(lines, keys, witnesses)
    except (ValueError, OSError, zlib.error) as error:
        print(f"smsfilter audit verify: {error}", file=sys.stderr)
        return 2
    print(_as_json(verdict) if args.json else "\n".join(_told(verdict)))
    return verdict.exit_status


def _keys(paths: list[Path]) -> dict[str, "Ed25519PublicKey"]:
    from smsfilter.ledger.checkpoint import key_id, read_public_pem  # noqa: PLC0415

    keys = {}
    for path in paths:
        try:
            public = read_public_pem(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        keys[key_id(public)] = public
    return keys


def witnesses_in(paths: list[Path]) -> list[str]:
    """Read the checkpoints that were kept in files. Raises OSError, ValueError."""
    from smsfilter.ledger.checkpoint import read, split  # noqa: PLC0415

    texts: list[str] = []
    for path in paths:
        try:
            found = split(path.read_bytes().decode())
            for text in found:
                read(text)
        except ValueError as error:
            raise ValueError(f"{path}: no checkpoint: {error}") from None
        texts += found
    return texts


# the file


@contextmanager
def _lines(name: str) -> Iterator[Iterator[bytes]]:
    """Open an export, with a bar on stderr where that is a terminal."""
    with ExitStack() as stack:
        raw = cast("BufferedReader", sys.stdin.buffer)
        if name != "-":
            raw = stack.enter_context(Path(name).open("rb"))
        step = stack.enter_context(_bar(raw)) if sys.stderr.isatty() else None
        source: IO[bytes] = raw
        if raw.peek(len(_GZIP)).startswith(_GZIP):
            source = cast("IO[bytes]", stack.enter_context(gzip.open(raw)))
        yield _split(source, step)


def _split(source: IO[bytes], step: Callable[[], None] | None) -> Iterator[bytes]:
    """Yield the lines; one that is too long comes in pieces, of which the verifier takes none."""
    from smsfilter.ledger.export import MAX_LINE  # noqa: PLC0415

    for number in range(sys.maxsize):
        if step is not None and number % _LINES_PER_STEP == 0:
            step()
        try:
            line = source.readline(MAX_LINE + 1)
        except EOFError:  # a gzipped file that was cut: what was in it so far is judged
            return
        if not line:
            return
        yield line


@contextmanager
def _bar(raw: BufferedReader) -> Iterator[Callable[[], None]]:
    """Show how much of the file has been read."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        is_file = raw.seekable()
        size = Path(raw.name).stat().st_size if is_file and isinstance(raw.name, str) else None
        task = progress.add_task("", total=size)
        yield lambda: progress.update(task, completed=raw.tell() if is_file else None)


# what is said


def _as_json(verdict: "Verdict") -> str:
    said: dict[str, Any] = {"status": verdict.status, **asdict(verdict)}
    if verdict.fault is not None:
        said["fault"]["meaning"] = verdict.fault.meaning
    return json.dumps(said, ensure_ascii=False)


def _told(verdict: "Verdict") -> Iterator[str]:
    """The verdict first, then why, then how far it reaches."""
    if verdict.status == "ok":
        yield "ok: every record in the file is as it was entered, and none between is missing"
    elif verdict.fault is not None:
        fault = verdict.fault
        where = "the file" if fault.seq is None else _records(fault.seq, fault.until)
        yield f"bad: {where}: {fault.kind.replace('_', ' ')}"
        yield f"  seen in line {fault.line}: {fault.what}"
        yield f"  {fault.kind.replace('_', ' ')} means: {fault.meaning}"
    else:
        yield "unproven: nothing bad was found, and not everything can be proven"
    for finding in verdict.findings:
        more = f" (and {finding.count - 1} more such places)" if finding.count > 1 else ""
        gap = finding.gap.replace("_", " ")
        yield f"  not proven, {_records(finding.seq, finding.until)}: {gap}: {finding.what}{more}"
    if verdict.coverage is not None:
        yield ""
        yield from _covered(verdict.coverage)
    if verdict.cannot_show:
        yield ""
        yield "this cannot show:"
        yield from (f"  - {line}" for line in verdict.cannot_show)


def _covered(coverage: "Coverage") -> Iterator[str]:
    from smsfilter.ledger.signed import time_or_number  # noqa: PLC0415

    yield f"chain        {coverage.chain}"
    yield f"exported     {time_or_number(coverage.exported_at)}"
    entered = ""
    if coverage.first_at is not None and coverage.last_at is not None:
        first, last = time_or_number(coverage.first_at), time_or_number(coverage.last_at)
        entered = f", seq {coverage.first} to {coverage.last}, entered {first} to {last}"
    yield f"records      {coverage.rows}{entered}"
    yield f"checkpoints  {coverage.checkpoints}; witnesses that agree: {coverage.witnesses}"
    nothing = coverage.covered < coverage.first
    yield f"proven       {'nothing' if nothing else f'up to seq {coverage.covered}'}"


def _records(seq: int, until: int | None) -> str:
    return f"seq {seq}" if until in (None, seq) else f"seq {seq} to {until}"
