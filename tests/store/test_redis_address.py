"""Redis URLs: every form, and no password in anything that is printed."""

from pathlib import Path

import pytest

from smsfilter.store.address import RedisAddress, Tls, parse_url

STATE = Path("/var/lib/smsfilter")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://10.0.0.1", RedisAddress("redis", nodes=(("10.0.0.1", 6379),))),
        ("redis://h:1/3", RedisAddress("redis", nodes=(("h", 1),), db=3)),
        ("redis://h/?db=4", RedisAddress("redis", nodes=(("h", 6379),), db=4)),
        ("redis://[::1]:7/0", RedisAddress("redis", nodes=(("::1", 7),))),
        ("redis://[::1]", RedisAddress("redis", nodes=(("::1", 6379),))),
        (
            "redis://ann:p%40ss%2F@h",
            RedisAddress("redis", nodes=(("h", 6379),), username="ann", password="p@ss/"),
        ),
        ("redis://:pw@h", RedisAddress("redis", nodes=(("h", 6379),), password="pw")),
        ("redis://a@h", RedisAddress("redis", nodes=(("h", 6379),), username="a")),
        ("rediss://h", RedisAddress("rediss", nodes=(("h", 6379),), tls=Tls())),
        (
            "rediss://h:1/2?ssl_ca_certs=/etc/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k%20.pem"
            "&ssl_cert_reqs=optional&ssl_check_hostname=false",
            RedisAddress(
                "rediss",
                nodes=(("h", 1),),
                db=2,
                tls=Tls("/etc/ca.pem", "/c.pem", "/k .pem", "optional", False),
            ),
        ),
        (
            "rediss://h?ssl_cert_reqs=none",
            RedisAddress(
                "rediss",
                nodes=(("h", 6379),),
                tls=Tls(cert_reqs="none", check_hostname=False),
            ),
        ),
        ("unix:///run/redis.sock", RedisAddress("unix", path="/run/redis.sock")),
        (
            "unix://ann:pw@/run/a%20b.sock?db=5",
            RedisAddress("unix", path="/run/a b.sock", db=5, username="ann", password="pw"),
        ),
        (
            "sentinel://s1:1,s2,[::2]:3/mymaster/6",
            RedisAddress(
                "sentinel",
                nodes=(("s1", 1), ("s2", 26379), ("::2", 3)),
                service="mymaster",
                db=6,
            ),
        ),
        (
            "sentinel://u:p@s/m?sentinel_username=su&sentinel_password=sp&ssl_ca_certs=/ca",
            RedisAddress(
                "sentinel",
                nodes=(("s", 26379),),
                service="m",
                username="u",
                password="p",
                sentinel_username="su",
                sentinel_password="sp",
                tls=Tls("/ca"),
            ),
        ),
        (
            "embedded:",
            RedisAddress("embedded", path="/var/lib/smsfilter/redis.sock", state_dir=STATE),
        ),
    ],
)
def test_each_form_of_url(url: str, expected: RedisAddress) -> None:
    assert parse_url(url, STATE) == expected


def test_a_password_from_a_file_wins() -> None:
    assert parse_url("redis://ann:old@h", STATE, "new").password == "new"
    assert parse_url("redis://ann@h", STATE, "new").username == "ann"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("cluster://h:1", "cluster:// is not supported yet"),
        ("redis+cluster://h:1", "cluster:// is not supported yet"),
        ("http://h", "must begin with redis://"),
        ("127.0.0.1:6379", "must begin with redis://"),
        ("", "must begin with redis://"),
        ("redis://", "host is missing"),
        ("redis://h:0", "port is not a number"),
        ("redis://h:70000", "port is not a number"),
        ("redis://h:a", "port is not a number"),
        ("redis://[::1", "IPv6"),
        ("redis://h/x", "database is not a number"),
        ("redis://h/1/2", "database is not a number"),
        ("redis://h?ssl_ca_certs=/ca", "needs rediss://"),
        ("redis://h?database=1", "unknown option database"),
        ("rediss://h?ssl_ca_cert=/ca", "did you mean ssl_ca_certs?"),
        ("rediss://h?ssl_cert_reqs=maybe", "none, optional or required"),
        ("rediss://h?ssl_check_hostname=maybe", "true or false"),
        ("rediss://h?ssl_keyfile=/k", "needs ssl_certfile"),
        ("redis://h?db=1&db=2", "each name once"),
        ("redis://h?db", "name=value"),
        ("unix://run/redis.sock", "absolute path"),
        ("unix:///", "absolute path"),
        ("sentinel://h", "master's name"),
        ("sentinel:///m", "master's name"),
        ("sentinel://h,/m", "host is missing"),
    ],
)
def test_what_is_wrong_is_said(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="redis url") as caught:
        parse_url(url, STATE)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:S3cret@h:1/2",
        "rediss://ann:S3cret@h",
        "unix://ann:S3cret@/run/redis.sock?db=1",
        "sentinel://ann:S3cret@h:1,g:2/m/0?sentinel_password=S3cret",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    address = parse_url(url, STATE)
    assert address.password == "S3cret"
    for shown in (str(address), repr(address), f"{address}"):
        assert "S3cret" not in shown
        assert "ann" in shown
    assert ":***@" in str(address)


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:S3cret@h:x",
        "redis://ann:S3cret/x@h",
        "redis://ann:S3cret?x@h",
        "redis://ann:S3cret@[h",
        "rediss://ann:S3cret@h?nonsense=S3cret",
        "unix://ann:S3cret@host/run",
    ],
)
def test_no_error_quotes_a_password(url: str) -> None:
    with pytest.raises(ValueError, match="redis url") as caught:
        parse_url(url, STATE)
    assert "S3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h", "redis://h:6379/0"),
        ("rediss://[::1]:7/1", "rediss://[::1]:7/1"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("sentinel://u:p@a:1,b/m", "sentinel://u:***@a:1,b:26379/m/0"),
        ("embedded:", "embedded:/var/lib/smsfilter/redis.sock"),
    ],
)
def test_an_address_reads_as_a_url(url: str, shown: str) -> None:
    assert str(parse_url(url, STATE)) == shown


def test_a_state_dir_that_is_too_long_for_a_socket() -> None:
    deep = Path("/var/lib") / ("d" * 100)
    path = parse_url("embedded:", deep).path
    assert len(path.encode()) <= 107
    assert path == parse_url("embedded:", deep).path
    assert path != parse_url("embedded:", deep / "other").path
