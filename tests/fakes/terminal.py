"""Whoever types commands at a desk: a person with a login of their own, got as people get it."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from tests.fakes.desk import Desk

HALF = r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}"
"""Half a code, as it is printed."""


class Terminal:
    """Whoever types commands at a desk, with a login file of their own."""

    def __init__(self, desk: Desk, file: Path) -> None:
        self.desk = desk
        self.file = file

    async def typed(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command, whatever comes of it."""
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "smsfilter", *words, "-c", str(self.desk.config_path)],
            capture_output=True,
            text=True,
            env=self.desk.env | {"SMSFILTER_LOGIN": str(self.file)},
            input=stdin,
            timeout=60,
            check=False,
        )

    async def ran(self, *words: str, stdin: str = "") -> str:
        """Run a command that has to succeed, and return what it printed."""
        done = await self.typed(*words, stdin=stdin)
        assert done.returncode == 0, done.stdout + done.stderr + self.desk.story()
        return done.stdout

    async def refused(self, *words: str, stdin: str = "") -> str:
        """Run a command that has to fail, and return what it says."""
        done = await self.typed(*words, stdin=stdin)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr


def halves(said: str) -> list[str]:
    """The halves of codes in what a command printed."""
    return re.findall(HALF, said)
