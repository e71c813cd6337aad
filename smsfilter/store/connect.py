"""How a Redis is reached: what stands between an address and a conversation.

Makes of an address what the two kinds of user need: a redis-py client for everything that is not
on the message path, and the socket, TLS context and first commands for the raw pipelined
connection that is. For Sentinel the master is asked for at each connection, so that a failover
is followed. Errors are said in one line, without secrets.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from smsfilter.store.address import RedisAddress, Tls, parse_url
from smsfilter.store.embedded import EmbeddedError, EmbeddedServer

__all__ = [
    "Endpoint",
    "RedisAddress",
    "RedisRefused",
    "Tls",
    "Unreachable",
    "client",
    "connected",
    "dial",
    "endpoint",
    "greeting",
    "not_allowed",
    "not_known",
    "parse_url",
    "refused",
    "ssl_context",
]

CONNECT_TIMEOUT_S: Final = 3.0
COMMAND_TIMEOUT_S: Final = 5.0
SENTINEL_TIMEOUT_S: Final = 1.0  # each sentinel of the list has this long

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Endpoint(NamedTuple):
    """Where to connect to: the UNIX socket at `path` if there is one, else host and port."""

    host: str
    port: int
    path: str


class Unreachable(Exception):  # noqa: N818 - what happened
    """Redis was not reached, or failed on the way; `str()` is one line for people."""


class RedisRefused(Unreachable):
    """Redis is there and refuses: a password, user or certificate, which no waiting cures."""


# --- the raw connection ----------------------------------------------------------------------


async def endpoint(address: RedisAddress) -> Endpoint:
    """Where to connect to now: fixed, but for Sentinel, which is asked for the master's place.

    Raises the built-in ConnectionError when no sentinel names a living master, and RedisRefused
    when one does not let us in.
    """
    if not address.sentinel:
        return Endpoint(*(address.nodes[0] if address.nodes else ("", 0)), address.path)
    sentinels = _sentinels(address)
    try:
        host, port = await sentinels.discover_master(address.service)
    except MasterNotFoundError as error:
        kind = RedisRefused if refused(error) else ConnectionError
        raise kind(str(error)) from None
    finally:
        for node in sentinels.sentinels:
            await node.aclose()
    return Endpoint(host, port, "")


def ssl_context(address: RedisAddress) -> ssl.SSLContext | None:
    """Return a TLS context read from the files now, or None for a connection without TLS.

    Raises RedisRefused when the files cannot be used.
    """
    tls = address.tls
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca_certs)
        if tls.certfile:
            context.load_cert_chain(tls.certfile, tls.keyfile)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(filter(None, (tls.ca_certs, tls.certfile, tls.keyfile)))
        raise RedisRefused(f"redis at {address}: {_why(error)}: {files}") from None
    context.check_hostname = tls.check_hostname
    context.verify_mode = ssl.VerifyMode[f"CERT_{tls.cert_reqs.upper()}"]
    return context


async def dial(address: RedisAddress, factory: Callable[[], P]) -> tuple[asyncio.BaseTransport, P]:
    """Open one raw connection (TLS included) with `factory`'s protocol on it.

    Raises OSError (TimeoutError is one) when Redis is not reached, and RedisRefused when TLS
    finds the other side, or our own files, wrong. `greeting` is what has to be sent first.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        host, port, path = await endpoint(address)
        if path:
            return await loop.create_unix_connection(factory, path)
        try:
            context = await asyncio.to_thread(ssl_context, address)  # reads a CA store: slow
            return await loop.create_connection(factory, host, port, ssl=context)
        except ssl.SSLEOFError:
            raise  # it went away in the middle
        except ssl.SSLError as error:
            raise RedisRefused(f"redis at {address}: {_why(error)}") from error


def greeting(address: RedisAddress, name: str = "smsfilter") -> list[tuple[bytes, ...]]:
    """Return the commands that a raw connection sends first; each of them must succeed.

    HELLO takes user, password and the name for CLIENT LIST in one step, and, unlike CLIENT
    SETNAME, is open to a user whom the ACL allows nothing but the look-ups.
    """
    entry: tuple[bytes, ...] = ()
    if address.username or address.password is not None:
        entry = (
            b"AUTH",
            (address.username or "default").encode(),
            (address.password or "").encode(),
        )
    hello = (b"HELLO", b"2", *entry, b"SETNAME", name.encode())
    return [hello, (b"SELECT", b"%d" % address.db)] if address.db else [hello]


# --- redis-py --------------------------------------------------------------------------------


