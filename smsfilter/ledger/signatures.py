"""What the signed checkpoints say of the records that pass, those of the file and the witnesses.

All signatures of one record are compared with it together, as soon as it is known that no more
follow. One that fits proves everything up to it. One that does not means that hashes were computed
anew somewhere behind the last one that fitted; the files show no more than this range.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from smsfilter.ledger import checkpoint
from smsfilter.ledger.chain import RESTORE, Entry
from smsfilter.ledger.checkpoint import ROWS_BETWEEN, SECONDS_BETWEEN, Checkpoint
from smsfilter.ledger.export import Header
from smsfilter.ledger.faults import Faults, Pending
from smsfilter.ledger.signed import UnknownKeyError, UnsignedError, time_or_number
from smsfilter.ledger.verdict import Gap, Kind

ROWS_UNSIGNED_MAX = 2 * ROWS_BETWEEN
"""Records under one checkpoint: twice what is asked for, as a group is committed as a whole."""
SECONDS_UNSIGNED_MAX = 2 * SECONDS_BETWEEN
"""How long a record may have waited for one: leaves time for a restart, not for a forgery."""

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A checkpoint whose signature holds."""

    checkpoint: Checkpoint
    is_witness: bool

    @property
    def name(self) -> str:
        return "witness" if self.is_witness else "checkpoint"


