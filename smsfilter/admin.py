"""The admin port: /metrics, /livez, /readyz and /status, read-only, in threads of their own.

Its own threads, so that /livez can say that the event loop hangs. It changes nothing, and no
client can hold it up: at most 16 connections, the whole of each within 5 s, one request each.
What it is given to call runs in its threads: it must not block and may only copy.

`/livez` and `/readyz` answer 200 or 503 with `{"ok": bool, ...detail}`. `/status`, which the
proxy has, is what `smsfilter top` shows, one JSON object: `Metrics.snapshot()`, and beside it

    version, uptime_s, state ("serving" or "draining"), ready, missing: [..what, with its cure]
    redis: {state: "up" | "connecting" | "away", why: null or text, endpoint: text}
    sessions: at most 200 of {account, peer, state, bound_as, since (seconds since 1970),
              forwarded, refused, in_flight}
    sessions_total: how many there are

of `Metrics.snapshot()` are

    messages: {verdict: {reason: count}}; shadow: {rule: {reason: count}}; bypassed: {rule: count}
    batch_size, lookup_seconds, added_seconds: {bounds, counts, sum, p50, p99, p999}, counts having
              one more bucket than bounds and the quantiles (null for none) being since the start
    sessions_by_state: {state: count}; in_flight, log_dropped, loop_lag_s
    index_ready, config_stale, policy_version, registry_version
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_LATEST

from smsfilter import log

CONNECTIONS_MAX: Final = 16
CONNECTION_S: Final = 5.0
"""A whole connection: request, answer and what its client takes to read it."""
POLL_S: Final = 0.2

Check = Callable[[], tuple[bool, dict[str, Any]]]
Page = tuple[HTTPStatus, str, bytes]


class Admin:
    """The admin port. Port 0 lets the system choose; `start` raises OSError if it is taken."""

    def __init__(
        self,
        address: tuple[str, int],
        metrics: Callable[[], bytes],
        readiness: Check,
        liveness: Check,
        status: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self._address = address
        self._server: _Server | None = None
        self._pages: dict[str, Callable[[], Page]] = {
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics()),
            "/livez": lambda: _checked(liveness),
            "/readyz": lambda: _checked(readiness),
        }
        if status is not None:
            self._pages["/status"] = lambda: _json(HTTPStatus.OK, status())

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return self._server.server_port if self._server else self._address[1]

    def start(self) -> None:
        """Listen, and answer from now on."""
        self._server = _Server(self._address, self._pages)
        threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="admin", daemon=True
        ).start()

    def stop(self) -> None:
        """Close the port; connections that are being answered end with their thread."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _json(status: HTTPStatus, value: dict[str, Any]) -> Page:
    return status, "application/json", json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _checked(check: Check) -> Page:
    ok, detail = check()
    return _json(HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE, {"ok": ok, **detail})


class _Server(ThreadingHTTPServer):
    """A thread per connection, of which there are few and none for long."""

    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], pages: dict[str, Callable[[], Page]]) -> None:
        self.pages = pages
        self._deadlines: dict[socket.socket, float] = {}
        self._lock = threading.Lock()  # none is closed while it is being cut off
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # without HTTPServer's look-up of the host's name
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(POLL_S)  # out of descriptors: the port stays readable, do not spin
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._deadlines) >= CONNECTIONS_MAX:
            self.shutdown_request(request)
            return
        with self._lock:
            self._deadlines[request] = time.monotonic() + CONNECTION_S
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off, each time that the server looks round, whoever is over time."""
        now = time.monotonic()
        with self._lock:
            for request, deadline in self._deadlines.items():
                if deadline < now:
                    with suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)  # its thread sees the end, and closes

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):  # a client that went away is no event
            log.get().error("unhandled", where="admin", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CONNECTION_S
    wbufsize = -1  # headers and body in one write

    def do_GET(self) -> None:
        page = self.server.pages.get(urlsplit(self.path).path)
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            answer = page()
        except Exception as error:
            log.get().error("unhandled", where="admin", path=self.path, exc_info=error)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self._answer(*answer)

    do_HEAD = do_GET  # noqa: N815 - the name http.server looks for

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer without a body worth parsing; http.server's 501 for a method is our 405."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self._answer(status, "text/plain", f"{status.value} {status.phrase}\n".encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")  # RFC 9110 §15.5.6
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "smsfilter"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a scrape each few seconds is no event, and stderr could block."""
