"""The command line as the API's client: a connection that breaks does nothing twice."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smsfilter.cli.client import Client, DeskDown, DeskError
from smsfilter.deskconfig import SOCKET

ANSWER = b'{"id": 7}'
OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\n" + ANSWER


class Desk:
    """Answers one connection after another with these octets; none: it breaks."""

    def __init__(self, folder: Path, answers: list[bytes]) -> None:
        self.heard: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, args=(answers,))
        self._thread.start()

    def _serve(self, answers: list[bytes]) -> None:
        for octets in answers:
            connection, _ = self._listener.accept()
            with connection:
                self.heard.append(whole(connection))
                connection.sendall(octets)
        self._listener.close()

    def close(self) -> None:
        self._thread.join()

    @property
    def keys(self) -> list[str | None]:
        """The idempotency key of each request."""
        found = []
        for each in self.heard:
            head = each.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
            found.append(
                next((line.split(": ")[1] for line in head if line.startswith("idempotency")), None)
            )
        return found


def whole(connection: socket.socket) -> bytes:
    """One request."""
    octets = b""
    while b"\r\n\r\n" not in octets:
        octets += connection.recv(4096)
    head, _, body = octets.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.split(b":")[1]):
                body += connection.recv(4096)
    return head + b"\r\n\r\n" + body


@contextmanager
def talking(folder: Path, *answers: bytes) -> Iterator[tuple[Client, Desk]]:
    desk = Desk(folder, list(answers))
    client = Client(folder, "smsfilter desk")
    try:
        yield client, desk
    finally:
        client.close()
        desk.close()


def test_each_write_has_a_key_of_its_own(tmp_path: Path):
    with talking(tmp_path, OK, OK, OK) as (client, desk):
        for _ in range(2):
            assert client.post("/blocks", {"a": 1}) == json.loads(ANSWER)
        client.get("/blocks")
    first, second, look = desk.keys
    assert None not in (first, second)
    assert first != second
    assert look is None


def test_a_broken_connection_is_tried_once_more_with_the_same_key(tmp_path: Path):
    with talking(tmp_path, b"", OK) as (client, desk):
        assert client.post("/blocks", {"a": 1}) == json.loads(ANSWER)
    first, second = desk.keys
    assert first == second is not None
    assert desk.heard[0] == desk.heard[1]


def test_and_only_once(tmp_path: Path):
    with (
        talking(tmp_path, b"", b"HTTP/1.1 200") as (client, desk),
        pytest.raises(DeskError, match="did not answer"),
    ):
        client.post("/blocks", {"a": 1})
    assert len(desk.heard) == 2


def test_a_desk_that_is_gone_is_not_asked_again(tmp_path: Path):
    client = Client(tmp_path, "smsfilter desk")
    with pytest.raises(DeskDown, match="start it with smsfilter desk"):
        client.post("/blocks", {})
    client.close()
