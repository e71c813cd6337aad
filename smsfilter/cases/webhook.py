"""Tells another program of warnings over HTTP: each at least once, signed, and never a number.

What the other end refuses or does not answer is tried again with growing pauses, for a day. A
redirect is not followed: it would take what is told to somebody who was never named.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import httpx
from sqlalchemy import Connection, Row, select, update

from smsfilter import log
from smsfilter.cases.warning import BY
from smsfilter.desk.office import Office
from smsfilter.peopleconfig import WebhookConfig
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway
from smsfilter.store.schema import hook_out
from smsfilter.store.transaction import Transaction

TIMEOUT_S: Final = 10.0
LOOK_EVERY_S: Final = 1.0
PAUSES_S: Final = (5, 15, 60, 300, 900, 3600)
"""Between one try and the next; the last of them from then on."""
TRIES_MOST: Final = 30
AT_ONCE: Final = 20
SIGNATURE: Final = "X-Smsfilter-Signature"


class Webhook:
    """Sends what the records say is to be told."""

    def __init__(self, office: Office, config: WebhookConfig) -> None:
        self._office = office
        self._url = config.url
        secret = config.secret()
        self._secret = None if secret is None else secret.encode()

    async def run(self) -> None:
        """Send, for ever."""
        async with httpx.AsyncClient(
            timeout=TIMEOUT_S, follow_redirects=False, trust_env=False
        ) as http:
            while True:
                try:
                    while await self.look(http):
                        pass
                except RecordsAway as error:
                    log.get().warning("webhook_waits", error=str(error))
                except Exception as error:  # whatever it is, it must not be the last try
                    log.get().error("unhandled", where="webhook", exc_info=error)
                await asyncio.sleep(LOOK_EVERY_S)

    async def look(self, http: httpx.AsyncClient) -> int:
        """Send what is due; how much that was. Raises RecordsAway."""
        now = self._office.clock()
        rows = await reading(self._office.records, lambda at: _due(at, now))
        for row in rows:
            status, why = await self._send(http, row)
            await self._office.writer.write(partial(_ended, row=row, status=status))
            if why:
                log.get().warning("webhook_failed", hook=row.id, status=status, error=why)
        return len(rows)

    async def _send(self, http: httpx.AsyncClient, row: Row[Any]) -> tuple[int | None, str]:
        """Return the status of the answer, and what is wrong with it; '' where nothing is."""
        octets = row.body.encode()
        headers = {"Content-Type": "application/json", "X-Smsfilter-Id": str(row.id)}
        if self._secret is not None:
            signed = hmac.new(self._secret, octets, hashlib.sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={signed}"
        try:
            async with asyncio.timeout(TIMEOUT_S * 2):  # all of it: an answer may trickle
                async with http.stream("POST", self._url, content=octets, headers=headers) as said:
                    status = said.status_code
        except (httpx.HTTPError, TimeoutError) as error:
            return None, str(error) or type(error).__name__
        return status, "" if 200 <= status < 300 else f"answered {status}"


def _due(connection: Connection, now: int) -> Sequence[Row[Any]]:
    query = select(hook_out).where(hook_out.c.state == "queued", hook_out.c.next_at <= now)
    return connection.execute(query.order_by(hook_out.c.next_at).limit(AT_ONCE)).all()


def _ended(transaction: Transaction, row: Row[Any], status: int | None) -> None:
    """Write down what became of one try."""
    tries = row.attempts + 1
    values: dict[str, Any] = {"attempts": tries, "status": status}
    if status is not None and 200 <= status < 300:
        values |= {"state": "sent", "sent_at": transaction.now, "next_at": None}
    elif tries >= TRIES_MOST:
        values |= {"state": "given_up", "next_at": None}
    else:
        pause = PAUSES_S[min(tries, len(PAUSES_S)) - 1]
        values["next_at"] = transaction.now + pause * 1_000_000
    transaction.connection.execute(update(hook_out).where(hook_out.c.id == row.id).values(values))
    if "state" in values:
        transaction.enter(
            "webhook told",
            BY,
            object=row.about,
            detail={"kind": row.kind, "state": values["state"], "tries": tries, "status": status},
        )
