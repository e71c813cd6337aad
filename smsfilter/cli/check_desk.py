"""What `smsfilter check` says of the desk: its files, its keys and, with --live, its records.

They are looked at as the desk does at its start, which may run as another user: what this one may
not see is said, and is no error.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from smsfilter.cli.check import Caution

if TYPE_CHECKING:
    from smsfilter.cli.live import Finding
    from smsfilter.config import Loaded, Problem


def refuse(loaded: "Loaded") -> None:
    """Raise ConfigError where the desk would not start."""
    from smsfilter.config import ConfigError  # noqa: PLC0415 - start-up stays light

    if problems := list(_problems(loaded)):
        raise ConfigError(problems)


def _problems(loaded: "Loaded") -> "Iterator[Problem]":
    from smsfilter.config import ConfigError, Problem, desk_problems  # noqa: PLC0415
    from smsfilter.reports.replies import load_replies  # noqa: PLC0415

    yield from desk_problems(loaded.config, loaded.config_file)
    if loaded.config.desk is None:
        return
    try:
        load_replies(loaded.config.desk.replies)
    except ConfigError as error:
        yield from error.problems
    with contextlib.suppress(PermissionError):  # which is a caution
        for path, mode in _keys(loaded.config.state_dir):
            if mode is not None and mode & 0o077:
                said = f"{path}: others may read it (mode {mode:04o}): chmod 600 {path}"
                yield Problem(*loaded.config_file.place(("state_dir",)), said)


def cautions(loaded: "Loaded") -> Iterator[Caution]:
    """Name what is legal and keeps the desk from its work."""
    if loaded.config.desk is None:
        return
    place = loaded.config_file.place(("state_dir",))
    try:
        missing = [path for path, mode in _keys(loaded.config.state_dir) if mode is None]
    except PermissionError as error:
        yield place, f"{error.filename}: this user may not look at the desk's keys: use sudo"
        return
    if missing:
        names = ", ".join(path.name for path in missing)
        cure = f"smsfilter desk init -c {loaded.config_file.file}"
        yield place, f"the desk has no keys yet ({names}): {cure}"
    yield from _proxies(loaded)


def _proxies(loaded: "Loaded") -> Iterator[Caution]:
    """Name the listed proxies whose decision records cannot be read.

    The one beside the desk makes folder and key at its first start.
    """
    desk = loaded.config.desk
    if desk is None or desk.decisions is None:
        return
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    from smsfilter.desk.evidence import STAMP, proxies  # noqa: PLC0415
    from smsfilter.store import keyfiles  # noqa: PLC0415

    place = loaded.config_file.place(("desk", "decisions"))
    for one in proxies(loaded.config, ZoneInfo(loaded.policy.timezone)):
        said = f"nothing is proven without the records of {one.name}"
        try:
            keyfiles.read(one.key)
        except keyfiles.KeyFileError as error:
            yield place, f"{said}: {error}"
        if not os.path.isdir(one.path):
            yield place, f"{said}: {one.path} is no folder that this user may read"
        elif one.is_copy and not os.path.exists(one.path / STAMP):
            yield place, f"{said}: {one.path / STAMP} does not say when they were copied"


def _keys(state_dir: Path) -> Iterator[tuple[Path, int | None]]:
    """Give the files of the keys with their modes, None where one is missing."""
    from smsfilter.desk.keys import FILES, FOLDER  # noqa: PLC0415

    for name in FILES.values():
        path = state_dir / FOLDER / name
        try:
            yield path, stat.S_IMODE(path.stat().st_mode)
        except FileNotFoundError:
            yield path, None


def records(loaded: "Loaded") -> "list[Finding]":
    """Ask the records whether the desk could work with them."""
    from smsfilter.cli.live import Finding  # noqa: PLC0415
    from smsfilter.desk.office import records_of  # noqa: PLC0415
    from smsfilter.store.records import RecordsAway, RecordsError  # noqa: PLC0415

    if loaded.config.desk is None:
        return []
    known = records_of(loaded.config)
    try:
        if known.is_sqlite and not known.path.exists():  # a look would make the file
            init = f"smsfilter desk init -c {loaded.config_file.file}"
            return [Finding(False, f"no records at {known.place}", init)]
        known.check()
    except (RecordsError, RecordsAway, OSError) as error:
        return [Finding(False, f"records: {error}")]
    finally:
        known.close()
    return [Finding(True, f"records at {known.place}")]
