"""Branches of the operator: whose a customer is by their number, and who stands above whom.

Headquarters is the root, needs no entry, and has every customer whose number belongs to no branch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

HEADQUARTERS: Final = "hq"
"""The branch above all others."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch; `prefixes` are the beginnings of numbers, E.164 digits."""

    id: str
    name: str
    parent: str = HEADQUARTERS
    prefixes: Sequence[str] = ()
    head: str | None = None
    """Whom a breach is told to: a person of the staff."""


class Branches:
    """All branches. Raises ValueError where one stands above itself or a prefix is there twice."""

    def __init__(self, branches: Sequence[Branch] = ()) -> None:
        self.by_id: Mapping[str, Branch] = {
            HEADQUARTERS: Branch(HEADQUARTERS, "headquarters"),
            **{each.id: each for each in branches},
        }
        self._by_prefix: dict[str, str] = {}
        for each in branches:
            if each.id != HEADQUARTERS and each.parent not in self.by_id:
                raise ValueError(f"{each.id}: its parent {each.parent} is not there")
            for prefix in each.prefixes:
                other = self._by_prefix.setdefault(prefix, each.id)
                if other != each.id:
                    raise ValueError(f"{each.id}: the prefix {prefix} is that of {other} too")
        below: dict[str, set[str]] = {}
        for name in self.by_id:
            for above in self.upwards(name):
                below.setdefault(above, set()).add(name)
        self._below = {name: frozenset(each) for name, each in below.items()}
        self._longest = max(map(len, self._by_prefix), default=0)

    def of(self, digits: str) -> str:
        """Return the branch of a number (E.164 digits), by its longest known prefix."""
        for length in range(min(self._longest, len(digits)), 0, -1):
            if (found := self._by_prefix.get(digits[:length])) is not None:
                return found
        return HEADQUARTERS

    def upwards(self, branch: str) -> Iterator[str]:
        """Give a branch and all above it, headquarters last. Raises ValueError for a circle.

        A branch that is not there any more stands below headquarters.
        """
        seen: set[str] = set()
        while branch != HEADQUARTERS:
            if branch in seen:
                raise ValueError(f"{branch} stands above itself")
            seen.add(branch)
            yield branch
            known = self.by_id.get(branch)
            branch = HEADQUARTERS if known is None else known.parent
        yield HEADQUARTERS

    def within(self, branch: str) -> frozenset[str] | None:
        """Return a branch with all below it; None = every branch, as headquarters has them."""
        if branch == HEADQUARTERS:
            return None
        return self._below.get(branch) or frozenset((branch,))

    def covers(self, above: str, branch: str) -> bool:
        """Whether who is of one branch sees the customers of another."""
        within = self.within(above)
        return within is None or branch in within
