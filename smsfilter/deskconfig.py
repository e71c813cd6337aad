"""The sections of `smsfilter.yaml` that the desk reads: its records and the report centre.

The SMS path needs neither, and a host of the proxy alone need not have their files: they are read
by `smsfilter desk` and by `smsfilter check`, not when the configuration is loaded.
"""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from smsfilter.ends import TCPAddress, Upstream
from smsfilter.peopleconfig import BranchMap, Deadlines, DeskListen, WebhookConfig
from smsfilter.sections import Section, Span, default, listed, read_password, some
from smsfilter.tls import ClientTLS
from smsfilter.yamlfile import ConfigError, Place

SOCKET: Final = "desk.sock"
"""The UNIX socket in state_dir on which the desk answers its commands."""
_PASSWORD_MOST: Final = 64
"""Octets. SMPP v3.4 §4.1 has 8; sites have longer ones, and the codec takes so many."""

_SQLITE: Final = re.compile(r"sqlite:///[^?#\s]+")
_POSTGRESQL: Final = re.compile(
    r"postgresql://([\w.%-]+@)?(\[[0-9A-Fa-f:.]+\]|[\w.-]+)?(:\d{1,5})?/[\w.%-]+(\?[^#\s]+)?",
    re.ASCII,
)
_NO_PASSWORD: Final = "no password in the URL: put it in a file of its own (records.password_file)"  # noqa: S105


def _records_url(value: str) -> str:
    if _SQLITE.fullmatch(value):
        return value
    user, at, _ = value.partition("://")[2].rpartition("@")
    if (at and ":" in user) or "password" in parse_qs(urlsplit(value).query):
        raise ValueError(_NO_PASSWORD)
    if not _POSTGRESQL.fullmatch(value):
        raise ValueError(
            "not a URL of records; write sqlite:///var/lib/smsfilter/records.db or "
            "postgresql://user@host:5432/database"
        )
    return value


def _owner_url(value: str) -> str:
    if value.startswith("sqlite:"):
        raise ValueError("only the tables of postgresql:// have an owner beside the desk")
    return _records_url(value)


class RecordsConfig(Section):
    """The records: reports, cases, blocks, companies and the ledger."""

    url: Annotated[str, AfterValidator(_records_url)] | None = Field(
        None,
        description="sqlite:///absolute/path or postgresql://; records.db in state_dir if unset",
    )
    password_file: Path | None = Field(
        None,
        description="a file that holds the password of postgresql://; "
        "relative to the configuration file",
    )

    owner_url: Annotated[str, AfterValidator(_owner_url)] | None = Field(
        None,
        description="postgresql:// of the role that owns the tables, which is not the desk's; "
        "used by `desk init` and `desk migrate` alone",
    )
    owner_password_file: Path | None = Field(
        None,
        description="a file that holds the password of that role; "
        "relative to the configuration file",
    )

    def sqlite_file(self, state_dir: Path) -> Path | None:
        """Where the records are as a file; None where they are in PostgreSQL.

        The path of the URL is absolute, with three slashes as with four.
        """
        if self.url is None:
            return state_dir / "records.db"
        if not self.url.startswith("sqlite:"):
            return None
        return Path("/") / self.url.removeprefix("sqlite:").lstrip("/")

    def password(self) -> str | None:
        """Read the password; None where no file is named. Raises ConfigError."""
        return read_password(self.password_file)

    def owner_password(self) -> str | None:
        """Read the password of the owner; None where no file is named. Raises ConfigError."""
        return read_password(self.owner_password_file)

    def beside(self, folder: Path) -> Self:
        """Give the section with paths relative to `folder` made absolute."""
        files = {name: getattr(self, name) for name in ("password_file", "owner_password_file")}
        named = {name: folder / file for name, file in files.items() if file is not None}
        return self.model_copy(update=named)


class CentreTimeouts(Section):
    """How long the report centre waits for its SMSC."""

    connect: Span = default("3s", "for one SMSC to take a connection")
    bind: Span = default("10s", "for the answer to the bind")
    enquire_link: Span = default("30s", "of silence, after which the SMSC is asked if it is there")
    response: Span = default("30s", "for an answer; an SMSC that is silent for so long is closed")
    drain: Span = default("10s", "for what is under way when the program is stopped")


_Octet = Annotated[int, Field(ge=0, le=255)]


