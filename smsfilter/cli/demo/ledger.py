"""The demo for an auditor: the block, proven; the ledger, exported and verified; a copy, altered.

All of it by the commands that an auditor has, which know nothing of the demo.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smsfilter.cli.demo.program import command, succeed
from smsfilter.cli.demo.summary import Checked

if TYPE_CHECKING:
    from smsfilter.cli.demo.site import Site

BLOCK: Final = "1"
"""The id of the only block that there is."""
ENTERED: Final = b"report taken"
"""What the altered record is about."""


async def prove(site: "Site") -> Checked:
    """What the desk can prove of the block by what the proxy has put on record."""
    return await _checked(
        "block", "proof", BLOCK, "-c", str(site.config_file), login=await site.logged_in()
    )


async def check(site: "Site", word: bytes) -> tuple[Checked, Checked]:
    """Export the ledger; what the verifier says of it, and of it with one byte of `word` changed.

    The checkpoint that it is held against was kept before it was exported. Raises DemoError.
    """
    whole, edited = site.directory / "ledger.jsonl", site.directory / "edited.jsonl"
    witness = site.directory / "witness.txt"
    witness.write_bytes((site.state_dir / "checkpoints.txt").read_bytes())
    config = ("-c", str(site.config_file))
    await succeed("audit", "export", str(whole), *config, login=await site.logged_in())
    edited.write_bytes(altered(whole.read_bytes(), word))
    key = site.state_dir / "keys" / "ledger.pub"
    options = ("--key", str(key), "--witness", str(witness))
    verdicts = (_checked("audit", "verify", str(file), *options) for file in (whole, edited))
    first, second = await asyncio.gather(*verdicts)
    return first, second


def altered(export: bytes, word: bytes) -> bytes:
    """Change the first byte of `word` where the record of the report has it."""
    at = export.index(word, export.index(ENTERED))
    return export[:at] + b"x" + export[at + 1 :]


async def _checked(*words: str, login: Path | None = None) -> Checked:
    done = await command(*words, login=login)
    return Checked(done.status, (done.out or done.err).partition("\n")[0])
