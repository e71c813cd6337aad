"""What a pass has found so far: the first fault, and the gaps, one of each kind with a count.

Only the first fault is kept, as everything after it may follow from it. But what comes later can
tell its kind: a missing record that turns up was moved, and a signature that fits after one that
did not means two signed histories. `Pending` says which of these the fault still waits for.
"""

from dataclasses import replace
from enum import Enum, auto

from smsfilter.ledger.verdict import Fault, Finding, Gap, Kind


class Pending(Enum):
    """What may still tell more about the fault."""

    NOTHING = auto()
    MISSING = auto()
    """The missing records turn up, or no record comes after them."""
    LINK = auto()
    """A signature shows that the record behind the break is a true one."""
    SIGNATURE = auto()
    """Another signature fits the file."""
    HEADER = auto()
    """The end says that the header is wrong and not the records."""


class Faults:
    """The first fault and the gaps."""

    def __init__(self) -> None:
        self.first: Fault | None = None
        self.pending = Pending.NOTHING
        self.line = 1
        """The line that is being read."""
        self._findings: dict[Gap, Finding] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The gaps, in the order in which they were met."""
        return tuple(self._findings.values())

    def blame(
        self,
        kind: Kind,
        seq: int | None,
        what: str,
        until: int | None = None,
        pending: Pending = Pending.NOTHING,
    ) -> None:
        """Keep the first fault. A later one ends what the records behind the first could tell."""
        if self.first is None:
            self.first = Fault(kind, seq, seq if until is None else until, what, self.line)
            self.pending = pending
        elif self.pending in (Pending.LINK, Pending.SIGNATURE):
            self.pending = Pending.NOTHING

    def find(self, gap: Gap, seq: int, what: str, until: int | None = None) -> None:
        """Keep the first gap of a kind, and count the others."""
        known = self._findings.get(gap)
        self._findings[gap] = (
            Finding(gap, seq, seq if until is None else until, 1, what)
            if known is None
            else replace(known, count=known.count + 1)
        )

    def turned_up(self, seq: int) -> bool:
        """Whether `seq` is one of those that were missing: then it was moved, not deleted."""
        fault = self.first
        if fault is None or self.pending is not Pending.MISSING:
            return False
        if fault.seq is None or fault.until is None or not fault.seq <= seq <= fault.until:
            return False
        if fault.kind is Kind.DELETED:
            what = f"the record with seq {seq} stands further on, in line {self.line}"
            self.first = replace(fault, kind=Kind.REORDERED, until=fault.seq, what=what)
        return True

    def signature_fits(self, seq: int) -> None:
        """A signature of `seq` fits the file, behind the fault."""
        fault = self.first
        if fault is None or fault.seq is None or fault.until is None:
            return
        if self.pending is Pending.SIGNATURE:
            what = f"{fault.what}; a signature of seq {seq} fits the file"
            self.first = replace(fault, kind=Kind.FORKED, what=what)
            self.pending = Pending.NOTHING
        elif self.pending is Pending.LINK and seq >= fault.until:
            self.first = replace(fault, until=max(fault.until - 1, fault.seq))
            self.pending = Pending.NOTHING

    def signature_contradicts(self) -> None:
        """A signature does not fit either, behind the fault."""
        if self.pending is Pending.LINK:
            self.pending = Pending.NOTHING

    def end_of_records(self, last: int) -> None:
        """No record comes after `last`: what is missing there was cut off."""
        fault = self.first
        if fault is not None and fault.kind is Kind.DELETED and last < (fault.seq or 0):
            self.first = replace(fault, kind=Kind.CUT)

    def header_is_wrong(self) -> None:
        """Withdraw what was only held against the records because of the header."""
        if self.pending is Pending.HEADER:
            self.first, self.pending = None, Pending.NOTHING
