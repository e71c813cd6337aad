"""What `smsfilter check` says of TLS: certificates that end, settings that protect nobody.

Files that cannot be used are errors of the configuration and found when it is read. An expired
certificate is an error here and not there: the proxy must start again after a power cut and take
over a new policy whatever the date.
"""

import time
from collections.abc import Iterator
from stat import S_IROTH
from typing import TYPE_CHECKING

from smsfilter.cli.check import Caution

if TYPE_CHECKING:
    from smsfilter.config import Loaded, Place
    from smsfilter.tls import Certificate, ClientTLS, ServerTLS


def refuse_expired(loaded: "Loaded") -> None:
    """Raise ConfigError where certificates have ended."""
    from smsfilter.config import ConfigError, Problem  # noqa: PLC0415 - start-up stays light

    now = time.time()
    problems = [
        Problem(*place, f"{one.file} has expired on {one.expires_at:%Y-%m-%d}")
        for place, one in _certificates(loaded)
        if one.expires_at.timestamp() <= now
    ]
    if problems:
        raise ConfigError(problems)


def cautions(loaded: "Loaded") -> Iterator[Caution]:
    """Name what is legal and yet seldom meant."""
    yield from _ending(loaded)
    yield from _unprotected(loaded)
    yield from _unreachable(loaded)


def _ending(loaded: "Loaded") -> Iterator[Caution]:
    from smsfilter.tls import EXPIRES_SOON_S  # noqa: PLC0415

    for place, one in _certificates(loaded):
        left_s = one.expires_at.timestamp() - time.time()
        if left_s < EXPIRES_SOON_S:
            ends = f"{one.expires_at:%Y-%m-%d}, in {int(left_s // 86_400)} days"
            yield place, f"{one.file} expires on {ends}: renew it, then `smsfilter reload`"


def _unprotected(loaded: "Loaded") -> Iterator[Caution]:
    from smsfilter.tls import ClientTLS  # noqa: PLC0415

    for loc, section in _sections(loaded):
        if isinstance(section, ClientTLS) and not section.verify:
            place = loaded.config_file.place((*loc, "verify"))
            yield place, "verify is false: anybody can pose as this SMSC and read every message"
        if section.key is not None and section.key.stat().st_mode & S_IROTH:
            place = loaded.config_file.place((*loc, "key"))
            yield place, f"{section.key} can be read by every user: chmod 640 {section.key}"


def _unreachable(loaded: "Loaded") -> Iterator[Caution]:
    """Find accounts that can bind nowhere."""
    ends = [end.tls for end in loaded.config.proxy.listen if end.tls is not None]
    if any(tls.client_ca is not None for tls in ends):
        return
    for account, own in loaded.policy.accounts.items():
        if own.certificates:
            yield (
                loaded.policy_file.place(("accounts", account, "certificates")),
                f"account '{account}' can bind nowhere: no address of proxy.listen has a client_ca",
            )


def _certificates(loaded: "Loaded") -> "Iterator[tuple[Place, Certificate]]":
    for loc, section in _sections(loaded):
        for one in section.read().certificates:
            yield loaded.config_file.place((*loc, one.key)), one


def _sections(
    loaded: "Loaded",
) -> "Iterator[tuple[tuple[str | int, ...], ServerTLS | ClientTLS]]":
    """Give the sections of the proxy and of the desk's own addresses."""
    from smsfilter.peopleconfig import secured  # noqa: PLC0415 - start-up stays light

    yield from loaded.config.proxy.secured()
    if loaded.config.desk is not None:
        yield from secured(loaded.config.desk.listen)
