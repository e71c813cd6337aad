"""The staff of the demo, who come in as people do anywhere: two of headquarters, and a clerk.

The first is made on the desk's machine with a code; the second is invited by the first, with one
half of a code from them and the other one from the machine; the clerk is let in by both, with half
a code from each. All of it by the desk's API, and with a password that is known to everybody who
reads this: it opens this demo and nothing else.
"""

import json
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from smsfilter.cli.demo.program import DemoError
from smsfilter.deskconfig import SOCKET

PASSWORD: Final = "made up for the demo"  # noqa: S105 - it is printed, too
SHIFT_US: Final = 12 * 3600 * 1_000_000
"""How long the clerk is on duty: cases go to whoever is."""
TIMEOUT_S: Final = 30.0


class Person(NamedTuple):
    """Somebody of the demo's staff."""

    id: str
    name: str
    number: str
    """The operator's own for them."""
    roles: tuple[str, ...]


FIRST: Final = Person("li.wei", "Li Wei", "E1001", ("headquarters",))
SECOND: Final = Person("zhao.lei", "Zhao Lei", "E1002", ("headquarters",))
CLERK: Final = Person("wang.fang", "Wang Fang", "E1003", ("clerk",))


async def come_in(state_dir: Path, folder: Path) -> None:
    """Have all enrol and log in, and the clerk on duty. Raises DemoError.

    Their login files are kept in `folder`.
    """
    async with _asking(state_dir) as http:
        staff = _Staff(http, folder)
        on_machine = await staff.post(f"/staff/{FIRST.id}/code")
        first = await staff.enrols(FIRST, *on_machine["halves"])
        invited = await staff.post("/staff/bootstrap", _asked(SECOND), first)
        on_machine = await staff.post(f"/staff/{SECOND.id}/code")
        second = await staff.enrols(SECOND, invited["half"], on_machine["half"])
        release = (await staff.post("/staff", _asked(CLERK), first))["release"]
        granted = await staff.post(f"/releases/{release}/grant", None, second)
        other = await staff.post(f"/releases/{release}/half", None, first)
        await staff.enrols(CLERK, granted["half"], other["half"])
        now = time.time_ns() // 1_000
        shift = {"staff": CLERK.id, "from_at": now, "to_at": now + SHIFT_US}
        await staff.post("/rota", {"shifts": [shift]}, first)


async def log_in(state_dir: Path, folder: Path, person: Person) -> Path:
    """Have one of them log in; their login file. Raises DemoError."""
    async with _asking(state_dir) as http:
        await _Staff(http, folder).logs_in(person)
    return login_file(folder, person)


def login_file(folder: Path, person: Person) -> Path:
    """Return where the login of a person is kept."""
    return folder / f"login-{person.id}.json"


def _asking(state_dir: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(state_dir / SOCKET)),
        base_url="http://desk/v1",
        timeout=TIMEOUT_S,
        trust_env=False,
    )


def _asked(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "person": person.number,
        "name": person.name,
        "roles": list(person.roles),
    }


class _Staff:
    def __init__(self, http: httpx.AsyncClient, folder: Path) -> None:
        self._http = http
        self._folder = folder

    async def enrols(self, person: Person, first: str, second: str) -> str:
        """Enrol with both halves of a code and log in; the token."""
        halves = {"first": first, "second": second}
        await self.post("/enrol", {"staff": person.id, "password": PASSWORD, **halves})
        return await self.logs_in(person)

    async def logs_in(self, person: Person) -> str:
        """Log in, and keep the login file; the token."""
        said = await self.post("/login", {"staff": person.id, "password": PASSWORD})
        token: str = said["token"]
        path = login_file(self._folder, person)
        path.touch(mode=0o600)
        path.write_text(json.dumps({"url": None, "token": token, "staff": person.id}))
        return token

    async def post(self, path: str, body: Any = None, token: str | None = None) -> dict[str, Any]:
        """Have something done, on the machine where nobody has logged in."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            response = await self._http.post(path, json=body or {}, headers=headers)
            said: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise DemoError(f"the desk did not answer: {error}") from None
        if response.is_error:
            raise DemoError(f"the desk refused {path}: {said.get('detail', '')}")
        return said
