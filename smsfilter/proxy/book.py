"""The records of one segment, packed: names get numbers, numbers of customers get tokens.

In a run of clean messages only the token differs from one record to the next, so a run is one
join. No I/O.
"""

from collections.abc import Iterable
from struct import Struct

from smsfilter.decisions.layout import (
    NOBODY,
    SEQ_MOST,
    Kind,
    Name,
    Table,
    name_slots,
    record,
    tail,
)
from smsfilter.decisions.tokens import Tokens
from smsfilter.log import mask_source
from smsfilter.proxy.batch import Batch, Judged
from smsfilter.rules.judge import Line
from smsfilter.rules.senders import Sender
from smsfilter.rules.verdict import Kind as Verdict

_time = Struct(">Q").pack
_KINDS = {Verdict.FORWARD: Kind.FORWARD, Verdict.PERMANENT: Kind.REFUSED}
_KINDS[Verdict.TEMPORARY] = Kind.PUT_OFF
LINES_MOST = 10_000
"""Senders whose numbers are kept at hand."""


class Book:
    """Packs records for one segment, whose names it knows. `size` is how many there are."""

    def __init__(self, tokens: Tokens, country_code: str) -> None:
        self._tokens = tokens
        self._country_code = country_code
        self._numbers: dict[tuple[Table, str], int] = {}
        self._next = dict.fromkeys(Table, 0)
        self._lines: dict[Line, tuple[int, int]] = {}
        self._new: list[bytes] = []

    @property
    def size(self) -> int:
        """How many names there are."""
        return len(self._numbers)

    def pages(self, batch: Batch, at: int, seq: int) -> tuple[bytes, int]:
        """All records of a batch, new names before them, and how many; `at` in µs."""
        seq = seq if seq <= SEQ_MOST else 0
        policy = self._number(Table.POLICY, batch.judge.version)
        moment, pages, count = _time(at), [], 0
        for line, numbers in batch.passed:
            if not numbers:
                continue
            rest = tail(*self._line(line), seq, policy, 0, Kind.FORWARD)
            tokens = self._tokens.of(numbers)
            pages.append(moment + (rest + moment).join(tokens) + rest)
            count += len(tokens)
        for one in batch.judged:
            rest = self._rest(one, seq, policy)
            for token in self._tokens.of(one.readings) or (NOBODY,):
                pages.append(moment + token + rest)
                count += 1
        return b"".join(self.news(pages)), count

    def receipt(self, line: Line, reading: bytes, at: int, crc: int, state: str) -> bytes:
        """The record of a receipt; `at` in µs, `crc` of its message id."""
        company, source = self._line(line)
        reason = self._number(Table.REASON, state)
        token = self._tokens(reading)
        return record.pack(at, token, company, source, crc, 0, reason, Kind.RECEIPT)

    def news(self, pages: Iterable[bytes]) -> list[bytes]:
        """What is to be written: names that are new, then what uses them."""
        new, self._new = self._new, []
        return [*new, *pages]

    def _rest(self, one: Judged, seq: int, policy: int) -> bytes:
        company, source = self._line(one.line) if one.line else (0, 0)
        kind = _KINDS[one.kind]
        if kind is Kind.FORWARD and not one.checked:
            kind = Kind.UNCHECKED
        reason = self._number(Table.REASON, one.reason) if one.reason else 0
        return tail(company, source, seq, policy, reason, kind)

    def _line(self, line: Line) -> tuple[int, int]:
        """The numbers of the companies and of the source."""
        found = self._lines.get(line)
        if found is None:
            if len(self._lines) >= LINES_MOST:
                self._lines.clear()
            found = self._lines[line] = self._read(line.sender)
        return found

    def _read(self, sender: Sender | None) -> tuple[int, int]:
        if sender is None:
            return 0, 0
        own = sender.company or ""
        accused = (one for one in sender.accused if one != "*" and not one.startswith("source:"))
        companies = " ".join((own, *(one for one in accused if one != own)))
        source = sender.source
        if mask_source(source, self._country_code) != source:
            source = self._tokens.handset(source)
        return self._number(Table.COMPANY, companies), self._number(Table.SOURCE, source)

    def _number(self, table: Table, text: str) -> int:
        """What stands for a name in records; 0 for none."""
        if not text:
            return 0
        number = self._numbers.get((table, text))
        if number is None:
            number = self._next[table] = self._next[table] + 1
            self._numbers[table, text] = number
            self._new.append(name_slots(Name(table, number, text)))
        return number
