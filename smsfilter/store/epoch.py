"""Whether the index can be trusted: it must carry an epoch, and never one from the past.

`index:epoch` is `epoch:seq`. A missing or ill-formed epoch is an index that was emptied or is the
wrong database; another epoch within a batch means that it was emptied meanwhile; a lower seq, or
an epoch that was left before, is an old copy. A seq that rises within a batch is a block that was
added meanwhile: the batch is as good as one that came before it, and counts under the seq that it
read first. Pure: the caller reads the key and keeps `state()` on disk.
"""

LEFT_MOST = 64
"""How many epochs once left are remembered: a restore from an older one is hardly meant."""
SEQ_DIGITS_MOST = 20
"""Digits of a seq: 64 bits. Python refuses to read a number of thousands of them."""


class EpochGuard:
    """Judges the epoch of each batch. `why` says what is wrong with the last one, else ''."""

    def __init__(self, epoch: str = "", seq: int = 0, left: tuple[str, ...] = ()) -> None:
        self.epoch = epoch
        self.seq = seq
        self.first_seq = seq
        """The seq that the last trusted batch read first: what its look-ups have surely seen."""
        self.left = left
        self.why = "the index was not read yet"
        self.changed = False
        """Set when a new epoch or seq was taken in; whoever keeps the state on disk clears it."""
        self._raw: bytes | None = None

    def state(self) -> dict[str, object]:
        """What has to survive a restart."""
        return {"epoch": self.epoch, "seq": self.seq, "left": list(self.left)}

    def trusted(self, first: object, last: object) -> bool:
        """Whether a batch that read `first` before and `last` after its look-ups can be used."""
        if first == self._raw and last == self._raw and first is not None:
            self.first_seq, self.why = self.seq, ""
            return True
        if not isinstance(first, bytes) or not isinstance(last, bytes):
            missing = first is None or last is None
            self.why = "index:epoch is missing" if missing else f"index:epoch: {first or last!s}"
            return False
        before, after = _parsed(first), _parsed(last)
        if before is None or after is None:
            self.why = "index:epoch is not of the form epoch:seq"
            return False
        if before[0] != after[0] or before[1] > after[1]:
            self.why = "index:epoch changed within a batch"
            return False
        if not (self._fits(*before) and self._fits(*after)):
            return False
        self._take(last, *after)
        self.first_seq = before[1]
        return True

    def _fits(self, epoch: str, seq: int) -> bool:
        """Whether this can come after what was seen."""
        if epoch == self.epoch and seq < self.seq:
            self.why = f"index:epoch went back from seq {self.seq} to {seq}: an old copy"
            return False
        if epoch in self.left:
            self.why = f"index:epoch is {epoch} again, which was left before: an old copy"
            return False
        return True

    def _take(self, raw: bytes, epoch: str, seq: int) -> None:
        if epoch != self.epoch and self.epoch:
            self.left = (*self.left, self.epoch)[-LEFT_MOST:]
        self.changed = self.changed or (epoch, seq) != (self.epoch, self.seq)
        self.epoch, self.seq, self._raw = epoch, seq, raw
        self.why = ""


def _parsed(raw: bytes) -> tuple[str, int] | None:
    epoch, _, seq_text = raw.decode("utf-8", "replace").rpartition(":")
    digits = seq_text.isascii() and seq_text.isdigit()
    if not epoch or not digits or len(seq_text) > SEQ_DIGITS_MOST:
        return None
    return epoch, int(seq_text)
