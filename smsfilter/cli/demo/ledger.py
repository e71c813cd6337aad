"""The end of the demo for an auditor: the ledger, exported and verified; and a copy, altered.

All of it by the commands that an auditor has, which know nothing of the demo.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smsfilter.cli.demo.program import command, succeed
from smsfilter.cli.demo.summary import Checked

if TYPE_CHECKING:
    from smsfilter.cli.demo.site import Site

ENTERED: Final = b"report taken"
"""What the altered record is about."""


async def check(site: "Site", word: bytes) -> tuple[Checked, Checked]:
    """Export the ledger; what the verifier says of it, and of it with one byte of `word` changed.

    The checkpoint that it is held against was kept before it was exported. Raises DemoError.
    """
    whole, edited = site.directory / "ledger.jsonl", site.directory / "edited.jsonl"
    witness = site.directory / "witness.txt"
    witness.write_bytes((site.state_dir / "checkpoints.txt").read_bytes())
    await succeed("audit", "export", str(whole), "-c", str(site.config_file))
    edited.write_bytes(altered(whole.read_bytes(), word))
    key = site.state_dir / "keys" / "ledger.pub"
    first, second = await asyncio.gather(*(_verified(f, key, witness) for f in (whole, edited)))
    return first, second


def altered(export: bytes, word: bytes) -> bytes:
    """Change the first byte of `word` where the record of the report has it."""
    at = export.index(word, export.index(ENTERED))
    return export[:at] + b"x" + export[at + 1 :]


async def _verified(file: Path, key: Path, witness: Path) -> Checked:
    options = ("--key", str(key), "--witness", str(witness))
    done = await command("audit", "verify", str(file), *options)
    return Checked(done.status, (done.out or done.err).partition("\n")[0])
