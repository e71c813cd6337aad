"""What `smsfilter.yaml` may say, and the ways in which it and the policy are read.

The models are frozen and every field has a default but the three that no one can guess: where to
listen, which SMSC, which Redis. `load_config` and `load_policy` are used by the daemon at start
and at reload and by `smsfilter check`, so that all give the same verdict on a file. The sections
that only the desk reads are in deskconfig.py; `desk_problems` is its verdict on their files.
"""

import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field

from smsfilter.deskconfig import DeskConfig, RecordsConfig
from smsfilter.ends import Listen, TCPAddress, Upstream
from smsfilter.peopleconfig import secured
from smsfilter.rules.policy import Duration, Policy
from smsfilter.sections import Count, Section, Span, default, listed, read_password, some
from smsfilter.tls import ClientTLS, FileError, ServerTLS
from smsfilter.wording import suggestion
from smsfilter.yamlfile import ConfigError, Document, Place, Problem, load_yaml, read_document

__all__ = ["ConfigError", "Document", "Place", "Problem", "load_yaml"]


def _one_worker(value: object) -> int:
    if str(value) != "1":
        raise ValueError("more than one worker is not supported yet: write 1")
    return 1


def _one_second_at_most(value: timedelta) -> timedelta:
    if value > timedelta(seconds=1):
        raise ValueError("must be 1s or less: senders send again after 2s")
    return value


class Timeouts(Section):
    """How long one state of a connection may last."""

    bind: Span = default("10s", "from the connection to the whole bind")
    connect: Span = default("3s", "for the SMSC to take a connection")
    partial: Span = default("30s", "for the rest of a PDU to arrive")
    unread: Span = default("30s", "for a peer that takes no octet of what is sent to it")
    response: Span = default(
        "300s",
        "for the SMSC's answer to the oldest request; then both ends are closed",
    )
    idle: Duration = default(
        "0s", "for a bound session without a PDU; 0s: for ever, which is legal"
    )
    drain: Duration = default("10s", "for answers that are open when the program is stopped")


class Limits(Section):
    """What one peer may take, at most."""

    pdu: Annotated[int, Field(ge=16, le=1 << 24)] = Field(
        70_000, description="octets of a PDU; 70000 holds a full message_payload"
    )
    pdu_before_bind: Annotated[int, Field(ge=16, le=1 << 24)] = Field(
        1_024, description="octets of a PDU before the bind: no legal bind is longer"
    )
    bind_password_max: Count = Field(8, description="octets of a bind's password (SMPP v3.4 §4.1)")
    per_ip: Count = Field(256, description="connections from one IP address")
    sessions: Count = Field(10_000, description="connections in all")
    handshakes: Count = Field(256, description="TLS handshakes of ESMEs under way at once")
    memory: Annotated[int, Field(ge=0)] = Field(
        0, description="MiB that the process may take; 0: 80 % of what the kernel allows it"
    )


class ProxyConfig(Section):
    """The SMS path: `smsfilter proxy`."""

    listen: Annotated[tuple[Listen, ...], BeforeValidator(listed), AfterValidator(some)] = Field(
        description='where ESMEs connect, such as ["0.0.0.0:2775"]',
        json_schema_extra={"minItems": 1},
    )
    smsc: Annotated[tuple[Upstream, ...], BeforeValidator(listed), AfterValidator(some)] = Field(
        description='the SMSCs, tried in order, such as ["192.0.2.1:2775"]',
        json_schema_extra={"minItems": 1},
    )
    workers: Annotated[int, BeforeValidator(_one_worker)] = Field(
        1, description="processes of the SMS path; only 1 is supported yet"
    )
    policy: Path = Field(
        Path("policy.yaml"), description="the policy file; relative to the configuration file"
    )
    admin: TCPAddress | None = default(
        "127.0.0.1:9775",
        "where /metrics, /livez, /readyz and /status are served; null: nowhere",
    )
    timeouts: Timeouts = Field(Timeouts(), description="how long a state may last")
    limits: Limits = Field(Limits(), description="what a peer may take, at most")

    def secured(self) -> Iterator[tuple[tuple[str | int, ...], ServerTLS | ClientTLS]]:
        """Give every tls section, and where in the file it is."""
        for index, listen in enumerate(self.listen):
            if listen.tls is not None:
                yield ("proxy", "listen", index, "tls"), listen.tls
        for index, upstream in enumerate(self.smsc):
            if upstream.tls is not None:
                yield ("proxy", "smsc", index, "tls"), upstream.tls


