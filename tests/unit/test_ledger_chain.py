"""The spelling of a record and its hash, held to octets that are written down."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.ledger.chain import GENESIS, MAX_BODY, Entry, canonical, chain_id, link, parse, row

INIT = Entry(
    seq=1,
    at=1764221894000000,
    actor="local:root",
    role="init",
    origin="socket",
    action="init",
    object="ledger",
    case_id=None,
    customer_id=None,
    detail={"name": "某公司", "n": [1, True, None], "quote": '"\\/\n\x01\x7f\u2028', "a": {}},
)
BODY = (
    '{"action":"init","actor":"local:root","at":1764221894000000,"case_id":null,'
    '"customer_id":null,"detail":{"a":{},"n":[1,true,null],"name":"某公司",'
    '"quote":"\\"\\\\/\\n\\u0001\x7f\u2028"},"object":"ledger","origin":"socket","role":"init",'
    '"seq":1}'
).encode()
HASH = "ffce696f0b22d9f90ed28763b22e7916ceea9d2debd002d70a9d5ef1ca54e4ba"

texts = st.text(st.characters(exclude_categories=["Cs"]))
columns = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
details = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
entries = st.builds(
    Entry,
    seq=st.integers(1, 2**63 - 1),
    at=st.integers(0, 2**63 - 1),
    actor=columns,
    role=columns,
    origin=columns,
    action=columns,
    object=columns,
    case_id=st.none() | columns,
    customer_id=st.none() | columns,
    detail=details,
)


def test_the_spelling_is_the_one_that_is_written_down():
    assert canonical(INIT) == BODY
    assert parse(BODY) == INIT


def test_the_hash_is_the_one_that_is_written_down():
    first = row(INIT, GENESIS)
    assert first.hash.hex() == HASH
    assert first.hash == sha256(b"smsfilter ledger record 1\n" + bytes(32) + BODY).digest()
    assert chain_id(first.hash) == HASH[:32]


def test_a_row_has_the_columns_of_its_entry():
    made = row(INIT, GENESIS)
    same = [name for name in Entry.__slots__ if name != "detail"]
    assert [getattr(made, name) for name in same] == [getattr(INIT, name) for name in same]
    assert (made.body, made.prev, made.hash) == (BODY, GENESIS, link(GENESIS, BODY))


def test_keys_are_sorted_by_code_point():
    made = replace(INIT, detail={"\U0001f600": 1, "\uffff": 2, "b": 3, "B": 4})
    assert '{"B":4,"b":3,"\uffff":2,"\U0001f600":1}'.encode() in canonical(made)


@given(entries)
def test_every_entry_has_one_spelling(entry: Entry):
    body = canonical(entry)
    assert parse(body) == entry
    assert canonical(parse(body)) == body
    assert b"\n" not in body


def nested(levels: int) -> dict[str, object]:
    return {"a": nested(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 0},
        {"seq": 1.0},
        {"seq": True},
        {"seq": 2**63},
        {"at": -1},
        {"at": None},
        {"actor": None},
        {"actor": "a\0b"},
        {"object": "\ud800"},
        {"case_id": 7},
        {"customer_id": "c\0"},
        {"detail": None},
        {"detail": []},
        {"detail": {"a": 1.5}},
        {"detail": {"a": [{"b": float("nan")}]}},
        {"detail": {"a": 2**63}},
        {"detail": {"a": -(2**63) - 1}},
        {"detail": {"a": "\udfff"}},
        {"detail": {"\ud800": 1}},
        {"detail": {1: "a"}},
        {"detail": {"a": b"octets"}},
        {"detail": {"a": {1, 2}}},
        {"detail": nested(17)},
        {"detail": {"a": "x" * MAX_BODY}},
    ],
    ids=str,
)
def test_what_has_no_one_spelling_is_refused(change: dict[str, object]):
    with pytest.raises(ValueError, match=r"."):
        canonical(replace(INIT, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        BODY + b"\n",
        b" " + BODY,
        BODY.replace(b'"seq":1', b'"seq": 1'),
        BODY.replace(b'"seq":1', b'"seq":1.0'),
        BODY.replace(b'"seq":1', b'"seq":1e0'),
        BODY.replace(b'"seq":1', b'"seq":01'),
        BODY.replace(b'"seq":1', b'"seq":-0'),
        BODY.replace(b'"seq":1', b'"seq":true'),
        BODY.replace(b'"seq":1', b'"seq":1,"seq":1'),
        BODY.replace(b'"seq":1', b'"seq":1,"x":1'),
        BODY.replace(b',"seq":1', b""),
        BODY.replace(b'"at":1764221894000000', b'"at":"1764221894000000"'),
        BODY.replace(b"[1,true,null]", b"[1,true,NaN]"),
        BODY.replace(b"[1,true,null]", b"[" + b"9" * 5000 + b"]"),
        BODY.replace("某".encode(), b"\\u67d0"),
        BODY.replace("某".encode(), b"\\ud800"),
        BODY.replace(b"\\n", b"\\u000a"),
        BODY.replace(b"/", b"\\/"),
        BODY + b" " * MAX_BODY,
    ],
    ids=range(25),
)
def test_a_body_in_another_spelling_is_refused(body: bytes):
    assert body != BODY
    with pytest.raises(ValueError, match=r"."):
        parse(body)


@given(st.binary(max_size=80) | texts.map(str.encode))
def test_any_octets_are_a_record_or_refused(body: bytes):
    with pytest.raises(ValueError, match=r"."):
        parse(body)


def test_a_hash_before_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 octets"):
        link(bytes(31), BODY)