class Signatures:
    """The signatures, and how far they have proven the records that passed."""

    def __init__(
        self,
        header: Header,
        keys: Mapping[str, Ed25519PublicKey],
        witnesses: Sequence[str],
        faults: Faults,
    ) -> None:
        self._header = header
        self._keys = keys
        self._faults = faults
        self._witnesses = self._checked(witnesses)
        before = header.first - 1
        self._ahead = deque(each for each in self._witnesses if each.checkpoint.seq >= before)
        self._here: list[_Anchor] = []
        self._unsigned_since: int | None = None
        self._restored_at = -1
        self.covered = before
        """The last record that a signature proves, before the first fault."""
        self.is_based = header.first == 1
        """A signature proves the record before the first, or there is none."""
        self.checkpoints = 0
        self.agreeing = 0
        """How many witnesses agree with the file before the first fault."""
        self.newest: int | None = None
        """The last record that a witness proves."""

    def _checked(self, witnesses: Sequence[str]) -> list[_Anchor]:
        anchors = []
        for number, text in enumerate(witnesses, 1):
            try:
                anchors.append(_Anchor(checkpoint.check(text, self._keys), is_witness=True))
            except ValueError as error:
                raise ValueError(f"witness {number}: {error}") from None
        return sorted(anchors, key=lambda anchor: anchor.checkpoint.seq)

    def passed(self, seq: int, entry: Entry | None) -> None:
        """Go on to the record `seq`; `entry` is None where it could not be read."""
        while self._ahead and self._ahead[0].checkpoint.seq <= seq:
            witness = self._ahead.popleft()
            if witness.checkpoint.seq == seq:
                self._here.append(witness)
        if entry is None:
            return
        since = self._unsigned_since
        self._unsigned_since = entry.at if since is None else min(since, entry.at)
        if entry.action == RESTORE:
            self._restored(entry)

    def add(self, text: str, last: int) -> None:
        """Take in a checkpoint of the file, which stands behind the record `last`."""
        self.checkpoints += 1
        try:
            signed = checkpoint.check(text, self._keys)
        except UnsignedError as error:
            is_unknown = isinstance(error, UnknownKeyError)
            kind = Kind.UNKNOWN_KEY if is_unknown else Kind.BAD_SIGNATURE
            self._faults.blame(kind, checkpoint.read(text).seq, f"a checkpoint: {error}")
            return
        except ValueError as error:
            self._faults.blame(Kind.EDITED, last, f"a checkpoint that is none: {error}")
            return
        if signed.seq > last:
            what = f"after seq {last} comes a checkpoint of seq {signed.seq}"
            self._faults.blame(Kind.DELETED, last + 1, what, signed.seq, Pending.MISSING)
        elif signed.seq < last:
            what = f"the checkpoint of seq {signed.seq} stands behind seq {last}"
            self._faults.blame(Kind.REORDERED, signed.seq, what)
        elif (anchor := _Anchor(signed, is_witness=False)) not in self._here:
            self._here.append(anchor)  # once: a copied line must not fill the memory

    def settle(self, seq: int, hash_: bytes) -> None:
        """Compare all signatures of the record just passed with its hash."""
        if not self._here:
            return
        here, self._here = self._here, []
        chain = self._header.chain
        fitting = [each for each in here if self._is_of(each, chain, hash_)]
        others = [each for each in here if each not in fitting and not self._is_lost(each)]
        if others and others[0].checkpoint.hash == hash_:
            what = f"the header names another chain than the {others[0].name} of seq {seq}"
            self._faults.blame(Kind.EDITED, None, what)
        elif others:
            self._contradicted(others, is_forked=bool(fitting))
        elif fitting:
            self._fits(fitting, seq)

    @staticmethod
    def _is_of(anchor: _Anchor, chain: str, hash_: bytes) -> bool:
        return anchor.checkpoint.chain == chain and anchor.checkpoint.hash == hash_

    def _fits(self, fitting: list[_Anchor], seq: int) -> None:
        self._faults.signature_fits(seq)
        if self._faults.first is not None:
            return
        self._hold_to_cadence(seq, min(anchor.checkpoint.at for anchor in fitting))
        self.covered = seq
        self.is_based = self.is_based or seq == self._header.first - 1
        witnesses = sum(anchor.is_witness for anchor in fitting)
        if witnesses:
            self.agreeing += witnesses
            self.newest = seq

    def _contradicted(self, others: list[_Anchor], *, is_forked: bool) -> None:
        """Blame what a signature says that does not fit the record with its seq."""
        self._faults.signature_contradicts()
        if self._faults.first is not None:
            return
        signed, name = others[0].checkpoint, others[0].name
        first = min(self.covered + 1, signed.seq)
        what = f"the {name} of seq {signed.seq} signs another hash than the record has"
        if signed.chain != self._header.chain:
            first = min(self._header.first, signed.seq)
            what = f"the {name} of seq {signed.seq} signs the chain {signed.chain}, not this one"
            is_forked = is_forked or self.covered >= self._header.first
        if is_forked or _disagree(others):
            what += ", and another signature contradicts it"
            self._faults.blame(Kind.FORKED, first, what, signed.seq)
        else:
            self._faults.blame(Kind.RECOMPUTED, first, what, signed.seq, Pending.SIGNATURE)

    def _hold_to_cadence(self, seq: int, at: int) -> None:
        """Hold the records that are proven by now against what is asked of signatures."""
        since, self._unsigned_since = self._unsigned_since, None
        first, count = self.covered + 1, seq - self.covered
        if count > ROWS_UNSIGNED_MAX:
            what = f"{count} records without a checkpoint, which is due every {ROWS_BETWEEN}"
            self._faults.find(Gap.SPARSE, first, what, seq)
        if since is not None and at - since > SECONDS_UNSIGNED_MAX * _MICROSECONDS:
            what = (
                f"entered from {time_or_number(since)} on, first signed at {time_or_number(at)}: "
                f"in between they could be rewritten unseen; due is one every {SECONDS_BETWEEN} s"
            )
            self._faults.find(Gap.LATE, first, what, seq)

    # witnesses of records that are not there

    def beyond(self, last: int) -> None:
        """Ask of witnesses of records that the file does not have why that is so."""
        outside = [
            each
            for each in self._witnesses
            if not self._header.first - 1 <= each.checkpoint.seq <= last and not self._is_lost(each)
        ]
        for seq, group in groupby(outside, key=lambda each: each.checkpoint.seq):
            self._outside(seq, list(group), last)

    def _outside(self, seq: int, witnesses: list[_Anchor], last: int) -> None:
        """Judge the witnesses of one record that the file does not have."""
        signed = witnesses[0].checkpoint
        if signed.chain != self._header.chain or _disagree(witnesses):
            self._contradicted(witnesses, is_forked=False)
        elif seq < self._header.first:
            what = f"the witness of seq {seq} is not used: the file begins later"
            self._faults.find(Gap.WITNESS_UNUSED, seq, what)
        elif signed.at > self._header.exported_at:
            what = f"the witness of seq {seq} is newer than the export: not used"
            self._faults.find(Gap.WITNESS_UNUSED, seq, what)
        else:
            what = f"a witness had signed seq {seq} before the export, which ends earlier"
            self._faults.blame(Kind.CUT, last + 1, what, seq)

    def _restored(self, entry: Entry) -> None:
        self._restored_at = max(self._restored_at, entry.at)
        what = "restored from a backup: what was entered between backup and restore is gone"
        self._faults.find(Gap.RESTORE, entry.seq, what)

    def _is_lost(self, anchor: _Anchor) -> bool:
        """Whether a witness signed what a restore, declared before it in the file, has undone."""
        signed = anchor.checkpoint
        if not anchor.is_witness or signed.chain != self._header.chain:
            return False
        if signed.at > self._restored_at:
            return False
        what = f"what the witness of seq {signed.seq} signed was undone by a declared restore"
        self._faults.find(Gap.LOST, signed.seq, what)
        return True


def _disagree(anchors: list[_Anchor]) -> bool:
    return len({(anchor.checkpoint.chain, anchor.checkpoint.hash) for anchor in anchors}) > 1