_NODE = r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?"
_REDIS_URL = re.compile(
    rf"rediss?://{_NODE}(/\d*)?(\?.*)?|unix:///[^?]+(\?.*)?|embedded:"
    rf"|sentinel://{_NODE}(,{_NODE})*/[^/?]+(/\d+)?(\?.*)?",
    re.ASCII,
)


def _redis_url(value: str) -> str:
    scheme, found, rest = value.partition("://")
    if scheme == "cluster":
        raise ValueError("cluster:// is not supported yet; use redis:// or sentinel://")
    user, _, place = rest.rpartition("@")
    if ":" in user:
        raise ValueError("no password in the URL: put it in a file named by redis.password_file")
    if not _REDIS_URL.fullmatch(scheme + found + place):
        raise ValueError(
            "not a URL of a Redis; write redis://host:6379/0, rediss://host:6379/0, "
            "unix:///path/to/socket, sentinel://host:26379,host:26379/name/0 or embedded:"
        )
    return value


class RedisConfig(Section):
    """The index: where blocks, approvals and the registry are looked up."""

    url: Annotated[str, AfterValidator(_redis_url)] = Field(
        description="redis://, rediss:// (TLS), unix://, sentinel:// or embedded: (its own)"
    )
    prefix: Annotated[str, Field(pattern=r"^[^\s{}]{0,64}$")] = Field(
        "", description="what all keys begin with; no blanks, no braces"
    )
    deadline: Annotated[Span, AfterValidator(_one_second_at_most)] = default(
        "50ms",
        "for a look-up, 1s at most; after it on_error decides",
    )
    password_file: Path | None = Field(
        None, description="a file that holds the password; relative to the configuration file"
    )
    replicas: Annotated[int, Field(ge=0, le=8)] = Field(
        0, description="how many replicas must have a block before the desk says it is in force"
    )

    def password(self) -> str | None:
        """Read the password; None where no file is named. Raises ConfigError."""
        return read_password(self.password_file)


class LogConfig(Section):
    """What is logged to standard output."""

    format: Literal["json", "console"] = Field(
        "json", description="json: one object a line; console: for people"
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least that is logged"
    )
    decisions: Annotated[str, Field(pattern=r"^(refused|all|sample:[1-9][0-9]{0,8})$")] = Field(
        "refused", description="which verdicts: refused, all, or one in N: sample:N"
    )


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).strip("._-")[:63] or "proxy"


class DecisionsConfig(Section):
    """The records of every verdict, under `state_dir/decisions`."""

    record: bool = Field(True, description="whether verdicts are put on record")
    keep: Span = default("180d", "for which they are kept")
    on_full: Literal["pass", "temporary"] = Field(
        "pass",
        description="while the disk takes none: pass lets messages go, and counts them as lost; "
        "temporary puts them off (0x58)",
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] = Field(
        default_factory=_host, description="of this proxy in its records; the host's by default"
    )


