"""The names of the Redis keys: a public contract with whoever fills the index.

Every key has a braced part of its own, so that each may live in its own cluster slot.
"""

import re

EPOCH = "index:epoch"
"""STRING `epoch:seq`: set as the last act of filling the index, asked first and last."""

REGISTRY_VERSION = "registry:version"
"""STRING: names the HASH that holds the registry in force."""


def block(prefix: str, msisdn: str) -> str:
    """SET of the companies that may not reach the customer `msisdn` (digits)."""
    return f"{prefix}block:{{{msisdn}}}"


def aside(prefix: str, msisdn: str) -> str:
    """Where a key is put that stood in the place of a customer's SET and was none."""
    return f"{prefix}aside:{{{msisdn}}}"


def approved(prefix: str, company: str) -> str:
    """SET of the sources that `company` may send groups from."""
    return f"{prefix}approved:{{{company}}}"


def registry(prefix: str, version: str) -> str:
    """HASH that holds one version of the registry."""
    return f"{prefix}registry:{version}"


def literally(prefix: str) -> str:
    """Keep SCAN from taking characters of the prefix for a pattern."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", prefix)
