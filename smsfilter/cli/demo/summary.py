"""What the demo promises, and whether what was counted keeps it. Pure: counts in, words out.

A line is one road of one company to one customer or to a group of them. What was forwarded is
what the SMSC has counted, not what the proxy says of itself; what was sent and refused is what
the senders have counted. A promise that was not put to the test counts as broken.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

IN_FORCE_S: Final = 5.0
"""From a report to its block in force, at most."""
ANSWERED_H: Final = 48
"""From a report to what it has come to, at most."""


class Phase(IntEnum):
    """When a message was sent. What is under way from one to the next counts as sent before."""

    BEFORE = 0
    AFTER = 1
    """The short code has answered the report: its block is in force."""
    TAKING_BACK = 2
    """The report is being withdrawn: what becomes of a message is not promised."""
    AGAIN = 3
    """The customer has the answer to the withdrawal."""


class Count(NamedTuple):
    """Messages of one line, sent in one phase."""

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
    counts: tuple[Count, ...]
    """By phase."""
    status: int | None = None
    """The last command_status that the sender was given."""

    @property
    def total(self) -> Count:
        """Of all phases."""
        return added(self.counts)

    @property
    def since(self) -> Count:
        """Of all that was sent since the report."""
        return added(self.counts[Phase.AFTER :])


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
        return {
            "held": self.held,
            **self.total._asdict(),
            "promises": [promise._asdict() for promise in self.promises],
            "roads": [
                line._asdict()
                | {"counts": {p.name.lower(): line.counts[p]._asdict() for p in Phase}}
                for line in self.lines
            ],
        }


def added(counts: Iterable[Count]) -> Count:
    """Add counts up, field by field."""
    return Count(*map(sum, zip(Count(), *counts, strict=True)))


class Reports(NamedTuple):
    """What the SMSC has seen of the customer's texts to the short code."""

    texts: int
    """How many the customer sent."""
    taken: int
    """How many the short code has answered with ESME_ROK."""
    answers: int
    """SMS of the short code to the customer."""
    in_force_s: float
    """From the report's first octet to its ESME_ROK."""
    decided: int
    """Cases of which the clerk, a program of its own, says that they are decided."""
    results: int
    """SMS to the customer that say what a case has come to."""
    result_s: float
    """From the report's ESME_ROK to the last of them."""


class Checked(NamedTuple):
    """What a command has said of a file."""

    status: int
    words: str
    """Its first line."""


def summarise(lines: Sequence[Line], strays: int = 0, further: Sequence[Promise] = ()) -> Summary:
    """Judge the counts; `strays` are messages at the SMSC that no sender has sent."""
    promises = [_accounted(lines, strays)]
    for company in dict.fromkeys(line.company for line in lines):
        own = [line for line in lines if line.company == company]
        if not own[0].approved:
            promises.append(_never(own))
        elif own[0].accused:
            reported = [line for line in own if line.to_reporter]
            promises += [_closed(reported), _open_again(reported)]
            promises.append(_open([line for line in own if not line.to_reporter]))
        else:
            promises.append(_open(own))
    total = added(line.total for line in lines)
    return Summary(total, (*promises, *further), tuple(lines))


def answered(reports: Reports) -> tuple[Promise, ...]:
    """Judge what became of the texts to the short code."""
    texts, taken, answers = reports.texts, reports.taken, reports.answers
    return (
        Promise(
            f"in force within {IN_FORCE_S:g} s of the report",
            reports.in_force_s <= IN_FORCE_S,
            f"{reports.in_force_s:.2f} s until ESME_ROK",
        ),
        Promise(
            "each text to the short code is answered",
            0 < texts == taken == answers,
            f"{texts} sent, {taken} taken, {answers} answers on the handset",
        ),
        Promise(
            f"a clerk has answered within {ANSWERED_H} hours",
            0 < reports.decided == reports.results and reports.result_s <= ANSWERED_H * 3600,
            f"{reports.decided} decided, {reports.results} told by SMS "
            f"after {reports.result_s:.1f} s",
        ),
    )


def proven(block: Checked, whole: Checked, edited: Checked) -> tuple[Promise, ...]:
    """Judge what is said of the block, of the ledger, and of a copy with one byte changed."""
    return (
        Promise("the proxy's records prove the block", block.status == 0, block.words),
        Promise("the exported ledger verifies", whole.status == 0, whole.words),
        Promise("with one byte changed it does not", edited.status == 1, edited.words),
    )


def _accounted(lines: Sequence[Line], strays: int) -> Promise:
    """Nothing is lost, doubled or made up: on each road, and so in all."""
    whole = all(
        count.sent == count.forwarded + count.refused for line in lines for count in line.counts
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
    """Every road was open before the report, was tried after it, and let nothing pass."""
    after = added(line.counts[Phase.AFTER] for line in lines)
    was_open = all(line.counts[Phase.BEFORE].forwarded for line in lines)
    tried = all(line.counts[Phase.AFTER].sent for line in lines)
    evidence = f"{after.sent:,} sent after the report, {after.forwarded:,} arrived"
    if not was_open:
        evidence += "; one was closed before"
    if not tried:
        evidence += "; one was not tried"
    text = f"{lines[0].company} to {lines[0].customer}: {len(lines)} roads closed"
    return Promise(text, was_open and tried and after.forwarded == 0, evidence)


def _open_again(lines: Sequence[Line]) -> Promise:
    """Every road is open once the report was taken back."""
    return _went_on(
        f"{lines[0].company} to {lines[0].customer}: open again",
        [line.counts[Phase.AGAIN] for line in lines],
        "sent after the withdrawal",
    )


def _open(lines: Sequence[Line]) -> Promise:
    """Every road is open after the report as before it."""
    customers = {line.customer for line in lines}
    to = f" to {lines[0].customer}" if len(customers) == 1 else ""
    return _went_on(
        f"{lines[0].company}{to}: open",
        [line.since for line in lines],
        "sent after the report",
    )


def _went_on(text: str, counts: Sequence[Count], when: str) -> Promise:
    """All of it arrived; what was put off is not held against it."""
    total = added(counts)
    whole = total.forwarded + total.put_off == total.sent
    evidence = f"{total.sent:,} {when}, {total.forwarded:,} arrived"
    if total.put_off:
        evidence += f", {total.put_off:,} put off"
    return Promise(text, whole and all(count.forwarded for count in counts), evidence)


def _never(lines: Sequence[Line]) -> Promise:
    """Without an approval nothing passes at any time."""
    total = added(line.total for line in lines)
    tried = all(line.total.sent for line in lines)
    evidence = f"{total.sent:,} sent, {total.forwarded:,} arrived"
    return Promise(
        f"{lines[0].company}, not approved: closed", tried and total.forwarded == 0, evidence
    )