class Config(Section):
    """`smsfilter.yaml`."""

    proxy: ProxyConfig = Field(description="the SMS path")
    redis: RedisConfig = Field(description="where blocks, approvals and the registry are looked up")
    state_dir: Path = Field(
        Path("/var/lib/smsfilter"),
        description="for the pid file, the decision records, their key and the embedded server; "
        "relative to the configuration file",
    )
    decisions: DecisionsConfig = Field(
        DecisionsConfig(), description="the records of every verdict"
    )
    log: LogConfig = Field(LogConfig(), description="what is logged to standard output")
    records: RecordsConfig = Field(RecordsConfig(), description="the records of the desk")
    desk: DeskConfig | None = Field(
        None, description="what people do; unset where only the proxy runs"
    )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and its policy, with the places of what they say."""

    config: Config
    policy: Policy
    config_file: Document
    policy_file: Document


def load(path: Path | str, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read the configuration and the policy that it names; ConfigError holds what is wrong in both.

    The daemon at start and at reload and `smsfilter check` call this, so that they agree.
    """
    document = _open_config(Path(path), environ)
    config, problems = None, []
    try:
        config = _config(document, Path(path))
        policy_path = config.proxy.policy
    except ConfigError as error:
        problems += error.problems
        named = document.get(("proxy", "policy"))
        policy_path = Path(path).absolute().parent / (named or "policy.yaml")
    try:
        policy, policy_file = _policy(policy_path)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if config is None:
        raise ConfigError(problems)
    return Loaded(config, policy, document, policy_file)


def load_config(path: Path | str, environ: Mapping[str, str] | None = None) -> Config:
    """Read `smsfilter.yaml`; paths in it are made absolute, relative to it. Raises ConfigError."""
    return _config(_open_config(Path(path), environ), Path(path))


def desk_problems(config: Config, document: Document) -> Iterator[Problem]:
    """Read the files that only the desk needs, and say which of them cannot be used.

    They may belong to another user or host than those of the proxy.
    """
    if config.desk is None:
        return
    centre = config.desk.report_centre
    yield from _unusable(centre.secured(), document)
    yield from _unusable(secured(config.desk.listen), document)
    for loc, password in (
        (("desk", "report_centre", "password_file"), centre.password),
        (("records", "password_file"), config.records.password),
        (("records", "owner_password_file"), config.records.owner_password),
    ):
        try:
            password()
        except ConfigError as error:
            yield Problem(*document.place(loc), str(error))


def load_policy(path: Path | str) -> Policy:
    """Read the policy file. Raises ConfigError."""
    return _policy(Path(path))[0]


def _open_config(path: Path, environ: Mapping[str, str] | None) -> Document:
    document = read_document(path)
    document.override(os.environ if environ is None else environ)
    return document


def _config(document: Document, path: Path) -> Config:
    config = document.validate(Config)
    base = path.absolute().parent
    proxy = config.proxy.model_copy(
        update={
            "policy": base / config.proxy.policy,
            "listen": tuple(each.beside(base) for each in config.proxy.listen),
            "smsc": tuple(each.beside(base) for each in config.proxy.smsc),
        }
    )
    if problems := list(_unusable(proxy.secured(), document)):
        raise ConfigError(problems)
    redis = config.redis
    if redis.password_file is not None:
        redis = redis.model_copy(update={"password_file": base / redis.password_file})
        try:  # found now, not at the first reconnect
            redis.password()
        except ConfigError as error:
            place = document.place(("redis", "password_file"))
            raise ConfigError.at(place, str(error)) from None
    return config.model_copy(
        update={
            "proxy": proxy,
            "redis": redis,
            "state_dir": base / config.state_dir,
            "records": config.records.beside(base),
            "desk": config.desk and config.desk.beside(base),
        }
    )


def _unusable(
    secured: Iterable[tuple[tuple[str | int, ...], ServerTLS | ClientTLS]], document: Document
) -> Iterator[Problem]:
    """Read the files of every tls section: found now, not at the first handshake."""
    for loc, section in secured:
        try:
            section.read()
        except FileError as error:
            yield Problem(*document.place((*loc, error.key)), str(error))


def _policy(path: Path) -> tuple[Policy, Document]:
    document = read_document(path)
    policy = document.validate(Policy)
    try:
        ZoneInfo(policy.timezone)
    except (KeyError, ValueError, OSError):  # unknown, not a name, the name of a folder
        near = suggestion(policy.timezone, available_timezones())
        message = f"no such timezone: {policy.timezone!r}{near or '; one is Asia/Shanghai'}"
        raise ConfigError.at(document.place(("timezone",)), message) from None
    return policy, document
