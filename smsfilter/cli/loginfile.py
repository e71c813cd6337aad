"""The login of whoever runs a command: a file of their own, which nobody else may read."""

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

ENV: Final = "SMSFILTER_LOGIN"
"""Names another file."""
_OTHERS: Final = 0o077


class LoginError(Exception):
    """The file cannot be used; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who is logged in, where."""

    token: str | None
    """None: nobody, who is about to log in."""
    staff: str
    url: str | None = None
    """Of the desk; None: the socket of the configuration."""
    ca: str | None = None
    """File of whoever issued the certificate of the desk; None: the system's CAs."""


def path() -> Path:
    """Return where the login is kept."""
    if named := os.environ.get(ENV):
        return Path(named)
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "smsfilter" / "login.json"


def read() -> Login | None:
    """Return the login; None where nobody has logged in. Raises LoginError."""
    file = path()
    try:
        with file.open(encoding="utf-8") as opened:
            if os.fstat(opened.fileno()).st_mode & _OTHERS:
                raise LoginError(f"{file}: others may read it: chmod 600 {file}, and log in anew")
            said = json.load(opened)
        return Login(said["token"], said["staff"], said.get("url"), said.get("ca"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LoginError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LoginError(f"{file}: not a login: log in anew with smsfilter login") from None


def write(login: Login) -> Path:
    """Keep a login in place of the one before, whole or not at all. Raises LoginError."""
    file = path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number, name = tempfile.mkstemp(prefix=".login-", dir=file.parent)  # 0600
        with open(number, "w", encoding="utf-8") as opened:
            json.dump(asdict(login), opened)
        Path(name).replace(file)
    except OSError as error:
        raise LoginError(f"{file}: {error.strerror}") from None
    return file


def remove() -> None:
    """Forget the login. Raises LoginError."""
    file = path()
    try:
        with suppress(FileNotFoundError):
            file.unlink()
    except OSError as error:
        raise LoginError(f"{file}: {error.strerror}") from None
