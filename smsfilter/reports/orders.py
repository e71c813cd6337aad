"""What customers order about a report they have made: to take it back, or to look at it again."""

import re
from typing import Final

from smsfilter.reports import ids
from smsfilter.reports.meaning import Appeal, Withdrawal
from smsfilter.reports.seen import Seen

_OBJECT: Final = (
    r"(?:举报|舉報|投诉|屏蔽|拦截|report)?[ ,、]*的?(?:编号|編號|号码|号|id\b|no\.?)?(?:是|为)?"
)
_ID: Final = r"[\s:*#.,“\"'({<\[-]*(?:对于?)?(?P<id>\d(?:[ -]?\d)*)?"
_WITHDRAW: Final = r"撤销|撤消|撤回|撤銷|取消|解除|cx|withdraw|cancel|undo"
_APPEAL: Final = r"申诉|申訴|异议|異議|appeal"
_ORDER: Final = re.compile(
    rf"[\W_]*(?:我?[要想请有]*)(?:(?P<withdraw>{_WITHDRAW})|(?P<appeal>{_APPEAL}))\s*{_OBJECT}{_ID}",
    re.IGNORECASE,
)
_ORDER_BEHIND: Final = re.compile(
    rf"[\W_]*(?:编号|編號)?[ :]*(?P<id>\d(?:[ -]?\d)*)[\s,]*"
    rf"(?:(?P<withdraw>{_WITHDRAW})|(?P<appeal>{_APPEAL}))",
    re.IGNORECASE,
)
"""The order behind the number, as in `101撤销`."""

_PAUSE: Final = re.compile(r"[ \n,.;:。、*#-]*")
_NOTHING_MORE: Final = re.compile(
    # possessive: what may be read in several ways is not tried in all of them
    r"[\W_]*+(?:的?(?:举报|舉報|投诉|屏蔽|report)|多?谢+|thank you|thanks?|please|吧|了)*+[\W_]*$",
    re.IGNORECASE,
)


def order_in(seen: Seen) -> Withdrawal | Appeal | None:
    """Read `撤销ID`, `申诉ID` and their like; None where the message is neither.

    With the number of a report anything may follow; without one the order has to stand alone, as
    offending texts begin with such words too.
    """
    found = _ORDER.match(seen.chars) or _ORDER_BEHIND.match(seen.chars)
    if found is None:
        return None
    typed = found["id"] or ""
    end = found.end()
    if typed and found.re is _ORDER and ids.read(typed) is None:
        tight = re.match(r"\d+", typed)
        if tight and ids.read(tight[0]) is not None:
            typed, end = tight[0], found.start("id") + tight.end()
    number = ids.read(typed)
    is_alone = seen.is_whole and _NOTHING_MORE.match(seen.chars, end) is not None
    if not (is_alone or number) or (found.re is _ORDER_BEHIND and not (is_alone and number)):
        return None
    start = found.start("id")
    written = seen.slice(start, start + len(typed)) if typed else ""
    if found["withdraw"]:
        return Withdrawal(number, written)
    pause = _PAUSE.match(seen.chars, end)
    reason = seen.text[seen.after(pause.end() if pause else end) :]
    return Appeal(number, written, "" if is_alone else reason)
