"""A case that nobody answers, on the running programs: who is warned, and how that reaches them."""

import asyncio
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from smsfilter.desk.keys import Keys
from smsfilter.desk.vault import Vault
from smsfilter.store.schema import case_file, warning
from tests.fakes.changes import TIMEOUT_S
from tests.fakes.desk import Desk

pytestmark = pytest.mark.system

ANNA = "8613800138000"
PHONES = {"li": "8613700000001", "su": "8613700000002", "boss": "8613700000003"}
ROLES = {"li": "clerk", "su": "supervisor", "boss": "headquarters"}
DEADLINES = {"assign": "1s", "warn": "2s", "reply": "4s"}
"""In place of 2, 36 and 48 hours."""


class Told:
    """What a webhook was told."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.came = Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                octets = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(json.loads(octets))
                if outer.bodies[-1]["kind"] == "breach":
                    outer.came.set()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def told() -> Any:
    told = Told()
    yield told
    told.close()


async def test_a_case_that_waits_is_told_to_the_supervisor_then_to_the_head(
    make_desk: Any, told: Told
) -> None:
    over = {
        "desk": {
            "deadlines": DEADLINES,
            "webhook": {"url": told.url},
            "branches": {"jn": {"name": "Jinan", "prefixes": ["86138"], "head": "boss"}},
        }
    }
    desk: Desk = await make_desk(config=over, started=False)
    vault = Vault(Keys.read(desk.directory / "state").seal)
    for name, role in ROLES.items():
        branch = "hq" if role == "headquarters" else "jn"
        await desk.hire(name, role, branch=branch, vault=vault, phone=PHONES[name])
    await desk.start()
    await desk.handsets[ANNA].text("10657555*you have won")
    supervisor, boss = desk.handsets[PHONES["su"]], desk.handsets[PHONES["boss"]]
    assert "督办" in (await supervisor.wait_for_sms(1))[0]
    texts = await boss.wait_for_sms(1)
    async with asyncio.timeout(TIMEOUT_S):
        while not any("超过48小时" in text for text in texts):
            texts = await boss.wait_for_sms(len(texts) + 1)
    kinds = {row.kind for row in await desk.look(lambda at: at.execute(warning.select()).all())}
    assert {"due_soon", "breach"} <= kinds
    (case,) = await desk.look(lambda at: at.execute(case_file.select()).all())
    assert (case.branch, case.owner) == ("jn", "su")
    assert await asyncio.to_thread(told.came.wait, TIMEOUT_S)
    assert ANNA not in json.dumps(told.bodies)
    listed = json.loads(await desk.ran("case", "list", "--late", "--json"))
    assert listed["id"] == case.id
    said = json.loads(await desk.ran("case", "show", str(case.id), "--json"))
    assert "warning given" in json.dumps(said)