class ReportCentreConfig(Section):
    """The bind of the short code that customers send their reports to."""

    smsc: Annotated[tuple[Upstream, ...], BeforeValidator(listed), AfterValidator(some)] = Field(
        description='the SMSCs, tried in order, such as ["192.0.2.1:2775"]',
        json_schema_extra={"minItems": 1},
    )
    system_id: Annotated[str, Field(pattern=r"^[!-~]{1,15}$")] = Field(
        description="the account at the SMSC; 1 to 15 characters"
    )
    password_file: Path | None = Field(
        None,
        description="a file that holds the password of the bind; "
        "relative to the configuration file; no password if unset",
    )
    system_type: Annotated[str, Field(pattern=r"^[ -~]{0,12}$")] = Field(
        "", description="what some SMSCs want to be told at the bind; at most 12 characters"
    )
    address: Annotated[str, Field(pattern=r"^[0-9]{3,20}$")] = Field(
        "10086999", description="the short code; 3 to 20 digits"
    )
    address_ton: _Octet = Field(0, description="its type of number (SMPP v3.4 §5.2.5)")
    address_npi: _Octet = Field(1, description="its numbering plan (SMPP v3.4 §5.2.6)")
    window: Annotated[int, Field(ge=1, le=1000)] = Field(
        10, description="SMS that may wait for the SMSC's answer"
    )
    timeouts: CentreTimeouts = Field(
        CentreTimeouts(), description="how long the SMSC is waited for"
    )

    def password(self) -> bytes:
        """Read the password of the bind; empty where no file is named. Raises ConfigError."""
        octets = (read_password(self.password_file) or "").encode()
        if len(octets) > _PASSWORD_MOST or 0 in octets:
            place = Place(str(self.password_file))
            raise ConfigError.at(place, f"not a password of 1 to {_PASSWORD_MOST} octets")
        return octets

    def secured(self) -> Iterator[tuple[tuple[str | int, ...], ClientTLS]]:
        """Give every tls section, and where in the file it is."""
        for index, upstream in enumerate(self.smsc):
            if upstream.tls is not None:
                yield ("desk", "report_centre", "smsc", index, "tls"), upstream.tls

    def beside(self, folder: Path) -> Self:
        """Give the section with paths relative to `folder` made absolute."""
        update: dict[str, object] = {"smsc": tuple(one.beside(folder) for one in self.smsc)}
        if self.password_file is not None:
            update["password_file"] = folder / self.password_file
        return self.model_copy(update=update)


def _once(value: "tuple[ProxyRecords, ...]") -> "tuple[ProxyRecords, ...]":
    """Refuse a proxy, or a folder, that is named twice."""
    for name in ("proxy", "path"):
        found = [getattr(one, name) for one in value]
        twice = next((one for one in found if found.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"{name} {twice} is there twice")
    return value


class ProxyRecords(Section):
    """The decision records of one proxy, where it writes them, or a copy of them."""

    proxy: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] = Field(
        description="its name in the records: decisions.name of its configuration"
    )
    path: Path = Field(description="the folder; relative to the configuration file")
    key: Path | None = Field(
        None,
        description="the key of its records; state_dir/keys/decisions/PROXY.key if unset; "
        "relative to the configuration file",
    )
    since: date | None = Field(
        None, description="the day on which it went into service: before it owes no records"
    )

    def beside(self, folder: Path) -> Self:
        """Give the section with paths relative to `folder` made absolute."""
        key = None if self.key is None else folder / self.key
        return self.model_copy(update={"path": folder / self.path, "key": key})


ServiceNumber = Annotated[str, Field(pattern=r"^[0-9]{3,20}$")]


class DeskConfig(Section):
    """What people do: `smsfilter desk`."""

    report_centre: ReportCentreConfig = Field(description="the short code for reports")
    replies: Path = Field(
        Path("replies.yaml"),
        description="the texts sent to customers; relative to the configuration file",
    )
    listen: Annotated[tuple[DeskListen, ...], BeforeValidator(listed)] = default(
        "127.0.0.1:8776", "where staff reach the API; none: []"
    )
    branches: BranchMap = Field(
        {}, description="the branches, by their ids; without any all is headquarters'"
    )
    deadlines: Deadlines = Field(Deadlines(), description="how long a report may wait")
    webhook: WebhookConfig | None = Field(
        None, description="another program that is told of warnings"
    )
    admin: TCPAddress | None = default(
        "127.0.0.1:8775", "where /metrics, /livez and /readyz are served; null: nowhere"
    )
    never_block: Annotated[tuple[ServiceNumber, ...], BeforeValidator(listed)] = Field(
        ("110", "119", "120", "122", "12110", "12379", "12381", "96110", "10086999"),
        description="numbers that a report never blocks; the short code is always one of them",
    )
    decisions: Annotated[tuple[ProxyRecords, ...], AfterValidator(_once)] | None = Field(
        None,
        description="the records of every proxy that could let a message through; "
        "those of the proxy beside the desk if unset",
    )

    def unblockable(self) -> frozenset[str]:
        """Give the numbers that a report never blocks."""
        return frozenset((*self.never_block, self.report_centre.address))

    def beside(self, folder: Path) -> Self:
        """Give the section with paths relative to `folder` made absolute."""
        return self.model_copy(
            update={
                "report_centre": self.report_centre.beside(folder),
                "replies": folder / self.replies,
                "listen": tuple(each.beside(folder) for each in self.listen),
                "webhook": self.webhook and self.webhook.beside(folder),
                "decisions": self.decisions
                and tuple(each.beside(folder) for each in self.decisions),
            }
        )
