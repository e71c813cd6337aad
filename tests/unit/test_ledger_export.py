"""The lines of an export: one object each, whatever a database holds."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.ledger.chain import GENESIS, chain_id, row
from smsfilter.ledger.export import (
    End,
    Header,
    SignedLine,
    decode,
    encode_checkpoint,
    encode_end,
    encode_header,
    encode_row,
    read_end,
)
from smsfilter.ledger.signed import BadSignatureError, UnknownKeyError
from tests.fakes.ledger import KEY, KEYS, OTHER_KEY, START, book, entry

HEADER = Header(chain="0123456789abcdef0123456789abcdef", exported_at=START, first=1, last=9)
END = End(HEADER, rows=9, checkpoints=3, digest="ab" * 32)


def test_the_lines_stand_in_the_order_of_seq():
    made = [decode(line) for line in book(6, every=4).export()]
    kinds = [line.kind if isinstance(line, SignedLine) else type(line).__name__ for line in made]
    assert kinds == ["Header", *["Row"] * 4, "checkpoint", *["Row"] * 2, "checkpoint", "end"]
    assert [line.seq for line in made if hasattr(line, "seq")] == [1, 2, 3, 4, 5, 6]


def test_a_part_begins_with_the_checkpoint_before_it():
    made = [decode(line) for line in book(6, every=4).export(first=5)]
    assert isinstance(made[1], SignedLine)
    assert "seq: 4\n" in made[1].text
    assert getattr(made[2], "seq", None) == 5


def test_a_record_is_written_as_it_was_hashed():
    made = row(entry(1), GENESIS)
    line = encode_row(made)
    assert line.endswith(b"}}\n")
    assert line.count(b"\n") == 1
    columns = json.loads(line)["row"]
    assert columns["body"].encode() == made.body
    assert columns["hash"] == made.hash.hex()
    assert chain_id(made.hash) == columns["hash"][:32]
    assert decode(line) == made


@given(
    st.binary(max_size=40),
    st.binary(max_size=40),
    st.none() | st.floats() | st.text() | st.binary(),
)
def test_whatever_a_database_holds_is_exported(body: bytes, prev: bytes, column: object):
    made = replace(row(entry(1), GENESIS), body=body, prev=prev, role=column)  # type: ignore[arg-type]
    found = decode(encode_row(made))
    assert (found.body, found.prev) == (body, prev)  # type: ignore[union-attr]


def test_header_checkpoint_and_end_are_read_as_written():
    assert decode(encode_header(HEADER)) == HEADER
    assert decode(encode_checkpoint("some text\n")) == SignedLine("checkpoint", "some text\n")
    line = decode(encode_end(END, KEY))
    assert isinstance(line, SignedLine)
    assert line.kind == "end"
    assert read_end(line.text, KEYS) == END


def test_an_end_is_worth_its_signature():
    line = decode(encode_end(END, KEY))
    assert isinstance(line, SignedLine)
    with pytest.raises(BadSignatureError):
        read_end(line.text.replace("rows: 9", "rows: 8"), KEYS)
    other = decode(encode_end(END, OTHER_KEY))
    assert isinstance(other, SignedLine)
    with pytest.raises(UnknownKeyError):
        read_end(other.text, KEYS)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"[" * 100_000,
        b'{"row":1}\n',
        b'{"row":{}}\n',
        b'{"other":{}}\n',
        b'{"end":1}\n',
        b'{"row":{"body":"a"}}\n',
        b'{"row":{"body":"a","prev":"00","hash":"0g"}}\n',
        b'{"row":{"body_hex":"0","prev":"00","hash":"00"}}\n',
        b'{"row":{"body":"a","prev":"00","hash":"00","seq":1}}\n',
        b'{"checkpoint":"a","end":"b"}\n',
        encode_header(HEADER).decode().encode("utf-16"),
        encode_header(HEADER).replace(b"export 1", b"export 2"),
        encode_header(HEADER).replace(b'"first":1', b'"first":0'),
        encode_header(HEADER).replace(b'"first":1', b'"first":1.0'),
        encode_header(HEADER).replace(b'"first":1', b'"from":1'),
        encode_header(HEADER).replace(b'"0123', b'"012'),
    ],
    ids=range(20),
)
def test_what_is_no_line_is_not_read(line: bytes):
    with pytest.raises(ValueError, match=r"."):
        decode(line)
