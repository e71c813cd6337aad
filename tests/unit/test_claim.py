"""What an index is to a desk, by its epoch alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.store.claim import Claim, is_a_desk_s, judge, marker, new_desk, new_epoch
from smsfilter.store.epoch import EpochGuard

DESK, EPOCH = "0badcafe", "desk-0badcafe-001122334455"

ROWS = [
    (None, Claim.LOST),
    (b"", Claim.LOST),
    (b"filling-001122334455", Claim.LOST),
    (b"no seq", Claim.LOST),
    (b":7", Claim.LOST),
    (EPOCH.encode() + b":", Claim.LOST),
    (EPOCH.encode() + b":-1", Claim.LOST),
    (EPOCH.encode() + b":" + b"1" * 21, Claim.LOST),
    ("١".encode() + b":" + "١".encode(), Claim.LOST),
    (EPOCH.encode() + b":0", Claim.OURS),
    (EPOCH.encode() + b":100", Claim.OURS),
    (EPOCH.encode() + b":101", Claim.AHEAD),
    (b"desk-0badcafe-665544332211:7", Claim.FORMER),
    (b"desk-deadbeef-001122334455:7", Claim.ANOTHERS),
    (b"d220feb303aee6f7:1795746049134", Claim.BY_HAND),
]


@pytest.mark.parametrize(("raw", "claim"), ROWS)
def test_whose_it_is(raw: bytes | None, claim: Claim) -> None:
    assert judge(raw, DESK, EPOCH, 100).claim is claim


@given(raw=st.binary())
def test_whatever_stands_there_it_is_not_ours(raw: bytes) -> None:
    assert judge(raw, DESK, EPOCH, 100).claim in (Claim.LOST, Claim.BY_HAND)


def test_what_stands_while_it_is_filled_is_no_epoch() -> None:
    raw = marker().encode()
    assert not EpochGuard().trusted(raw, raw)
    assert not is_a_desk_s(raw)


def test_new_names_are_this_desk_s() -> None:
    desk = new_desk()
    epoch = new_epoch(desk)
    assert epoch != new_epoch(desk)
    assert judge(f"{epoch}:5".encode(), desk, epoch, 9) == (Claim.OURS, 5)
    assert is_a_desk_s(f"{epoch}:5".encode())
