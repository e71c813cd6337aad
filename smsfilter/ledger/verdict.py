"""What a verification says: ok, bad or unproven, where, in words, and what it cannot show.

A fault is proof that something was done to the ledger or to the file: bad. A gap is where proof
is missing: unproven. Both have closed lists of kinds, the same in the text, in JSON and in
docs/ledger.md.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What was done to a record, as far as the files show it."""

    EDITED = "edited"
    DELETED = "deleted"
    REORDERED = "reordered"
    CUT = "cut"
    FORKED = "forked"
    RECOMPUTED = "recomputed"
    COLUMN = "column"
    NOT_CANONICAL = "not_canonical"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_KEY = "unknown_key"
    UNREADABLE = "unreadable"


MEANINGS = {
    Kind.EDITED: "it was changed after it was entered, and its hash no longer fits",
    Kind.DELETED: "records were taken out; those after them are still there",
    Kind.REORDERED: "it does not stand where it was entered",
    Kind.CUT: "everything from here on was cut off",
    Kind.FORKED: "there are two histories: records were changed and the desk, or whoever holds its "
    "key, signed what came of it as well",
    Kind.RECOMPUTED: "one or more of these records were changed and the hashes made to fit, "
    "by someone with the database and without the key",
    Kind.COLUMN: "a column says something else than the record that was hashed",
    Kind.NOT_CANONICAL: "the record has not the one spelling that a record may have",
    Kind.BAD_SIGNATURE: "it was not signed with the key that it names, or changed afterwards",
    Kind.UNKNOWN_KEY: "it is signed with a key that was not given; a key that was in use before "
    "a rotation needs a --key of its own, and a key that nobody knows is a forger's",
    Kind.UNREADABLE: "this is no export of a ledger",
}


class Gap(StrEnum):
    """Why something cannot be proven."""

    EMPTY = "empty"
    UNCOVERED = "uncovered"
    LATE = "late"
    SPARSE = "sparse"
    RESTORE = "restore"
    LOST = "lost"
    WITNESS_UNUSED = "witness_unused"


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is bad."""

    kind: Kind
    seq: int | None
    """The first record concerned; None = the header or the end of the file."""
    until: int | None
    """The last one, or `seq`: where hashes were recomputed the files show only a range."""
    what: str
    """What was seen."""
    line: int
    """The line of the file at which it was seen."""

    @property
    def meaning(self) -> str:
        """What the kind means, in words."""
        return MEANINGS[self.kind]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that keeps the ledger from being proven."""

    gap: Gap
    seq: int
    until: int
    """The records of the first place where it was found."""
    count: int
    """How many such places there are."""
    what: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was read, and how far it is proven."""

    chain: str
    rows: int
    first: int
    last: int
    """The last record in the file, `first - 1` if there is none."""
    first_at: int | None
    last_at: int | None
    """When the first and the last record were entered, in microseconds of Unix time."""
    exported_at: int
    checkpoints: int
    witnesses: int
    """How many of the witnesses given agree with the file."""
    covered: int
    """The last record under a signature that holds, before the first fault."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found."""

    fault: Fault | None
    findings: tuple[Finding, ...]
    coverage: Coverage | None
    """None where the file is no export."""
    cannot_show: tuple[str, ...]

    @property
    def status(self) -> str:
        """Return ok, bad or unproven."""
        if self.fault is not None:
            return "bad"
        return "unproven" if self.findings else "ok"

    @property
    def exit_status(self) -> int:
        """0 ok, 1 bad, 3 cannot be proven."""
        return {"ok": 0, "bad": 1, "unproven": 3}[self.status]


def limits(first: int, is_based: bool, newest: int | None) -> tuple[str, ...]:
    """What no verification of such files can show.

    `is_based`: a signature covers the record before the first; `newest`: the last seq that a
    witness proves, None without one.
    """
    said = []
    if first > 1:
        said.append(f"anything about the records before seq {first}: they are not in this file")
        if not is_based:
            said.append(
                f"that the record before seq {first} is the one whose hash stands in it: there is "
                f"no checkpoint or witness at seq {first - 1}"
            )
    if newest is None:
        said += [
            "that the ledger was not cut back to an earlier checkpoint before it was exported: "
            "only a witness, a checkpoint kept elsewhere, shows that",
            "that this is not another chain, made by whoever holds the signing key: compare the "
            "chain's id with one from another source, or give a witness",
        ]
    else:
        said += [
            f"that what came after seq {newest}, the newest witness, was not cut back before the "
            "export",
            "that the holder of the signing key did not sign another history beside this one",
        ]
    return (*said, "what was never entered")
