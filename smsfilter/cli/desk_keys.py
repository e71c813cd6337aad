"""`smsfilter desk key`: a copy of the keys for elsewhere, and keys that come from there."""

import argparse
import getpass
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from smsfilter.cli.steps import told
from smsfilter.cli.store import add_config

if TYPE_CHECKING:
    from smsfilter.desk.keybox import Brought


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the actions."""
    key = actions.add_parser("key", help="keep a copy of the keys elsewhere, and bring it back")
    commands = key.add_subparsers(metavar="ACTION", required=True)
    export = commands.add_parser(
        "export",
        help="write all keys into one file, under a passphrase",
        description="Write all keys of the desk into FILE, wrapped by a passphrase. Keep it apart "
        "from the backups of the records: who has both has everything.",
    )
    export.add_argument("file", metavar="FILE", type=Path, help="a new file")
    take = commands.add_parser(
        "import",
        help="bring keys back, or take in the key of another host's proxy",
        description="Put the keys of an export to where they belong, where there are none; or "
        "take in the key of a proxy's decision records (state_dir/keys/decisions.key there). "
        "No key is ever overwritten.",
    )
    take.add_argument("file", metavar="FILE", type=Path, help="the export, or the proxy's key")
    take.add_argument(
        "--decisions", metavar="PROXY", help="FILE is the key of this proxy's decision records"
    )
    for command, run in ((export, _export), (take, _import)):
        command.add_argument(
            "--passphrase-file",
            metavar="FILE",
            type=Path,
            help="the passphrase is the content of FILE; it is asked for if not given",
        )
        add_config(command)
        command.set_defaults(run=told(run))


def _export(args: argparse.Namespace) -> int:
    from smsfilter.config import load_config  # noqa: PLC0415 - start-up stays light
    from smsfilter.desk import keybox  # noqa: PLC0415
    from smsfilter.store import keyfiles  # noqa: PLC0415

    keys = keybox.collect(load_config(args.config).state_dir)
    if args.file.exists():  # before a passphrase is asked for
        raise keyfiles.KeyFileError(f"{args.file}: File exists")
    box = keybox.seal(keys, _passphrase(args.passphrase_file, twice=True), time.time_ns() // 1_000)
    keyfiles.put(args.file, box.encode())
    print(f"{args.file} holds {', '.join(sorted(keys))}")
    print("keep it apart from the backups, and the passphrase apart from both")
    return 0


def _import(args: argparse.Namespace) -> int:
    from smsfilter.config import load_config  # noqa: PLC0415 - start-up stays light
    from smsfilter.desk import keybox  # noqa: PLC0415
    from smsfilter.store import keyfiles  # noqa: PLC0415

    state_dir = load_config(args.config).state_dir
    if args.decisions is not None:
        brought = keybox.take_in(state_dir, args.decisions, keyfiles.read(args.file))
    else:
        try:
            with args.file.open("rb") as file:
                text = file.read(keybox.FILE_MOST).decode("utf-8", "replace")
        except OSError as error:
            raise keyfiles.KeyFileError(f"{args.file}: {error.strerror}") from None
        keys = keybox.open_box(text, _passphrase(args.passphrase_file))
        brought = keybox.bring_back(state_dir, keys)
    _say(brought)
    return 0


def _say(brought: "Brought") -> None:
    for path in brought.written:
        print(f"wrote {path}")
    for path in brought.same:
        print(f"{path} is there already")
    for path in brought.other:
        print(f"{path} stays: it is the key of the proxy of this host")


def _passphrase(file: Path | None, *, twice: bool = False) -> str:
    from smsfilter.sections import read_password  # noqa: PLC0415 - start-up stays light
    from smsfilter.store.keyfiles import KeyFileError  # noqa: PLC0415

    given = read_password(file)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise KeyFileError("no terminal to ask for the passphrase: use --passphrase-file FILE")
    given = getpass.getpass("passphrase: ")
    if twice and getpass.getpass("the same again: ") != given:
        raise KeyFileError("these were two different passphrases: nothing was written")
    return given
