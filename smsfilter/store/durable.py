"""Names of files that survive a power loss: fsync of a file keeps its octets, not its name."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Have the disk take the names of a folder. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
