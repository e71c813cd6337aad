"""Who does what the ledger says: in which role, and through which door."""

from typing import NamedTuple


class Actor(NamedTuple):
    """Whoever acts, as text: nothing refers to a table of people, who come and go."""

    name: str
    """`staff:<id>`, `local:<os user>`, `sms:<customer id>` or `system:<job>`."""
    role: str
    origin: str
    """The door: socket, an IP address, sms, desk, command."""


def system(job: str) -> Actor:
    """The desk itself, at one of its jobs."""
    return Actor(f"system:{job}", "system", "desk")


def by_sms(customer_id: str) -> Actor:
    """A customer, by SMS to the report centre."""
    return Actor(f"sms:{customer_id}", "customer", "sms")


def local(user: str, origin: str = "socket") -> Actor:
    """A user of the machine that the desk runs on."""
    return Actor(f"local:{user}", "operator", origin)
