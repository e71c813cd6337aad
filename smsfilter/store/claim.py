"""Whose index it is, and from when: what `index:epoch` says to the desk. Pure, but for new names.

Redis applies commands in their order, and a dump, an append-only file and a replica each hold all
of them up to some point. So an index that carries our epoch with seq S holds all that was written
before S was set, whatever happened to the server meanwhile: what is missing is what changed after
S, and nothing else. Any other epoch says nothing of what is there, so all of it is written again.
"""

import secrets
from enum import StrEnum
from typing import Final, NamedTuple

from smsfilter.store.epoch import SEQ_DIGITS_MOST

_OF_A_DESK: Final = "desk-"


class Claim(StrEnum):
    """What is known of an index by its epoch."""

    OURS = "ours"
    """Ours: right up to its seq."""
    LOST = "lost"
    """Without an epoch: emptied, or left half filled."""
    AHEAD = "ahead of the records"
    """Ours, with a seq that the records have not reached: they were restored, or are a copy."""
    FORMER = "an old copy"
    """Of this desk, with an epoch that it has left."""
    BY_HAND = "filled by hand"
    """Of an operator: `smsfilter index ready`."""
    ANOTHERS = "another desk's"


class Found(NamedTuple):
    """A claim, and up to which seq the index can be trusted under it."""

    claim: Claim
    seq: int = 0


def judge(raw: object, desk: str, epoch: str, head: int) -> Found:
    """Say what an index with `raw` as its epoch is to a desk whose ledger ends at `head`."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else ""
    name, _, digits = text.rpartition(":")
    numbered = digits.isascii() and digits.isdigit() and len(digits) <= SEQ_DIGITS_MOST
    if not name or not numbered:
        return Found(Claim.LOST)
    if name == epoch:
        seq = int(digits)
        return Found(Claim.OURS, seq) if seq <= head else Found(Claim.AHEAD)
    if not name.startswith(_OF_A_DESK):
        return Found(Claim.BY_HAND)
    ours = name.startswith(f"{_OF_A_DESK}{desk}-")
    return Found(Claim.FORMER if ours else Claim.ANOTHERS)


def is_a_desk_s(raw: object) -> bool:
    """Whether an index with `raw` as its epoch is looked after by a desk, whichever it is."""
    return isinstance(raw, bytes) and raw.startswith(_OF_A_DESK.encode())


def new_desk() -> str:
    """Return an id for a desk, by which its index and its registry are known."""
    return secrets.token_hex(4)


def new_epoch(desk: str) -> str:
    """Return an epoch that no index has had."""
    return f"{_OF_A_DESK}{desk}-{secrets.token_hex(6)}"


def marker() -> str:
    """Return what stands as the epoch while an index is filled: no proxy takes it for one."""
    return f"filling-{secrets.token_hex(6)}"


def owner(desk: str) -> str:
    """Return how the registry in Redis names this desk as its owner."""
    return f"desk:{desk}"
