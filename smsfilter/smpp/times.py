"""SMPP's own notation of times: YYMMDDhhmmsstnnp (SMPP v3.4 §7.1.1).

The caller passes the present as an argument; nothing here reads a clock.
"""

from datetime import UTC, datetime, timedelta

from smsfilter.smpp.errors import Malformed


def seconds_ahead(octets: bytes, now: float) -> float:
    """How many seconds after `now` (Unix time) the 16 octets of a time point to.

    Negative for a moment that has passed. Raises Malformed when they are not a time.
    """
    text = octets.decode("ascii", "replace")
    digits, sign = text[:15], text[15:]
    if len(text) != 16 or not digits.isascii() or not digits.isdigit() or sign not in "+-R":
        raise Malformed("not a time of the form YYMMDDhhmmsstnnp")
    year, month, day, hour, minute, second = (int(digits[i : i + 2]) for i in range(0, 12, 2))
    tenth, quarters = int(digits[12]), int(digits[13:15])
    if sign == "R":
        days = year * 365 + month * 30 + day
        return timedelta(days=days, hours=hour, minutes=minute, seconds=second).total_seconds()
    try:
        local = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise Malformed(f"not a time: {error}") from None
    offset = timedelta(minutes=15 * quarters)
    utc = local - offset if sign == "+" else local + offset
    return utc.timestamp() + tenth / 10 - now
