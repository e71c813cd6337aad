"""The admin port: what each page answers, and that no client can hold it up."""

import http.client
import json
import socket
import threading

import pytest

from smsfilter import admin as admin_module
from smsfilter.admin import CONNECTIONS_MAX, Admin
from smsfilter.metrics import Metrics, render
from tests.fakes.process import wait_until


class Daemon:
    """What the admin port is told."""

    def __init__(self):
        self.ready = (True, {"redis": "up"})
        self.alive = (True, {})
        self.release = threading.Event()

    def status(self):
        return {"version": "0.1.0", "sessions": [{"account": "某公司"}]}


@pytest.fixture
def daemon():
    return Daemon()


@pytest.fixture
def admin(daemon):
    admin = Admin(
        ("127.0.0.1", 0),
        lambda: render(Metrics()),
        lambda: daemon.ready,
        lambda: daemon.alive,
        daemon.status,
    )
    admin.start()
    yield admin
    daemon.release.set()
    admin.stop()


def ask(admin, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", admin.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def dial(admin):
    return socket.create_connection(("127.0.0.1", admin.port), timeout=10)


def test_metrics_are_in_prometheus_own_format(admin):
    response, body = ask(admin, "/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert b"smsfilter_messages_total{" in body
    assert response.headers["Content-Length"] == str(len(body))


def test_status_is_the_daemons_own_account_of_itself(admin, daemon):
    response, body = ask(admin, "/status?pretty")
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(body) == daemon.status()


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_is_told_by_status_and_explained_in_the_body(admin, daemon, path):
    response, body = ask(admin, path)
    assert response.status == 200
    assert json.loads(body)["ok"] is True

    daemon.alive = daemon.ready = (False, {"missing": ["registry"]})
    response, body = ask(admin, path)
    assert response.status == 503
    assert json.loads(body) == {"ok": False, "missing": ["registry"]}


def test_head_has_the_headers_and_no_body(admin):
    _, body = ask(admin, "/status")
    response, nothing = ask(admin, "/status", "HEAD")
    assert response.status == 200
    assert response.headers["Content-Length"] == str(len(body))
    assert nothing == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_nothing_can_be_changed(admin, method):
    response, body = ask(admin, "/status", method)
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"
    assert body == b"405 Method Not Allowed\n"


@pytest.mark.parametrize("path", ["/", "/metrics/", "/statusx", "/status/../livez"])
def test_other_pages_are_not_found(admin, path):
    response, _ = ask(admin, path)
    assert response.status == 404


def test_a_page_that_fails_is_500_and_the_next_one_is_served(admin, daemon, capsys):
    daemon.alive = None
    assert ask(admin, "/livez")[0].status == 500
    assert ask(admin, "/readyz")[0].status == 200
    assert capsys.readouterr().err == ""


def test_a_request_that_is_no_http_gets_an_answer_and_no_trace(admin, capsys):
    with dial(admin) as client:
        client.sendall(b"\x00\x00\x00\x10\r\n\r\n")
        assert b"400 Bad Request" in client.recv(4096)
    assert ask(admin, "/readyz")[0].status == 200
    assert capsys.readouterr().err == ""


def test_slow_clients_are_cut_off_and_too_many_turned_away(admin, monkeypatch):
    monkeypatch.setattr(admin_module, "CONNECTION_S", 0.3)
    slow = [dial(admin) for _ in range(CONNECTIONS_MAX)]
    one_more = dial(admin)
    assert one_more.recv(100) == b""  # at once: the others are not over time yet

    for client in slow:  # each octet in time, the whole never
        client.sendall(b"G")
    for client in slow:
        while client.recv(100):
            pass
        client.close()
    one_more.close()
    wait_until(lambda: answers(admin), "room for one more", 5)


def answers(admin):
    """Whether there is room for one more."""
    try:
        return ask(admin, "/readyz")[0].status == 200
    except ConnectionError:
        return False


def test_a_page_that_hangs_does_not_keep_others_from_being_served(admin, daemon):
    asked = threading.Event()

    def hang():
        asked.set()
        daemon.release.wait(10)
        return {}

    daemon.status = hang
    admin._server.pages["/status"] = lambda: admin_module._json(200, hang())
    with dial(admin) as client:
        client.sendall(b"GET /status HTTP/1.0\r\n\r\n")
        assert asked.wait(5)
        assert ask(admin, "/livez")[0].status == 200
        daemon.release.set()
        assert client.recv(100).startswith(b"HTTP/1.0 200")


def test_a_port_in_use_is_an_error_at_start(admin):
    second = Admin(("127.0.0.1", admin.port), lambda: render(Metrics()), None, None, None)
    with pytest.raises(OSError, match="in use"):
        second.start()
    second.stop()


def test_after_stop_nobody_listens(admin):
    port = admin.port
    admin.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    admin.stop()


def test_it_listens_on_ipv6_as_well():
    admin = Admin(
        ("::1", 0), lambda: render(Metrics()), lambda: (True, {}), lambda: (True, {}), dict
    )
    try:
        admin.start()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    try:
        connection = http.client.HTTPConnection("::1", admin.port, timeout=10)
        connection.request("GET", "/livez")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        admin.stop()
