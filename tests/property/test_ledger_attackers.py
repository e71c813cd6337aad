"""Whoever has the database, or the file, and not the key: whatever he does, it is never "ok".

Two attackers, each with steps in any order. One has the database with its owner's rights: bodies,
columns, hashes and checkpoints are his to change, and the desk exports what he leaves. The other
has exported files, and puts new ones together from their lines.
"""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from smsfilter.ledger.chain import Row, chain_id, row
from smsfilter.ledger.verify import verify
from tests.fakes.ledger import (
    KEYS,
    OTHER_KEY,
    SECOND,
    START,
    Book,
    book,
    entry,
    rechain,
    rewritten,
    signed,
)

TRUE = book(9, every=3)
CHAIN = chain_id(TRUE.rows[0].hash)
WITNESSES = [signed(TRUE.rows, 4), signed(TRUE.rows, 9)]
LATER = START + 3600 * SECOND
places = st.integers(0, 8)
few = settings(max_examples=40, stateful_step_count=6, deadline=None)


def acts(rows: Sequence[Row]) -> list[bytes]:
    return [each.body for each in rows]


class Database(RuleBasedStateMachine):
    """The owner of the database."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = list(TRUE.rows)
        self.checkpoints = list(TRUE.checkpoints)
        self.is_signed_again = False
        self.chain: str | None = CHAIN

    def at(self, place: int) -> int:
        return place % len(self.rows)

    @rule(place=places, text=st.sampled_from(["block:1", "block:2", "another"]))
    def change(self, place: int, text: str) -> None:
        index = self.at(place)
        self.rows[index] = rewritten(self.rows[index], object=text)

    @rule(place=places)
    def change_the_body_alone(self, place: int) -> None:
        index = self.at(place)
        other = rewritten(self.rows[index], object="another")
        self.rows[index] = replace(self.rows[index], body=other.body)

    @rule(place=places, column=st.sampled_from(["actor", "object", "customer_id", "at"]))
    def change_a_column(self, place: int, column: str) -> None:
        index = self.at(place)
        value = START if column == "at" else "mallory"
        self.rows[index] = replace(self.rows[index], **{column: value})

    @rule(place=places)
    def compute_anew_from(self, place: int) -> None:
        self.rows = rechain(self.rows, self.at(place))

    @rule(place=places, stop=places)
    def compute_anew_up_to(self, place: int, stop: int) -> None:
        end = self.at(stop) + 1
        self.rows = rechain(self.rows[:end], self.at(place)) + self.rows[end:]

    @rule(place=places)
    def delete(self, place: int) -> None:
        if len(self.rows) > 1:
            del self.rows[self.at(place)]

    @rule()
    def count_anew(self) -> None:
        """Give all records the seq of their place, as if none had been taken out."""
        self.rows = [
            each if each.seq == seq else rewritten(each, seq=seq)
            for seq, each in enumerate(self.rows, 1)
        ]

    @rule(place=places)
    def cut(self, place: int) -> None:
        self.rows = self.rows[: self.at(place) + 1]

    @rule()
    def put_back(self) -> None:
        self.rows, self.checkpoints = list(TRUE.rows), list(TRUE.checkpoints)

    @rule()
    def enter_a_record(self) -> None:
        last = self.rows[-1]
        self.rows.append(row(entry(last.seq + 1, "block.remove"), last.hash))

    @rule(place=places, other=places)
    def exchange(self, place: int, other: int) -> None:
        one, two = self.at(place), self.at(other)
        self.rows[one], self.rows[two] = self.rows[two], self.rows[one]

    @rule(place=places)
    def drop_checkpoints_from(self, place: int) -> None:
        self.checkpoints = [each for each in self.checkpoints if each[0] <= place]

    @rule(index=st.integers(0, 2))
    def drop_a_checkpoint(self, index: int) -> None:
        if index < len(self.checkpoints):
            del self.checkpoints[index]

    @rule(index=st.integers(0, 2), seq=st.integers(1, 9))
    def change_a_checkpoint(self, index: int, seq: int) -> None:
        if index < len(self.checkpoints):
            at, text = self.checkpoints[index]
            self.checkpoints[index] = (at, text.replace(f"seq: {at}\n", f"seq: {seq}\n"))

    @rule()
    def sign_with_a_key_of_his_own(self) -> None:
        seq = self.rows[-1].seq
        self.checkpoints = [each for each in self.checkpoints if each[0] < seq]
        self.checkpoints.append((seq, signed(self.rows, seq, key=OTHER_KEY)))

    @rule()
    def have_the_desk_sign(self) -> None:
        """The desk does not notice, and signs what it finds."""
        seq = self.rows[-1].seq
        self.checkpoints = [each for each in self.checkpoints if each[0] < seq]
        self.checkpoints.append((seq, signed(self.rows, seq, at=LATER)))
        self.is_signed_again = True

    @rule(own=st.booleans())
    def name_the_chain(self, own: bool) -> None:
        self.chain = None if own else CHAIN

    def export(self) -> list[bytes]:
        return Book(self.rows, self.checkpoints).export(exported_at=LATER, chain=self.chain)

    @invariant()
    def is_never_ok_against_a_witness_unless_it_is_all_there(self) -> None:
        if verify(self.export(), KEYS, WITNESSES).status == "ok":
            assert acts(self.rows)[:9] == acts(TRUE.rows)
            assert len(self.rows) == 9 or self.is_signed_again

    @invariant()
    def is_ok_without_a_witness_only_for_what_the_desk_signed(self) -> None:
        if not self.is_signed_again and verify(self.export(), KEYS).status == "ok":
            assert acts(self.rows) in [acts(TRUE.rows[:seq]) for seq, _ in TRUE.checkpoints]

    @invariant()
    def what_is_ok_has_true_columns(self) -> None:
        if verify(self.export(), KEYS).status == "ok":
            rows = self.rows
            assert rows == [rewritten(each, seq=seq) for seq, each in enumerate(rows, 1)]


class File(RuleBasedStateMachine):
    """Whoever has some exports of the same ledger, and of another one under the same key."""

    @initialize()
    def take_the_exports(self) -> None:
        other = book(6, every=2, entries=[entry(seq, object="x") for seq in range(1, 7)])
        early = Book(TRUE.rows[:6], TRUE.checkpoints[:2])
        self.exports = [TRUE.export(), TRUE.export(first=4), early.export(), other.export()]
        self.lines = list(self.exports[0])

    @rule(place=st.integers(0, 20))
    def take_out(self, place: int) -> None:
        if len(self.lines) > 1:
            del self.lines[place % len(self.lines)]

    @rule(place=st.integers(0, 20), export=st.integers(0, 3), line=st.integers(0, 20))
    def put_in(self, place: int, export: int, line: int) -> None:
        source = self.exports[export]
        self.lines.insert(place % (len(self.lines) + 1), source[line % len(source)])

    @rule(place=st.integers(0, 20), other=st.integers(0, 20))
    def exchange(self, place: int, other: int) -> None:
        one, two = place % len(self.lines), other % len(self.lines)
        self.lines[one], self.lines[two] = self.lines[two], self.lines[one]

    @rule(place=st.integers(0, 20), export=st.integers(0, 3))
    def go_on_with_another(self, place: int, export: int) -> None:
        self.lines = self.lines[:place] + self.exports[export][place:]

    @rule(place=st.integers(0, 20), octet=st.integers(0, 2000))
    def change(self, place: int, octet: int) -> None:
        index = place % len(self.lines)
        line = bytearray(self.lines[index])
        line[octet % (len(line) - 1)] ^= 1
        self.lines[index] = bytes(line)

    @invariant()
    def is_ok_only_as_it_was_exported(self) -> None:
        if verify(self.lines, KEYS).status != "bad":
            assert self.lines in self.exports


TestDatabase = Database.TestCase
TestDatabase.settings = few
TestFile = File.TestCase
TestFile.settings = few
