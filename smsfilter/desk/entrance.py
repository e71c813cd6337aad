"""Who comes in: what the API knows of whoever asks, and what it needs to be told of them."""

from dataclasses import dataclass
from typing import Protocol

from smsfilter.flow.branches import HEADQUARTERS
from smsfilter.flow.rights import Right
from smsfilter.ledger.actor import Actor


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody who is known: a person of the staff, or a user of the machine."""

    name: str
    """As the ledger has it: `staff:li.wei`, `local:root`."""
    roles: frozenset[str]
    origin: str
    """The door they came by: `socket`, or their IP address."""
    branch: str = HEADQUARTERS
    """Whose customers they may see, with those of the branches below it."""
    staff: str | None = None
    """The id of the person; None for a user of the machine."""

    def as_(self, role: str) -> Actor:
        """Return them as whoever acts in a role."""
        return Actor(self.name, role, self.origin)


class Entrance(Protocol):
    """Tells who asks, and notes who asked for more than they may."""

    async def identify(self, token: str | None, client: str) -> Asker | None:
        """Return who asks: by the token of their login, else by the door; None: nobody knows.

        `client` is `uid:0` on the UNIX socket and an IP address on TCP. Raises Problem for a token
        that is not valid.
        """

    async def denied(self, asker: Asker, right: Right, path: str) -> None:
        """Somebody asked for what their roles do not allow; `path` is that of the route."""
