"""`smsfilter desk backup` and `restore`: copies of the records without keys, and back."""

import argparse
import asyncio
import contextlib
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from smsfilter.cli.audit import witnesses_in
from smsfilter.cli.newfile import new_file, refuse_existing
from smsfilter.cli.saying import local_time
from smsfilter.cli.steps import os_user, told
from smsfilter.cli.store import add_config

if TYPE_CHECKING:
    from smsfilter.config import Config, Loaded
    from smsfilter.desk.restore import Restored


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the actions."""
    backup = actions.add_parser(
        "backup",
        help="copy the records, also while the desk runs",
        description="Write a copy of the records into FILE, without any key, and FILE.manifest "
        "beside it, which is signed. The desk may run and work meanwhile. Of records in PostgreSQL "
        "it prints the pg_dump command instead.",
    )
    backup.add_argument("file", metavar="FILE", type=Path, help="a new file")
    restore = actions.add_parser(
        "restore",
        help="make records of a backup, where there are none",
        description="Make the records of the configuration from FILE and FILE.manifest. The keys "
        "have to be there (smsfilter desk key import) and records must not. The ledger in the "
        "backup is proven first, and the restore is entered into it. At its next start the desk "
        "takes in what the index knows of reports after the backup.",
    )
    what = restore.add_mutually_exclusive_group(required=True)
    what.add_argument("file", metavar="FILE", type=Path, nargs="?", help="the backup")
    what.add_argument(
        "--declare",
        action="store_true",
        help="the records are there already, by pg_restore: prove them and enter the restore",
    )
    restore.add_argument(
        "--witness",
        dest="witnesses",
        metavar="CHECKPOINT",
        type=Path,
        action="append",
        default=[],
        help="a file of checkpoints that were kept elsewhere; again for each file",
    )
    for command, run in ((backup, _backup), (restore, _restore)):
        add_config(command)
        command.set_defaults(run=told(run))


# --- backup


def _backup(args: argparse.Namespace) -> int:
    from smsfilter.cli.client import Client, DeskDown  # noqa: PLC0415 - start-up stays light
    from smsfilter.config import load  # noqa: PLC0415
    from smsfilter.desk.manifest import SUFFIX  # noqa: PLC0415
    from smsfilter.store import keyfiles  # noqa: PLC0415

    loaded = load(args.config)
    if command := _pg_dump(loaded.config, args.file):
        print("the records are in PostgreSQL, which has a tool of its own:", file=sys.stderr)
        print(command)
        return 1
    path = args.file.with_name(args.file.name + SUFFIX)
    refuse_existing(path)
    client = Client(loaded.config.state_dir, "smsfilter desk")
    with new_file(args.file) as file, contextlib.closing(client):
        taker = _Taker(file)
        try:
            with client.octets("/backup") as chunks:
                for chunk in chunks:
                    taker.take(chunk)
        except DeskDown:
            asyncio.run(_without_desk(loaded, taker))
        keyfiles.put(path, taker.manifest().encode())
    print(f"{args.file}: {taker.octets} octets, with {path.name} beside it")
    print("it holds no key: keep the keys apart from it, see smsfilter desk key export")
    return 0


async def _without_desk(loaded: "Loaded", taker: "_Taker") -> None:
    """Copy the records while no desk runs: the command is the desk for as long."""
    from smsfilter.desk.backup import Backups  # noqa: PLC0415 - start-up stays light
    from smsfilter.desk.office import Office, check  # noqa: PLC0415
    from smsfilter.ledger.actor import local  # noqa: PLC0415

    office = Office.of(loaded)
    try:
        await asyncio.to_thread(check, office.records, office.keys)
        await asyncio.to_thread(office.writer.start)
        try:
            async for chunk in await Backups(office).begin(local(os_user(), "command")):
                taker.take(chunk)
        finally:
            await asyncio.to_thread(office.writer.stop)
    finally:
        office.records.close()


def _pg_dump(config: "Config", file: Path) -> str | None:
    url = config.records.owner_url or config.records.url
    if config.records.sqlite_file(config.state_dir) is not None:
        return None
    return f"pg_dump --format=custom --file={file} '{url}'"


class _Taker:
    """Takes the stream of a backup: lines that say how far it is, the manifest, then octets."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._head = b""
        self._manifest: str | None = None
        self._digest = sha256()
        self.octets = 0

    def take(self, chunk: bytes) -> None:
        """Take in what came next. Raises DeskError, OSError."""
        while self._manifest is None and chunk:
            line, found, chunk = chunk.partition(b"\n")
            self._head += line
            if found:
                self._heard(json.loads(self._head))
                self._head = b""
        self._file.write(chunk)
        self._digest.update(chunk)
        self.octets += len(chunk)

    def manifest(self) -> str:
        """Return the manifest of what was taken. DeskError: it is not all there."""
        text = self._manifest or ""
        said = dict(line.split(": ", 1) for line in text.splitlines()[1:])
        if (said.get("octets"), said.get("digest")) != (str(self.octets), self._digest.hexdigest()):
            raise _wrong("the desk did not send all of it: nothing was kept")
        return text

    def _heard(self, said: dict[str, Any]) -> None:
        if "problem" in said:
            raise _wrong(said["problem"])
        self._manifest = said.get("manifest")
        if "copied" in said and sys.stderr.isatty():
            done, of = said["copied"]
            print(f"\r{done} of {of} pages", end="\n" if done == of else "", file=sys.stderr)


def _wrong(detail: str) -> Exception:
    from smsfilter.cli.client import DeskError  # noqa: PLC0415 - start-up stays light

    return DeskError(detail)


# --- restore


def _restore(args: argparse.Namespace) -> int:
    from smsfilter.config import load_config  # noqa: PLC0415
    from smsfilter.desk.restore import Restore  # noqa: PLC0415
    from smsfilter.ledger.actor import local  # noqa: PLC0415

    try:
        witnesses = witnesses_in(args.witnesses)
    except (OSError, ValueError) as error:
        raise _wrong(str(error)) from None
    restore = Restore(load_config(args.config), local(os_user(), "command"), witnesses)
    restored = restore.declared() if args.declare else restore.from_file(args.file)
    made = "" if args.declare else f", of {local_time(restored.at)}"
    print(f"restored: {restored.place}, up to seq {restored.seq}{made}")
    print(f"ledger: chain {restored.chain}; {_proven(restored)}")
    print(
        f"entered as seq {restored.seq + 1}: the ledger says that it has a gap here, and"
        " `audit verify` says so from now on"
    )
    print("start the desk: it takes in what the index knows of reports after the backup")
    return 0


def _proven(restored: "Restored") -> str:
    verdict = restored.verdict
    if verdict.status == "ok":
        return "all of it is proven"
    gaps = ", ".join(f"seq {each.seq}: {each.gap}" for each in verdict.findings)
    return f"not all of it can be proven ({gaps})"
