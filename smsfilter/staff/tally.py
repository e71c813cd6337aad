"""What may happen a thousand times a minute is summed up: one row of the ledger for each kind."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from smsfilter.ledger.actor import Actor, system
from smsfilter.store.transaction import Transaction
from smsfilter.store.writer import Writer

EVERY_S: Final = 60.0
_EXAMPLES: Final = 5
"""Addresses and paths that a row names; the count has all."""
_DOOR: Final = system("door")


class _Kind(NamedTuple):
    action: str
    by: Actor
    object: str
    right: str


@dataclass(slots=True)
class _Sum:
    count: int = 0
    examples: Counter[str] = field(default_factory=Counter)


class Tally:
    """Counts failed logins and refused requests until they are entered."""

    def __init__(self) -> None:
        self._sums: dict[_Kind, _Sum] = {}

    def failed(self, account: str | None, origin: str) -> None:
        """A login failed; None: there is no such account."""
        object = "staff" if account is None else f"staff:{account}"
        self._count(_Kind("logins failed", _DOOR, object, ""), origin)

    def refused(self, by: Actor, right: str, path: str) -> None:
        """Somebody asked for what they may not have; `path` is that of a route."""
        self._count(_Kind("refused", by, "", right), path)

    async def enter(self, writer: Writer) -> None:
        """Enter what there is. Raises RecordsAway, RecordsError; it is kept then."""
        sums, self._sums = self._sums, {}
        if not sums:
            return

        def work(transaction: Transaction) -> None:
            for kind, summed in sums.items():
                named = "origins" if kind.action == "logins failed" else "paths"
                examples = [each for each, _ in summed.examples.most_common(_EXAMPLES)]
                detail = {"count": summed.count, named: examples}
                right = {"right": kind.right} if kind.right else {}
                transaction.enter(kind.action, kind.by, object=kind.object, detail=detail | right)

        try:
            await writer.write(work)
        except BaseException:
            for kind, summed in sums.items():
                into = self._sums.setdefault(kind, _Sum())
                into.count += summed.count
                into.examples.update(summed.examples)
            raise

    def _count(self, kind: _Kind, example: str) -> None:
        summed = self._sums.setdefault(kind, _Sum())
        summed.count += 1
        if example in summed.examples or len(summed.examples) < 100:
            summed.examples[example] += 1
