"""What the demo promises, and whether what was counted keeps it. Pure: counts in, words out.

A line is one road of one company to one customer or to a group of them. What was forwarded is
what the SMSC has counted, not what the proxy says of itself; what was sent and refused is what
the senders have counted. A promise that was not put to the test counts as broken.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Count(NamedTuple):
    """Messages of one line, sent before the block or after it."""

    sent: int = 0
    forwarded: int = 0
    """What has arrived at the SMSC."""
    refused: int = 0
    put_off: int = 0
    """Those of the refused that the sender is to send again: their look-up came too late."""


class Line(NamedTuple):
    """One road of a company to one customer, or to all the others."""

    company: str
    approved: bool
    road: str
    account: str
    customer: str
    accused: bool
    """This company is the one that is reported."""
    to_reporter: bool
    """This customer is the one who reports it."""
    before: Count
    after: Count
    """Of what was sent once Redis had confirmed the block."""
    status: int | None = None
    """The last command_status that the sender was given."""

    @property
    def total(self) -> Count:
        """Before and after."""
        return added((self.before, self.after))


class Promise(NamedTuple):
    """One thing that has to be so."""

    text: str
    held: bool
    evidence: str


class Summary(NamedTuple):
    """All that is said at the end."""

    total: Count
    promises: tuple[Promise, ...]
    lines: tuple[Line, ...]

    @property
    def held(self) -> bool:
        """Whether every promise was kept."""
        return all(promise.held for promise in self.promises)

    def as_json(self) -> dict[str, Any]:
        """Give it as what JSON knows."""
        counts = ("before", "after")
        return {
            "held": self.held,
            **self.total._asdict(),
            "promises": [promise._asdict() for promise in self.promises],
            "roads": [
                line._asdict() | {key: getattr(line, key)._asdict() for key in counts}
                for line in self.lines
            ],
        }


def added(counts: Iterable[Count]) -> Count:
    """Add counts up, field by field."""
    return Count(*map(sum, zip(Count(), *counts, strict=True)))


def summarise(lines: Sequence[Line], strays: int = 0) -> Summary:
    """Judge the counts; `strays` are messages at the SMSC that no sender has sent."""
    promises = [_accounted(lines, strays)]
    for company in dict.fromkeys(line.company for line in lines):
        own = [line for line in lines if line.company == company]
        if not own[0].approved:
            promises.append(_never(own))
        elif own[0].accused:
            promises.append(_closed([line for line in own if line.to_reporter]))
            promises.append(_open([line for line in own if not line.to_reporter]))
        else:
            promises.append(_open(own))
    return Summary(added(line.total for line in lines), tuple(promises), tuple(lines))


def _accounted(lines: Sequence[Line], strays: int) -> Promise:
    """Nothing is lost, doubled or made up: on each road, and so in all."""
    whole = all(
        count.sent == count.forwarded + count.refused
        for line in lines
        for count in (line.before, line.after)
    )
    total = added(line.total for line in lines)
    sign = "=" if total.sent == total.forwarded + total.refused else "≠"
    evidence = f"{total.sent:,} {sign} {total.forwarded:,} + {total.refused:,}"
    if strays:
        evidence += f"; {strays:,} arrived that nobody sent"
    elif not whole:
        evidence += "; the roads do not add up"
    return Promise("sent = forwarded + refused", whole and strays == 0, evidence)


def _closed(lines: Sequence[Line]) -> Promise:
    """Every road was open before the block, was tried after it, and let nothing pass."""
    after = added(line.after for line in lines)
    was_open = all(line.before.forwarded for line in lines)
    tried = all(line.after.sent for line in lines)
    evidence = f"{after.sent:,} sent after the block, {after.forwarded:,} arrived"
    if not was_open:
        evidence += "; one was closed before"
    if not tried:
        evidence += "; one was not tried"
    text = f"{lines[0].company} to {lines[0].customer}: {len(lines)} roads closed"
    return Promise(text, was_open and tried and after.forwarded == 0, evidence)


def _open(lines: Sequence[Line]) -> Promise:
    """Every road is open after the block as before it; what was put off is not held against it."""
    after = added(line.after for line in lines)
    went_on = all(line.after.forwarded for line in lines)
    whole = after.forwarded + after.put_off == after.sent
    evidence = f"{after.sent:,} sent after the block, {after.forwarded:,} arrived"
    if after.put_off:
        evidence += f", {after.put_off:,} put off"
    customers = {line.customer for line in lines}
    to = f" to {lines[0].customer}" if len(customers) == 1 else ""
    return Promise(f"{lines[0].company}{to}: open", went_on and whole, evidence)


def _never(lines: Sequence[Line]) -> Promise:
    """Without an approval nothing passes at any time."""
    total = added(line.total for line in lines)
    tried = all(line.total.sent for line in lines)
    evidence = f"{total.sent:,} sent, {total.forwarded:,} arrived"
    return Promise(
        f"{lines[0].company}, not approved: closed", tried and total.forwarded == 0, evidence
    )
