"""What the sections of `smsfilter.yaml` are made of.

Every section is frozen, and so are its defaults, which are said as in the file and validated as if
they stood there. Passwords are read from files of their own, when they are needed: they never
stand in the configuration, the environment or an error.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field

from smsfilter.rules.policy import Duration, Model
from smsfilter.yamlfile import ConfigError, Place

_T = TypeVar("_T")


class Section(Model):
    """Keys of the file that belong together."""

    model_config = ConfigDict(validate_default=True)


def default(text: str, description: str) -> Any:
    """Return a field whose default is said as in the file; validated as if it stood there."""
    return Field(text, description=description)


def listed(value: object) -> object:
    """Take one value for a list of one."""
    return (value,) if isinstance(value, str) and value else value


def some(value: tuple[_T, ...]) -> tuple[_T, ...]:
    """Refuse a list of no addresses."""
    if not value:
        raise ValueError("needs one or more addresses")
    return value


def _some_time(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("must be longer than 0s")
    return value


Span = Annotated[Duration, AfterValidator(_some_time)]
Count = Annotated[int, Field(ge=1)]


def read_password(file: Path | None) -> str | None:
    """Read the password in `file`; None where no file is named. Raises ConfigError."""
    if file is None:
        return None
    place = Place(str(file))
    try:
        secret = file.read_text(encoding="utf-8").strip("\r\n")
    except OSError as error:
        raise ConfigError.at(place, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError.at(place, "a password must be UTF-8 text") from None
    if not secret:
        raise ConfigError.at(place, "the file is empty; it must hold the password")
    return secret
