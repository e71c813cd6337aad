"""Whatever octets a source has: an answer, the same for all its spellings, and nobody left out."""

from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from smsfilter.rules.headers import fold, has_controls, shapes, source_forms
from smsfilter.rules.senders import Registry, RegistryFile

REGISTRY = Registry(
    RegistryFile.model_validate(
        {
            "companies": {
                "acme": {
                    "accounts": ["acme"],
                    "sources": ["10657555"],
                    "headers": ["ACME", "某公司"],
                },
                "bravo": {"accounts": ["bravo"], "sources": ["1065755501"], "headers": ["BRAVO"]},
            },
            "resellers": {"resell7": {"may_send_for": ["acme"]}},
        }
    ),
    UTC,
)
ACCOUNTS = st.sampled_from(["acme", "bravo", "resell7", "new1", ""])
SOURCES = st.one_of(
    st.binary(max_size=64),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text("0123456789+ -.()", max_size=20).map(str.encode),
    st.text("acmeACMEАСМЕ某公司 \u200b.-", max_size=8).map(str.encode),
)


@given(ACCOUNTS, SOURCES, st.sampled_from(["refuse", "account"]))
def test_every_source_has_an_answer(account: str, source: bytes, unknown: str) -> None:
    found = REGISTRY.resolve(account, source, 0.0, unknown, "86")  # type: ignore[arg-type]
    assert found.accused[-2:] == (f"source:{found.source}", "*")
    assert len(set(found.accused)) == len(found.accused)
    assert found.company is None or found.company == found.accused[0]
    assert not (found.look_alike and found.refusal is None)
    if found.refusal is None and account != "new1":
        assert found.company in ("acme", "bravo")
        assert found.matched is not None


@given(st.text("0123456789", max_size=8), ACCOUNTS)
def test_all_spellings_of_a_number_are_one_source(sub_code: str, account: str) -> None:
    number = "10657555" + sub_code
    spaced = " ".join(number)
    spellings = [number, "86" + number, "+86" + number, "0086-" + number, f"({spaced})"]
    found = {REGISTRY.resolve(account, s.encode(), 0.0, "account", "86") for s in spellings}
    assert len(found) == 1
    (sender,) = found
    assert sender.source == number
    assert ("bravo" if sub_code.startswith("01") else "acme") in sender.accused


@given(st.text(max_size=20))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(exclude_characters="\u03f9\u03f2"), max_size=20))
def test_equal_folds_look_alike(text: str) -> None:
    # But for the lunate sigma: it is a sigma to Unicode, and a C to the eye.
    assert set(shapes(text)) & set(shapes(fold(text)))


@given(st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789", max_size=11))
def test_a_plain_name_only_looks_like_itself(name: str) -> None:
    assert set(shapes(name)) == {fold(name)}


@given(SOURCES)
def test_the_name_of_a_source_keeps_a_line_whole(source: bytes) -> None:
    name = source_forms(source, "86").normalised
    assert len(name.splitlines()) <= 1
    assert not has_controls(name)
