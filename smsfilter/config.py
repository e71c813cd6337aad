"""What `smsfilter.yaml` may say, and the ways in which it and the policy are read.

The models are frozen and every field has a default but the three that no one can guess: where to
listen, which SMSC, which Redis. `load_config` and `load_policy` are used by the daemon at start
and at reload and by `smsfilter check`, so that all give the same verdict on a file. Passwords are
read from files of their own and never stand in the configuration, the environment or an error.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from smsfilter.ends import Listen, TCPAddress, Upstream
from smsfilter.rules.policy import Duration, Model, Policy
from smsfilter.tls import ClientTLS, FileError, ServerTLS
from smsfilter.wording import suggestion
from smsfilter.yamlfile import ConfigError, Document, Place, Problem, load_yaml, read_document

__all__ = ["ConfigError", "Document", "Place", "Problem", "load_yaml"]

_T = TypeVar("_T")
_End = TypeVar("_End", Listen, Upstream)


class _Section(Model):
    model_config = ConfigDict(validate_default=True)


def _default(text: str, description: str) -> Any:
    """Return a field whose default is said as in the file; validated as if it stood there."""
    return Field(text, description=description)


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) and value else value


def _some(value: tuple[_T, ...]) -> tuple[_T, ...]:
    if not value:
        raise ValueError("needs one or more addresses")
    return value


def _one_worker(value: object) -> int:
    if str(value) != "1":
        raise ValueError("more than one worker is not supported yet: write 1")
    return 1


def _some_time(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("must be longer than 0s")
    return value


def _one_second_at_most(value: timedelta) -> timedelta:
    if value > timedelta(seconds=1):
        raise ValueError("must be 1s or less: senders send again after 2s")
    return value


Span = Annotated[Duration, AfterValidator(_some_time)]
Count = Annotated[int, Field(ge=1)]


class Timeouts(_Section):
    """How long one state of a connection may last."""

    bind: Span = _default("10s", "from the connection to the whole bind")
    connect: Span = _default("3s", "for the SMSC to take a connection")
    partial: Span = _default("30s", "for the rest of a PDU to arrive")
    unread: Span = _default("30s", "for a peer that takes no octet of what is sent to it")
    response: Span = _default(
        "300s",
        "for the SMSC's answer to the oldest request; then both ends are closed",
    )
    idle: Duration = _default(
        "0s", "for a bound session without a PDU; 0s: for ever, which is legal"
    )
    drain: Duration = _default("10s", "for answers that are open when the program is stopped")


class Limits(_Section):
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
    memory: Annotated[int, Field(ge=0)] = Field(
        0, description="MiB that the process may take; 0: 80 % of what the kernel allows it"
    )


class ProxyConfig(_Section):
    """The SMS path: `smsfilter proxy`."""

    listen: Annotated[tuple[Listen, ...], BeforeValidator(_listed), AfterValidator(_some)] = Field(
        description='where ESMEs connect, such as ["0.0.0.0:2775"]',
        json_schema_extra={"minItems": 1},
    )
    smsc: Annotated[tuple[Upstream, ...], BeforeValidator(_listed), AfterValidator(_some)] = Field(
        description='the SMSCs, tried in order, such as ["192.0.2.1:2775"]',
        json_schema_extra={"minItems": 1},
    )
    workers: Annotated[int, BeforeValidator(_one_worker)] = Field(
        1, description="processes of the SMS path; only 1 is supported yet"
    )
    policy: Path = Field(
        Path("policy.yaml"), description="the policy file; relative to the configuration file"
    )
    admin: TCPAddress | None = _default(
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


class RedisConfig(_Section):
    """The index: where blocks, approvals and the registry are looked up."""

    url: Annotated[str, AfterValidator(_redis_url)] = Field(
        description="redis://, rediss:// (TLS), unix://, sentinel:// or embedded: (its own)"
    )
    prefix: Annotated[str, Field(pattern=r"^[^\s{}]{0,64}$")] = Field(
        "", description="what all keys begin with; no blanks, no braces"
    )
    deadline: Annotated[Span, AfterValidator(_one_second_at_most)] = _default(
        "50ms",
        "for a look-up, 1s at most; after it on_error decides",
    )
    password_file: Path | None = Field(
        None, description="a file that holds the password; relative to the configuration file"
    )

    def password(self) -> str | None:
        """Read the password; None where no file is named. Raises ConfigError."""
        if self.password_file is None:
            return None
        place = Place(str(self.password_file))
        try:
            secret = self.password_file.read_text(encoding="utf-8").strip("\r\n")
        except OSError as error:
            raise ConfigError.at(place, f"cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError.at(place, "a password must be UTF-8 text") from None
        if not secret:
            raise ConfigError.at(place, "the file is empty; it must hold the password")
        return secret


class LogConfig(_Section):
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


class Config(_Section):
    """`smsfilter.yaml`."""

    proxy: ProxyConfig = Field(description="the SMS path")
    redis: RedisConfig = Field(description="where blocks, approvals and the registry are looked up")
    state_dir: Path = Field(
        Path("/var/lib/smsfilter"),
        description="for the pid file and the embedded server; relative to the configuration file",
    )
    log: LogConfig = Field(LogConfig(), description="what is logged to standard output")


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
            "listen": tuple(_beside(each, base) for each in config.proxy.listen),
            "smsc": tuple(_beside(each, base) for each in config.proxy.smsc),
        }
    )
    if problems := list(_unusable(proxy, document)):
        raise ConfigError(problems)
    redis = config.redis
    if redis.password_file is not None:
        redis = redis.model_copy(update={"password_file": base / redis.password_file})
        try:  # found now, not at the first reconnect
            redis.password()
        except ConfigError as error:
            place = document.place(("redis", "password_file"))
            raise ConfigError.at(place, str(error)) from None
    update = {"proxy": proxy, "redis": redis, "state_dir": base / config.state_dir}
    return config.model_copy(update=update)


def _beside(end: _End, base: Path) -> _End:
    return end if end.tls is None else end.model_copy(update={"tls": end.tls.beside(base)})


def _unusable(proxy: ProxyConfig, document: Document) -> Iterator[Problem]:
    """Read the files of every tls section: found now, not at the first handshake."""
    for loc, section in proxy.secured():
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
