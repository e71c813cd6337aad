"""A desk beside a site's proxy: the same configuration, Redis and SMSC, and records of its own.

The SMSC that the proxy forwards to is the one that brings the reports, so that a test sees both
ends of a customer's handset.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection

from smsfilter.desk.companies import import_
from smsfilter.flow.branches import HEADQUARTERS
from smsfilter.ledger.actor import system
from smsfilter.rules.registry import RegistryFile
from smsfilter.store.records import Records
from smsfilter.store.writer import Writer
from tests.fakes import people
from tests.fakes.daemon import ROOT, START_TIMEOUT_S, Daemon
from tests.fakes.handset import SHORT_CODE, Handsets
from tests.fakes.site import Site, merged

T = TypeVar("T")
SYSTEM_ID = "centre"


def section(smsc_port: int) -> dict[str, Any]:
    """What the configuration says of a desk."""
    return {
        "desk": {
            "report_centre": {
                "smsc": [f"127.0.0.1:{smsc_port}"],
                "system_id": SYSTEM_ID,
                "address": SHORT_CODE,
            },
            "replies": str(ROOT / "config" / "replies.yaml"),
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
        }
    }


class Desk(Daemon):
    """The desk of a site. `handsets` are the customers of its SMSC."""

    def __init__(
        self, site: Site, records_url: str | None = None, over: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(site.directory)
        self.site = site
        self._url = records_url or f"sqlite:///{site.directory}/state/records.db"
        config = merged(section(site.smsc.port), {"records": {"url": self._url}})
        site.write_config(merged(config, over or {}))
        self.handsets = Handsets(site.smsc, system_id=SYSTEM_ID, receipts="behind")

    def login(self, by: str | None = people.DEFAULT) -> dict[str, str]:
        """What the environment of a command says of who types it; None: nobody has logged in."""
        folder = self.site.directory
        path = folder / "no-login.json" if by is None else people.login_file(folder, by)
        return {people.LOGIN_ENV: str(path)}

    def command(
        self, *words: str, stdin: str = "", by: str | None = people.DEFAULT
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command with the configuration of the site, as the person `by` would.

        None is a user of the machine without a login.
        """
        return subprocess.run(
            [sys.executable, "-m", "smsfilter", *words, "-c", str(self.config_path)],
            capture_output=True,
            text=True,
            env=self.env | self.login(by),
            input=stdin,
            timeout=60,
            check=False,
        )

    async def ran(self, *words: str, stdin: str = "", by: str | None = people.DEFAULT) -> str:
        """Run a command that has to succeed, and return what it printed."""
        done = await asyncio.to_thread(self.command, *words, stdin=stdin, by=by)
        assert done.returncode == 0, done.stdout + done.stderr + "\n" + self.story()
        return done.stdout

    @property
    def staff_port(self) -> int:
        """Where the running desk is reached by people over TCP."""
        return int(self.logged("listening")[-1]["listen"][1].rpartition(":")[2])

    async def init(self, *, hires: bool = True) -> None:
        """Make keys and records and, unless told otherwise, two people who may do everything."""
        await self.ran("desk", "init", by=None)
        if hires:
            await asyncio.to_thread(people.two, self._url)

    async def hire(self, who: str, *roles: str, branch: str = HEADQUARTERS, **over: Any) -> str:
        """Make an active person with a login, also while the desk runs; their id."""
        of = roles or people.EVERYTHING
        await asyncio.to_thread(people.hired, self._url, who, of, branch, **over)
        return who

    async def load_companies(self, registry: Mapping[str, Any]) -> None:
        """Import a registry into the records of a desk that does not run."""

        def load() -> None:
            records = Records(self._url)
            writer = Writer(records, lambda: time.time_ns() // 1000)
            writer.start()
            try:
                content = RegistryFile.model_validate(registry)
                writer.submit(
                    lambda transaction: import_(transaction, content, system("test"))
                ).result()
            finally:
                writer.stop()
                records.close()

        await asyncio.to_thread(load)

    async def start(self, *, wait: bool = True) -> None:
        """Start the desk and, unless told otherwise, wait until the centre is bound."""
        since = len(self.log)
        await self.run("desk", wait=wait)
        if wait:
            await self.wait_for_log("centre_bound", since=since, timeout_s=START_TIMEOUT_S)

    async def close(self) -> None:
        """Stop, and let the handsets go."""
        await self.handsets.close()
        try:
            await self.stop()
        finally:
            if self._program is not None:
                await self._program.close()

    async def look(self, work: Callable[[Connection], T]) -> T:
        """Read the records beside the desk."""

        def reading() -> T:
            records = Records(self._url)
            try:
                with records.reading() as connection:
                    return work(connection)
            finally:
                records.close()

        return await asyncio.to_thread(reading)
