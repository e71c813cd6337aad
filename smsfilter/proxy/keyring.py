"""The TLS contexts in force, what is told of their certificates, and who is warned when they end.

Handshakes use what was taken last; sessions that stand keep what they began with. The files are
those of the configuration the proxy was started with: a reload reads them anew, all or none.
"""

import ssl
import time
from collections.abc import Iterable, Iterator

from smsfilter import log
from smsfilter.config import ProxyConfig
from smsfilter.metrics import Metrics
from smsfilter.tls import EXPIRES_SOON_S, Certificate, ClientTLS, Credentials, ServerTLS

SAY_EVERY_S = 86_400.0

Read = dict[ServerTLS | ClientTLS, Credentials]


class Keyring:
    """Contexts by the section of the configuration that asks for them."""

    def __init__(self, config: ProxyConfig, metrics: Metrics) -> None:
        self._sections = {section for _, section in config.secured()}
        self._metrics = metrics
        self._said_at: float | None = None
        self._in_force: Read = {}
        self.take(self.read())

    def context(self, section: ServerTLS | ClientTLS) -> ssl.SSLContext:
        """For the next handshake."""
        return self._in_force[section].context

    def read(self) -> Read:
        """Read all files. Raises `tls.FileError`. Changes nothing; may run in a thread."""
        return {section: section.read() for section in self._sections}

    def take(self, read: Read) -> None:
        """Let the next handshakes use these."""
        old = set(_certificates(self._in_force.values()))
        self._in_force = read
        ends: dict[str, float] = {}
        for one in _certificates(read.values()):
            at = one.expires_at.timestamp()
            ends[one.role] = min(at, ends.get(one.role, at))
            if one not in old:
                log.get().info("certificate_loaded", **_shown(one))
        self._metrics.certificates = ends
        self._said_at = None

    def tick(self, now: float) -> None:
        """Say once a day which certificates end soon; `now` is in monotonic seconds."""
        if self._said_at is not None and now - self._said_at < SAY_EVERY_S:
            return
        self._said_at = now
        for one in _certificates(self._in_force.values()):
            left_s = one.expires_at.timestamp() - time.time()
            if left_s <= 0:
                log.get().error("certificate_expired", **_shown(one))
            elif left_s < EXPIRES_SOON_S:
                days = int(left_s // 86_400)
                log.get().warning("certificate_expires_soon", days_left=days, **_shown(one))


def _certificates(read: Iterable[Credentials]) -> Iterator[Certificate]:
    """Each once, though several sections may name it."""
    yield from dict.fromkeys(one for each in read for one in each.certificates)


def _shown(one: Certificate) -> dict[str, str]:
    return {
        "role": one.role,
        "file": str(one.file),
        "expires": one.expires_at.isoformat(),
        "sha256": one.fingerprint,
    }
