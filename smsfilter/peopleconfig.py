"""The part of the section `desk` that is about people: branches, the clock, how they are told."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from smsfilter.ends import TCPAddress
from smsfilter.flow.branches import HEADQUARTERS, Branch, Branches
from smsfilter.rules.policy import Model
from smsfilter.sections import Section, Span, default, listed, read_password
from smsfilter.tls import ServerTLS

_ID: Final = r"^[a-z][a-z0-9_.-]{0,31}$"
_LOOPBACK: Final = re.compile(r"127(\.\d{1,3}){3}|::1|localhost")

Prefix = Annotated[str, Field(pattern=r"^[0-9]{3,15}$")]
StaffId = Annotated[str, Field(pattern=_ID)]
"""What a person logs in with, which is theirs for ever."""


class DeskListen(Model):
    """Where the desk's API is served to staff."""

    address: TCPAddress = Field(description="host:port to listen on")
    tls: ServerTLS | None = Field(
        None, description="TLS for this address; must be set where it is not this machine's own"
    )

    @model_validator(mode="before")
    @classmethod
    def _address_alone(cls, value: object) -> object:
        return {"address": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _secured(self) -> Self:
        if self.tls is None and not _LOOPBACK.fullmatch(self.address.host):
            raise ValueError(
                f"{self.address}: whoever is on the network could read passwords and numbers there:"
                " give it tls, or listen on 127.0.0.1"
            )
        return self

    def beside(self, folder: Path) -> Self:
        """Give the end with paths relative to `folder` made absolute."""
        return (
            self if self.tls is None else self.model_copy(update={"tls": self.tls.beside(folder)})
        )


class BranchConfig(Section):
    """A branch, whose customers are told by the beginnings of their numbers."""

    name: Annotated[str, Field(min_length=1, max_length=60)] = Field(description="for people")
    parent: StaffId = Field(HEADQUARTERS, description="the branch above it; headquarters if unset")
    prefixes: Annotated[tuple[Prefix, ...], BeforeValidator(listed)] = Field(
        (), description="beginnings of its customers' numbers, with the country code"
    )
    head: StaffId | None = Field(
        None, description="the person whom a breach of the 48 hours is told to"
    )


class Deadlines(Section):
    """How long a report may wait; each counts from when it came."""

    assign: Span = default("2h", "until somebody owns its case")
    warn: Span = default("36h", "until the supervisor is warned that it is not answered")
    reply: Span = default("48h", "until the customer is answered")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.assign <= self.warn < self.reply:
            raise ValueError("has to be: assign at most warn, warn less than reply")
        return self


class WebhookConfig(Section):
    """Another program that is told of warnings, over HTTP."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] = Field(
        description="where each warning is sent to by POST, as JSON"
    )
    secret_file: Path | None = Field(
        None,
        description="a file that holds the key of the signature (HMAC-SHA-256); "
        "relative to the configuration file; no signature if unset",
    )

    def secret(self) -> str | None:
        """Read the key; None where no file is named. Raises ConfigError."""
        return read_password(self.secret_file)

    def beside(self, folder: Path) -> Self:
        """Give the section with paths relative to `folder` made absolute."""
        if self.secret_file is None:
            return self
        return self.model_copy(update={"secret_file": folder / self.secret_file})


def _make_tree(value: Mapping[str, BranchConfig]) -> Mapping[str, BranchConfig]:
    tree(value)
    return value


def tree(branches: Mapping[str, BranchConfig]) -> Branches:
    """Return the branches as a tree. Raises ValueError."""
    return Branches([Branch(id=name, **dict(each)) for name, each in branches.items()])


BranchMap = Annotated[dict[StaffId, BranchConfig], AfterValidator(_make_tree)]


def secured(listen: "tuple[DeskListen, ...]") -> Iterator[tuple[tuple[str | int, ...], ServerTLS]]:
    """Give every tls section, and where in the file it is."""
    for index, each in enumerate(listen):
        if each.tls is not None:
            yield ("desk", "listen", index, "tls"), each.tls
