"""What both legs of a site are made of: plain TCP, or TLS.

Faults are the same on either, and so must be what is seen of them; tests that ask for the fixture
`legs` run on whichever they are given. With TLS the ESMEs use the daemon's own transport, because
asyncio's cannot be closed in one direction; the SMSC uses asyncio's, and wants a certificate of
the daemon.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.fakes.certificates import Authority
from tests.fakes.esme import FakeESME
from tests.fakes.smsc import FakeSMSC


class Legs:
    """Plain TCP; `secured` makes the other kind."""

    esme_tls: ssl.SSLContext | None = None
    smsc_tls: ssl.SSLContext | None = None
    _section: Mapping[str, str] | None = None
    _ca = ""

    @classmethod
    def secured(cls, directory: Path) -> Self:
        """TLS, with new certificates in `directory`."""
        authority, legs = Authority(directory), cls()
        own = authority.issue("proxy")
        legs._section, legs._ca = own.section(), str(authority.ca)
        legs.esme_tls = authority.client()
        legs.smsc_tls = authority.server_for_known(authority.issue("smsc"))
        return legs

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration of a daemon, with these legs in place of its plain addresses."""
        if self._section is None:
            return dict(config)
        upstream = {**self._section, "ca": self._ca}
        proxy = dict(config["proxy"])
        proxy["listen"] = [_with_tls(end, self._section) for end in proxy["listen"]]
        proxy["smsc"] = [_with_tls(end, upstream) for end in proxy["smsc"]]
        return {**config, "proxy": proxy}

    async def smsc(self, **options: Any) -> FakeSMSC:
        """Start an SMSC; options are those of `FakeSMSC.start`."""
        return await FakeSMSC.start(**{"tls": self.smsc_tls, **options})

    async def esme(self, port: int, **options: Any) -> FakeESME:
        """Connect an ESME; options are those of `FakeESME.connect`."""
        return await FakeESME.connect(
            port, **{"tls": self.esme_tls, "half_closing": self.esme_tls is not None, **options}
        )


PLAIN = Legs()


def _with_tls(end: Any, section: Mapping[str, str]) -> Any:
    return {"address": end, "tls": dict(section)} if isinstance(end, str) else end
