"""How commands talk to the running desk: over its UNIX socket or TCP, and errors in one line."""

import os
import re
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import httpx

from smsfilter.deskconfig import SOCKET

TIMEOUT_S: Final = 60.0
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?P<port>:\d{1,5})?/?", re.ASCII
)
_LOOPBACK: Final = re.compile(r"127(\.\d{1,3}){3}|\[::1\]|localhost")
_KEY: Final = "Idempotency-Key"
_CUT: Final = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""A connection that broke: what was asked may have been done, and is asked once more."""


class DeskError(Exception):
    """The desk was not reached, or does not do what it was asked; says so in a line."""

    def __init__(self, detail: str, answer: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.answer = answer or {}
        self.status = int(self.answer.get("status", 0))
        """Of the answer; 0 where there was none."""


class DeskDown(DeskError):  # noqa: N818 - what is so
    """No desk answers."""


class Client:
    """The API of the desk as a command needs it. Every method raises DeskError."""

    def __init__(self, state_dir: Path, command: str, token: str | None = None) -> None:
        self._path: Path | None = state_dir / SOCKET
        self._where, self._start = str(self._path), command
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self._path)),
            base_url="http://desk/v1",
            headers=_bearer(token),
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    @classmethod
    def at(cls, url: str, ca: str | None = None, token: str | None = None) -> Self:
        """Talk to the desk at a URL; `ca` is a file of CAs in place of the system's. DeskError."""
        made = cls.__new__(cls)
        made._path = None
        made._where, made._start = checked(url), "its own machine"
        made._http = httpx.Client(
            base_url=f"{made._where}/v1",
            headers=_bearer(token),
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=_trusted(ca) if made._where.startswith("https:") else True,
        )
        return made

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """Ask for something."""
        return self._ask("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, body: Any = None) -> Any:
        """Have something done."""
        return self._ask("POST", path, json=body)

    def send(self, path: str, octets: bytes) -> Any:
        """Have a file taken in."""
        return self._ask("POST", path, content=octets)

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Give the items of a list, page by page."""
        after: str | None = None
        while True:
            page = self.get(path, after=after, **query)
            yield from page["items"]
            after = page.get("next")
            if after is None:
                return

    @contextmanager
    def lines(self, path: str, **query: Any) -> Iterator[Iterator[str]]:
        """Give the lines of an answer that may be long."""
        given = {k: v for k, v in query.items() if v is not None}
        with self._stream("GET", path, params=given) as response:
            yield _lines(response.iter_bytes())

    @contextmanager
    def octets(self, path: str) -> Iterator[Iterator[bytes]]:
        """Have something made, and give the octets of it."""
        with self._stream("POST", path) as response:
            yield response.iter_bytes()

    @contextmanager
    def _stream(self, method: str, path: str, **how: Any) -> Iterator[httpx.Response]:
        with self._reaching(), self._http.stream(method, path, **how) as response:
            if response.is_error:
                response.read()
                raise _said(response)
            yield response

    def _ask(self, method: str, path: str, **how: Any) -> Any:
        if method != "GET":  # so that the desk knows it again, and does it once
            how["headers"] = {_KEY: uuid.uuid4().hex}
        with self._reaching():
            try:
                response = self._http.request(method, path, **how)
            except _CUT:
                response = self._http.request(method, path, **how)
        if response.is_error:
            raise _said(response)
        return response.json()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            if self._path and not os.path.lexists(self._path):  # httpx would leave a socket open
                raise httpx.ConnectError("no socket")
            yield
        except httpx.ConnectError as error:
            raise DeskDown(self._unreached(error)) from None
        except httpx.HTTPError as error:
            raise DeskError(f"the desk did not answer: {error}") from None

    def _unreached(self, error: httpx.ConnectError) -> str:
        if self._path is None:
            return f"no desk answers at {self._where}: {error}"
        if "Permission denied" in str(error):
            return (
                f"{self._path}: permission denied: log in over the network with smsfilter login"
                " --desk URL, or run it as the desk's user, or with sudo"
            )
        return f"no desk answers at {self._path}: start it with {self._start}"


def checked(url: str) -> str:
    """Return the URL of a desk without what is behind its port. Raises DeskError."""
    found = _URL.fullmatch(url)
    if found is None:
        raise DeskError(f"not the URL of a desk: {url}: write https://desk.example.net:8776")
    if found["scheme"] == "http" and not _LOOPBACK.fullmatch(found["host"]):
        raise DeskError(f"{url}: passwords do not go over a network without TLS: write https://")
    return f"{found['scheme']}://{found['host']}{found['port'] or ''}"


def _trusted(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise DeskError(f"{ca}: {error.strerror or error}") from None


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Split at newlines alone: in JSON other line separators stand as they are."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in lines)
    if rest:
        yield rest.decode()


def _said(response: httpx.Response) -> DeskError:
    try:
        answer = response.json()
        return DeskError(answer["detail"], answer)
    except (ValueError, KeyError, TypeError):
        return DeskError(f"the desk answered {response.status_code}")
