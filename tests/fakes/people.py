"""People of the staff with a login, as rows of the records: no code was made, no password asked.

A person's token follows from their id, so that each test and each program of it knows the same one.
Their session does not end while a test lets days go by; what ends sessions is tested on real ones.
"""

import base64
import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from smsfilter.desk.office import now_us
from smsfilter.desk.vault import Vault
from smsfilter.flow.branches import HEADQUARTERS
from smsfilter.flow.rights import Role
from smsfilter.store.records import Records
from smsfilter.store.schema import session, staff

EVERYTHING: Final = tuple(Role)
"""Every role at once."""
DEFAULT: Final = "wang.fang"
"""Who acts where a test does not say who does."""
OTHER: Final = "zhao.lei"
"""Who releases what they ask for."""
LOGIN_ENV: Final = "SMSFILTER_LOGIN"
"""Names the login file of a command."""
PASSWORD: Final = "a horse in the paddy field"
PASSWORD_HASH: Final = (
    "$argon2id$v=19$m=8,t=1,p=1$pjVJjAXjO2RcgmCJt9gu3g$xi7b4dDJzzBUNEHfTLcnUu48ZW1wsk/reVrSIjk1rBQ"
)
"""Of PASSWORD, made with as little work as the algorithm allows."""
_LONG_US: Final = 10 * 365 * 86_400_000_000


def token_of(staff_id: str) -> str:
    """The token of a person's login."""
    digest = hashlib.sha256(f"token of {staff_id}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def bearer(staff_id: str) -> dict[str, str]:
    """The header by which a person is known."""
    return {"Authorization": f"Bearer {token_of(staff_id)}"}


def hire(
    connection: Connection,
    staff_id: str = DEFAULT,
    roles: Collection[str] = EVERYTHING,
    branch: str = HEADQUARTERS,
    *,
    now: int | None = None,
    vault: Vault | None = None,
    phone: str | None = None,
    **over: Any,
) -> str:
    """Make an active person with a login, or make theirs anew; their token.

    `phone` (E.164 digits) needs a `vault`; `over` are other values of their row.
    """
    at = now_us() if now is None else now
    sealed = None
    if phone is not None:
        assert vault is not None, "a phone number is sealed"
        sealed = vault.close(phone.encode(), "staff", "phone_enc", staff_id)
    values = {
        "id": staff_id,
        "person": f"no-{staff_id}",
        "name": staff_id.replace(".", " ").title(),
        "branch": branch,
        "roles": " ".join(sorted(roles)),
        "phone_enc": sealed,
        "state": "active",
        "pw_hash": PASSWORD_HASH,
        "added_by": "maker.one",
        "approved_by": "maker.two",
        "added_at": at,
        "changed_seq": 0,
    }
    values |= over
    if connection.scalar(select(staff.c.id).where(staff.c.id == staff_id)) is None:
        connection.execute(insert(staff).values(values))
    else:
        connection.execute(update(staff).where(staff.c.id == staff_id).values(values))
    log_in(connection, staff_id, at)
    return token_of(staff_id)


def log_in(connection: Connection, staff_id: str, at: int) -> None:
    """Make the session of a person that is there, or make it anew."""
    token_hash = hashlib.sha256(token_of(staff_id).encode()).hexdigest()
    connection.execute(delete(session).where(session.c.token_hash == token_hash))
    connection.execute(
        insert(session).values(
            token_hash=token_hash,
            staff=staff_id,
            issued_at=at,
            idle_until=at + _LONG_US,
            expires_at=at + _LONG_US,
            origin="test",
        )
    )


def hired(
    records: Records | str,
    staff_id: str = DEFAULT,
    roles: Collection[str] = EVERYTHING,
    branch: str = HEADQUARTERS,
    **over: Any,
) -> str:
    """The same in records (or at their URL) that a desk may be working with meanwhile."""
    of = Records(records) if isinstance(records, str) else records
    try:
        with of.to_write() as connection, connection.begin():
            return hire(connection, staff_id, roles, branch, **over)
    finally:
        if of is not records:
            of.close()


def two(records: Records | str) -> Sequence[str]:
    """Hire DEFAULT and OTHER, who can do everything, and all that needs two; their tokens."""
    return [hired(records, DEFAULT), hired(records, OTHER)]


def login_file(folder: Path, staff_id: str = DEFAULT, url: str | None = None) -> Path:
    """Write the login file of a person for commands; `url` None is the socket of the desk."""
    path = folder / f"login-{staff_id}.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"url": url, "token": token_of(staff_id), "staff": staff_id}))
    return path
