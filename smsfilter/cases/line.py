"""A line of evidence: what is known, in words, and the records that it rests on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from smsfilter.decisions.proof import Decided
from smsfilter.desk.blocks import SOURCE

NAMED_MOST: Final = 5
"""Records that a line names, the newest; it says how many there are."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is known."""

    kind: str
    says: str
    records: tuple[str, ...]
    at: int | None = None
    """When it was, µs UTC."""
    is_alarm: bool = False

    def told(self) -> dict[str, Any]:
        """As the API says it."""
        return {
            "kind": self.kind,
            "says": self.says,
            "records": list(self.records),
            "at": self.at,
            "alarm": self.is_alarm,
        }


def shown(source: str | None) -> str:
    """Name a source or a target in a line; a person's number stands there as a person."""
    if source is None:
        return "somebody who is not named"
    name = source.removeprefix(SOURCE)
    return "a person's number" if name.startswith("#") else name


def named(kind: str, ids: Iterable[int]) -> tuple[str, ...]:
    """Name rows, the newest first."""
    return tuple(f"{kind}:{each}" for each in ids)[:NAMED_MOST]


def recorded(ones: Sequence[Decided]) -> tuple[str, ...]:
    """Name decision records, given the oldest first."""
    return tuple(f"record:{one.proxy}/{one.segment}/{one.slot}" for one in ones)[-NAMED_MOST:]
