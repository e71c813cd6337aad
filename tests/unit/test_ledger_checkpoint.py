"""Checkpoints as text: fixed vectors, openssl as the second opinion, and forgeries."""

import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from shutil import which

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.ledger.checkpoint import (
    BadSignatureError,
    Checkpoint,
    UnknownKeyError,
    check,
    key_id,
    public_pem,
    read,
    read_public_pem,
    sign,
)
from tests.fakes.ledger import KEY, KEYS, OTHER_KEY

CHECKPOINT = Checkpoint(
    chain="0123456789abcdef0123456789abcdef",
    seq=1000,
    hash=bytes(range(32)),
    at=1764221894000001,
    key_id="56475aa75463474c",
)
TEXT = """\
smsfilter ledger checkpoint 1
chain: 0123456789abcdef0123456789abcdef
seq: 1000
hash: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
at: 2025-11-27T05:38:14.000001Z
key: 56475aa75463474c
signature: fuolX7mPB8bpeqP5zrOMKP5dB+zlKJBMmyEqjS8G2fZzTnrtC6Q6AMKugOhyecX7raKhnlD5wtc4Pe+JH2kgAw==
"""
PEM = """\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=
-----END PUBLIC KEY-----
"""


def test_the_text_is_the_one_that_is_written_down():
    assert sign(CHECKPOINT, KEY) == TEXT
    assert read(TEXT) == CHECKPOINT
    assert check(TEXT, KEYS) == CHECKPOINT


def test_a_public_key_is_pem_and_named_by_its_hash():
    assert public_pem(KEY.public_key()) == PEM
    assert read_public_pem(PEM.encode()) == KEY.public_key()
    assert key_id(KEY.public_key()) == sha256(KEY.public_key().public_bytes_raw()).hexdigest()[:16]


@pytest.mark.skipif(which("openssl") is None, reason="openssl is not installed")
def test_openssl_is_of_the_same_opinion(tmp_path: Path):
    lines = TEXT.splitlines(keepends=True)
    (tmp_path / "message").write_text("".join(lines[:-1]))
    (tmp_path / "signature").write_text(lines[-1].removeprefix("signature: "))
    (tmp_path / "key.pem").write_text(PEM)
    script = """
        base64 -d signature > signature.bin
        openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in message -sigfile signature.bin
        openssl pkey -pubin -in key.pem -outform DER | tail -c 32 | sha256sum | cut -c1-16
    """
    done = subprocess.run(
        ["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["Signature Verified Successfully", CHECKPOINT.key_id]


@given(st.integers(0, len(TEXT) - 1), st.integers(1, 255))
def test_any_other_octet_is_found(place: int, flip: int):
    octets = bytearray(TEXT.encode())
    octets[place] ^= flip
    with pytest.raises(ValueError, match=r"."):
        check(octets.decode("latin-1"), KEYS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "smsfilter ledger checkpoint 1",
        "smsfilter ledger checkpoint 1\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("checkpoint 1", "checkpoint 2"),
        TEXT.replace("seq: 1000\n", ""),
        TEXT.replace("seq: 1000\n", "seq: 1000\nseq: 1000\n"),
        TEXT.replace("seq: 1000\n", "seq: 1000\nmore: 1\n"),
        TEXT.replace("seq: 1000", "seq: 01000"),
        TEXT.replace("seq: 1000", "seq: 0"),
        TEXT.replace("seq: 1000", "seq: १"),
        TEXT.replace("0a0b", "0A0B"),
        TEXT.replace("05:38:14.000001Z", "05:38:14.1Z"),
        TEXT.replace("2025-11-27T", "2025-02-30T"),
        TEXT.replace("key: 5", "key: \x1b"),
        TEXT + "x" * 5000,
    ],
    ids=range(19),
)
def test_what_is_no_checkpoint_is_not_read(text: str):
    with pytest.raises(ValueError, match=r"."):
        read(text)


def test_a_key_that_was_not_given_and_a_false_signature_are_told_apart():
    other = replace(CHECKPOINT, key_id=key_id(OTHER_KEY.public_key()))
    with pytest.raises(UnknownKeyError, match=other.key_id):
        check(sign(other, OTHER_KEY), KEYS)
    false = TEXT.replace("seq: 1000", "seq: 1001")
    assert read(false).seq == 1001
    with pytest.raises(BadSignatureError, match=CHECKPOINT.key_id):
        check(false, KEYS)


@pytest.mark.parametrize(
    "change",
    [
        {"chain": "0123"},
        {"seq": 0},
        {"hash": bytes(31)},
        {"at": -1},
        {"at": 2**62},
        {"key_id": key_id(OTHER_KEY.public_key())},
    ],
    ids=str,
)
def test_what_has_no_place_in_a_checkpoint_is_not_signed(change: dict[str, object]):
    with pytest.raises(ValueError, match=r"."):
        sign(replace(CHECKPOINT, **change), KEY)  # type: ignore[arg-type]


def test_a_key_of_another_kind_is_not_read():
    with pytest.raises(ValueError, match="not a public key"):
        read_public_pem(b"-----BEGIN PUBLIC KEY-----\nnothing\n-----END PUBLIC KEY-----\n")
    public = rsa.generate_private_key(65537, 2048).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="not an Ed25519 key"):
        read_public_pem(pem)