class _Sentinels(Sentinel):
    """Asks for the master, and says plainly why there is none; redis-py lists its own state."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        said: list[str] = []
        refusal: Exception | None = None
        for node in list(self.sentinels):
            place = "{host}:{port}".format_map(node.connection_pool.connection_kwargs)
            try:
                masters: Any = await node.sentinel_masters()
            except (RedisError, OSError) as error:
                said.append(f"sentinel {place}: {_why(error)}")
                refusal = error if refused(error) else refusal
                continue
            master = masters.get(service_name)
            if master and self.check_master_state(master, service_name):
                self.sentinels.remove(node)
                self.sentinels.insert(0, node)  # asked first the next time
                return master["ip"], master["port"]
            said.append(f"sentinel {place}: no living master {service_name}")
        raise MasterNotFoundError("; ".join(said)) from refusal


class _MasterClient(Redis):
    """A client of the master that Sentinel names; closes its connections to the sentinels too."""

    nodes: Sequence[Redis] = ()

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        for node in self.nodes:
            await node.aclose()


def client(address: RedisAddress) -> Redis:
    """Return a redis-py client; nothing is sent before its first command."""
    common: dict[str, Any] = {
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 1),  # an idle connection that the server closed
        "retry_on_error": [RuntimeError],  # what uvloop says of one that was reset
        **_timeouts(COMMAND_TIMEOUT_S),
    }
    if address.path:
        return Redis(unix_socket_path=address.path, **common)
    if not address.sentinel:
        host, port = address.nodes[0]
        return Redis(host=host, port=port, **common, **_tls_arguments(address.tls))
    sentinels = _sentinels(address)
    master: _MasterClient = sentinels.master_for(
        address.service, redis_class=_MasterClient, **common, **_tls_arguments(address.tls)
    )
    master.nodes = sentinels.sentinels
    return master


@asynccontextmanager
async def connected(address: RedisAddress) -> AsyncIterator[Redis]:
    """Give a client that has reached Redis, for as long as the block runs.

    For `embedded:` the private server is started when none runs, and stopped again. Raises
    Unreachable or RedisRefused, whose text is one line for people.
    """
    async with AsyncExitStack() as stack:
        try:
            if address.state_dir is not None:
                await stack.enter_async_context(EmbeddedServer(address.state_dir))
            ssl_context(address)  # names the file that cannot be used, as redis-py does not
            redis = client(address)
            stack.push_async_callback(redis.aclose)
            await redis.ping()
        except (RedisError, OSError, EmbeddedError) as error:
            raise _said(address, error) from error
        try:
            yield redis
        except RedisError as error:
            raise _said(address, error) from error


def _said(address: RedisAddress, error: Exception) -> Unreachable:
    kind = RedisRefused if refused(error) else Unreachable
    return kind(f"redis at {address}: {_why(error)}")


def refused(error: BaseException) -> bool:
    """Whether Redis, or TLS, turned us away: a fault of the set-up that no waiting cures."""
    return (
        not_allowed(error)
        or not_known(error)
        or any(
            isinstance(link, ssl.SSLError) and not isinstance(link, ssl.SSLEOFError)
            for link in _links(error)
        )
    )


def not_allowed(error: BaseException) -> bool:
    """Whether the ACL user may not do what was asked."""
    return any(
        isinstance(link, NoPermissionError) or str(link).startswith("NOPERM")
        for link in _links(error)
    )


def not_known(error: BaseException) -> bool:
    """Whether the user or the password is wrong or missing."""
    return any(
        isinstance(link, AuthenticationError) or str(link).startswith(("NOAUTH", "WRONGPASS"))
        for link in _links(error)
    )


def _links(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from: redis-py wraps what the system said."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _why(error: BaseException) -> str:
    """Return the reason in one line."""
    for link in _links(error):
        if isinstance(link, OSError) and link.errno and not isinstance(link, ssl.SSLError):
            return os.strerror(link.errno)
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return " ".join(str(error).split()) or type(error).__name__


def _timeouts(command_s: float) -> dict[str, Any]:
    return {
        "socket_timeout": command_s,
        "socket_connect_timeout": min(CONNECT_TIMEOUT_S, command_s),
        "socket_keepalive": True,
    }


def _tls_arguments(tls: Tls | None) -> dict[str, Any]:
    if tls is None:
        return {}
    return {
        "ssl": True,
        "ssl_ca_certs": tls.ca_certs,
        "ssl_certfile": tls.certfile,
        "ssl_keyfile": tls.keyfile,
        "ssl_cert_reqs": tls.cert_reqs,
        "ssl_check_hostname": tls.check_hostname,
    }


def _sentinels(address: RedisAddress) -> _Sentinels:
    entry = {
        "username": address.sentinel_username,
        "password": address.sentinel_password,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),  # the next sentinel is the second try
        **_timeouts(SENTINEL_TIMEOUT_S),
        **_tls_arguments(address.tls),
    }
    return _Sentinels(address.nodes, sentinel_kwargs=entry)  # type: ignore[no-untyped-call]
