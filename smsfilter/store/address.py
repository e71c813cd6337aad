"""The address of a Redis, read from the one URL of the configuration.

redis://, rediss://, unix://, sentinel:// and `embedded:` become one frozen value. Nothing is
opened here. A password is never part of what an address, or an error about one, says of itself,
so URLs are taken apart by hand: the standard parser quotes what it does not like.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote

from smsfilter.store.embedded import socket_path

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to Redis, named as redis-py names it in a URL (`ssl_ca_certs` and so on)."""

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    cert_reqs: Literal["none", "optional", "required"] = "required"
    check_hostname: bool = True


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is and how one enters. `str()` of it is a URL without the secrets."""

    scheme: Literal["redis", "rediss", "unix", "sentinel", "embedded"]
    nodes: tuple[tuple[str, int], ...] = ()  # the server itself, or the sentinels
    path: str = ""  # of the UNIX socket
    service: str = ""  # the master's name at the sentinels
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    state_dir: Path | None = None  # of the private server

    @property
    def sentinel(self) -> bool:
        """Whether the nodes are sentinels, to be asked for the master."""
        return self.scheme == "sentinel"

    def __str__(self) -> str:
        if self.scheme == "embedded":
            return f"embedded:{self.path}"
        entry = self.username or ""
        entry += ":***" if self.password is not None else ""
        entry += "@" if entry else ""
        if self.scheme == "unix":
            return f"unix://{entry}{self.path}" + (f"?db={self.db}" if self.db else "")
        nodes = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.nodes)
        service = f"/{self.service}" if self.service else ""
        return f"{self.scheme}://{entry}{nodes}{service}/{self.db}"


def parse_url(url: str, state_dir: Path, password: str | None = None) -> RedisAddress:
    """Return the address that `url` means; ValueError says what is wrong, without the secrets.

    `password` (from a file) takes the place of one in the URL. `state_dir` is where the private
    server of `embedded:` lives.
    """
    if url in {"embedded:", "embedded://"}:
        return RedisAddress("embedded", path=str(socket_path(state_dir)), state_dir=state_dir)
    scheme, found, rest = url.partition("://")
    if not found or scheme not in _READERS:
        raise ValueError(_wrong_scheme(scheme if found else ""))
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    entry, _, hosts = authority.rpartition("@")
    username, colon, secret = entry.partition(":")
    options = _options(query)
    address = _READERS[scheme](
        hosts,
        unquote(slash + path),
        options,
        {
            "username": unquote(username) or None,
            "password": password if password is not None else unquote(secret) if colon else None,
        },
    )
    if options:
        raise ValueError(_wrong_option(scheme, next(iter(options))))
    return address


def _wrong_scheme(scheme: str) -> str:
    if scheme in {"cluster", "redis+cluster", "rediss+cluster"}:
        return "redis url: cluster:// is not supported yet: use a standalone server or sentinel://"
    return (
        "redis url: must begin with redis://, rediss://, unix:// or sentinel://, or be embedded:"
        + (f" (not {scheme}://)" if scheme.isalnum() else "")
    )


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for option in filter(None, query.split("&")):
        name, found, value = option.partition("=")
        if not found or name in options:
            raise ValueError("redis url: what follows the ? must be name=value, each name once")
        options[name] = unquote(value)
    return options


def _wrong_option(scheme: str, name: str) -> str:
    known = {
        "redis": ["db"],
        "rediss": ["db", *_TLS_OPTIONS],
        "unix": ["db"],
        "sentinel": ["db", "sentinel_username", "sentinel_password", *_TLS_OPTIONS],
    }[scheme]
    if scheme == "redis" and name in _TLS_OPTIONS:
        return f"redis url: {name} needs rediss://, as redis:// is not encrypted"
    near = get_close_matches(name, known, 1)
    return f"redis url: unknown option {name}" + (f" (did you mean {near[0]}?)" if near else "")


def _read_server(
    hosts: str, path: str, options: dict[str, str], entry: dict[str, Any]
) -> RedisAddress:
    return RedisAddress(
        "redis", nodes=(_node(hosts, REDIS_PORT),), db=_db(path[1:], options), **entry
    )


def _read_tls_server(
    hosts: str, path: str, options: dict[str, str], entry: dict[str, Any]
) -> RedisAddress:
    node = _node(hosts, REDIS_PORT)
    return RedisAddress(
        "rediss", nodes=(node,), db=_db(path[1:], options), tls=_tls(options), **entry
    )


def _read_socket(
    hosts: str, path: str, options: dict[str, str], entry: dict[str, Any]
) -> RedisAddress:
    if hosts or len(path) < 2:
        raise ValueError("redis url: unix:// needs an absolute path, as in unix:///run/redis.sock")
    return RedisAddress("unix", path=path, db=_db("", options), **entry)


def _read_sentinel(
    hosts: str, path: str, options: dict[str, str], entry: dict[str, Any]
) -> RedisAddress:
    service, _, db = path[1:].partition("/")
    if not hosts or not service:
        raise ValueError(
            "redis url: sentinel:// needs the sentinels and the master's name, as in"
            " sentinel://10.0.0.1:26379,10.0.0.2:26379/mymaster/0"
        )
    secured = any(name in _TLS_OPTIONS for name in options)
    return RedisAddress(
        "sentinel",
        nodes=tuple(_node(host, SENTINEL_PORT) for host in hosts.split(",")),
        service=service,
        db=_db(db, options),
        tls=_tls(options) if secured else None,
        sentinel_username=options.pop("sentinel_username", None),
        sentinel_password=options.pop("sentinel_password", None),
        **entry,
    )


_READERS: Final[dict[str, Callable[..., RedisAddress]]] = {
    "redis": _read_server,
    "rediss": _read_tls_server,
    "unix": _read_socket,
    "sentinel": _read_sentinel,
}
_TLS_OPTIONS: Final = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)


def _node(text: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):  # an IPv6 address
        host, closed, port = text[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            raise ValueError("redis url: an IPv6 address is written [::1]:6379")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
    if not host:
        raise ValueError("redis url: the host is missing")
    if port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(
            "redis url: the port is not a number from 1 to 65535 (characters such as / ? @ in a"
            " password are written %2F %3F %40)"
        )
    return unquote(host), int(port) if port else default_port


def _db(path: str, options: dict[str, str]) -> int:
    text = options.pop("db", "") or path.strip("/") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise ValueError("redis url: the database is not a number, as in redis://127.0.0.1:6379/0")
    return int(text)


def _tls(options: dict[str, str]) -> Tls:
    given = {name.removeprefix("ssl_"): options.pop(name, None) for name in _TLS_OPTIONS}
    reqs = given["cert_reqs"] or "required"
    check = (given["check_hostname"] or "true").lower()
    if reqs not in {"none", "optional", "required"}:
        raise ValueError("redis url: ssl_cert_reqs is none, optional or required")
    if check not in {"true", "false", "yes", "no", "1", "0"}:
        raise ValueError("redis url: ssl_check_hostname is true or false")
    if given["keyfile"] and not given["certfile"]:
        raise ValueError("redis url: ssl_keyfile needs ssl_certfile")
    return Tls(
        ca_certs=given["ca_certs"],
        certfile=given["certfile"],
        keyfile=given["keyfile"],
        cert_reqs=reqs,  # type: ignore[arg-type]  # checked above
        check_hostname=check in {"true", "yes", "1"} and reqs != "none",
    )
