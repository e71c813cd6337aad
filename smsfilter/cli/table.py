"""Tables for a terminal, and the same as plain columns where there is none."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smsfilter.cli.printable import printable


def show(columns: Sequence[str], rows: Iterable[Sequence[object]], nothing: str) -> None:
    """Print rows under their columns, or say that there is nothing."""
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(highlight=False, soft_wrap=False)
    if table.row_count:
        console.print(table)
    else:
        console.print(nothing)
