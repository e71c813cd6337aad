"""What a customer's SMS to the report centre says: a report, half of one, an order, or nothing.

The public form is `NUMBER*text`. People write a blank, a colon or a line end for the star, say
"举报" or "号码：" before it, put the text first, forward what they got, or send one half only. The
text is split at the first separator, and what is quoted of it is always a slice, character for
character. Where digits at the head may as well be a price or a one-time code, the message is taken
for a text without a number, and the customer is asked: a question costs less than a wrong block.

Pure, and never raises: every str means one of the things in `meaning`.
"""

import re
from typing import Final, NamedTuple

from smsfilter.reports.meaning import (
    Appeal,
    Nonsense,
    NumberOnly,
    Parsed,
    Report,
    TextOnly,
    Why,
    Withdrawal,
)
from smsfilter.reports.orders import order_in
from smsfilter.reports.seen import Seen
from smsfilter.reports.source import (
    SOURCE_MIN,
    Kind,
    Source,
    is_glued,
    is_likely,
    is_name,
    named_number,
    named_text,
    number_at,
)
from smsfilter.rules.signatures import SIGNATURE_MOST

__all__ = [
    "HEAD_MAX",
    "Appeal",
    "Nonsense",
    "NumberOnly",
    "Parsed",
    "Report",
    "TextOnly",
    "Why",
    "Withdrawal",
    "parse",
]

HEAD_MAX: Final = 400
"""Characters in which the number has to stand: labels and a number are far shorter."""
_TAIL_MAX: Final = 100
_HEADER_MAX: Final = 20  # octets of source_addr; Chinese headers have fewer characters

# The words before the number. All patterns work on what is seen: full-width forms are ASCII here.
_LEAD: Final = r"[^\w+(\[【<“\"'「『«]*"
_FORWARD: Final = r"(?:(?:fwd?|re|转发?(?:短信)?|轉發|回复|原短信)[ ]*:[ \n]*)*"
_VERB: Final = (
    r"(?:(?:您好|你好|hello|hi)[,.!。、 \n]*)?(?:我|本人)?[要想请]*"
    r"(?:举报|投诉|检举|舉報|投訴|report(?:ing)?\b|complain(?: about)?\b|spam(?: from)?\b)"
    r"(?:一下|一个|这个|该)?(?:垃圾)?(?:短信|信息|簡訊|sms\b)?的?"
)
_NUMBER_LABEL: Final = (
    r"(?:(?:被?举报|被?舉報|被?投诉|发送|发信|发件|短信|来信|对方|垃圾短信|手机|电话|端口)?的?(?:号码|號碼|号)"
    r"|发件人|发送人|发信人|发送方|发送者|寄件者|来自|收到"
    r"|(?:sender|source|from)(?: number)?\b|number\b|no\.)(?:是|为)?"
)
_GAP: Final = r"[ \n:=,*#-]*"
_HEAD: Final = re.compile(
    rf"{_LEAD}{_FORWARD}(?P<verb>{_VERB}{_GAP})?(?P<label>{_NUMBER_LABEL}{_GAP})?", re.IGNORECASE
)

# Between the number and the text.
_TEXT_LABEL: Final = (
    r"(?:(?:举报|舉報|短信|信息|垃圾短信|发送|投诉)?的?(?:内容|內容|正文)|短信|text|content|message|body)"
    r"(?:是|为|如下)?"
)
_SEPARATOR: Final = re.compile(
    r"[)\]】>”\"'」』»]?"
    rf"(?:(?P<end>\s*$)|(?P<strong>[ \n]*[*#]|[ \n]*[,;、]?[ \n]*{_TEXT_LABEL}[ ]*[:*])[ \n]*"
    r"|(?P<weak>[ \n]*[-:,;、。|/=_~!?>][ \n]*|[ \n]+|(?=\W))|(?P<glued>))",
    re.IGNORECASE,
)
_LABELLED_TEXT: Final = re.compile(
    r"[ \n,;、*]*(?:(?:收到|接收|发送)?(?:时间|時間|日期|date|time|sent)[ ]*:[^\n]{0,40}\n[ \n]*)?"
    rf"{_TEXT_LABEL}[ ]*[:=]",
    re.IGNORECASE,
)
_SAYS_SOMETHING: Final = re.compile(r"[^\s*#.。,、:;!?()\[\]【】“”\"'「」『』<>-]")

_DIGITS_IN_GROUPS: Final = re.compile(r"\+?\d+(?: \d{1,4})+\s*")
"""A second number would be longer than a group."""

_LAST_LABEL: Final = re.compile(
    rf"[ \n,;。、.(\[*]*(?:{_NUMBER_LABEL})[ ]*[:=]?[ ]*", re.IGNORECASE
)
_SURELY_REPORTED: Final = re.compile(
    r"(?:举报|舉報|投诉|发[送信件]|寄件|来自|来信|sender|from).*(?:号|號|number|:)", re.IGNORECASE
)
_CLOSED: Final = re.compile(r"[)\]】.。,;!\s]*$")

# Stars stand in texts too, in place of digits of an account or of a name.
_HEADER: Final = re.compile(r"(?=.*[^\W\d_])[\w&+'./@ -]{2,20}", re.DOTALL)
_NO_HEADER: Final = re.compile(
    r"[您你我]|尊敬|尾号|卡号|账[户号]|帐[户号]|号码|號碼|内容|亲爱|先生|女士|\b(?:dear|your|you|the)\b",
    re.IGNORECASE,
)
_HONORIFIC: Final = re.compile(r"[*]|先生|女士|小姐|同学|老师|总\b")
_WORDS_MAX: Final = 3
_STAR: Final = re.compile(r"[*#]")
_LABELLED_END: Final = re.compile(r"[*#,;\n]|$")

_NAME: Final = rf"[【\[](?P<name>[^】\[\]\n]{{2,{SIGNATURE_MOST}}})[】\]]"
_LETTER: Final = re.compile(r"[^\W\d_]")
_SIGNED_HEAD: Final = re.compile(rf"{_NAME}(?P<star>[ \n]*[*#][ \n]*)?")
_SIGNED_TAIL: Final = re.compile(rf"{_NAME}\s*$")


class _Head(NamedTuple):
    """The words before what matters: where they end, and what they announce."""

    end: int
    is_announced: bool
    """A number or a name follows."""
    is_labelled: bool
    """With a colon."""


def _head_of(seen: Seen) -> _Head:
    found = _HEAD.match(seen.chars)
    if found is None:
        return _Head(0, False, False)
    label = found["label"] or ""
    return _Head(found.end(), bool(found["verb"] or label), ":" in label)


def parse(text: str, country_code: str = "86") -> Parsed:
    """Say what a message means; `country_code` is that of the policy."""
    seen = Seen(text, HEAD_MAX)
    nonsense = _nonsense(text, seen)
    if nonsense is not None:
        return Nonsense(nonsense)
    head = _head_of(seen)
    found = (
        order_in(seen)
        or _numbered(seen, head, country_code)
        or _number_last(seen, head, country_code)
        or _headed(seen, head, country_code)
        or _signed(seen, head, country_code)
    )
    if found is not None:
        return found
    label = _LABELLED_TEXT.match(seen.chars, head.end)
    quoted = text[seen.after(label.end()) :] if label else ""
    return TextOnly(quoted if _SAYS_SOMETHING.search(quoted) else text)


def _report(source: Source, text: str) -> Report | NumberOnly:
    return Report(source, text) if _SAYS_SOMETHING.search(text) else NumberOnly(source)


def _text_behind(seen: Seen, separator: re.Match[str]) -> str:
    """Return what follows the separator, and a label of the text if one does."""
    label = _LABELLED_TEXT.match(seen.chars, separator.end())
    return seen.text[seen.after((label or separator).end()) :]


def _nonsense(text: str, seen: Seen) -> Why | None:
    words = re.findall(r"[^\W_]", seen.chars)
    if words:
        if len(words) < 2 or ("".join(words).isdigit() and len(words) < SOURCE_MIN):
            return Why.TOO_SHORT
        return None
    if re.search(r"[^\W_]", text):
        return None  # behind a long head of something else
    visible = seen.chars.replace(" ", "").replace("\n", "")
    if not visible:
        return Why.EMPTY
    return Why.UNREADABLE if visible.count("\ufffd") * 2 >= len(visible) else Why.NO_WORDS


def _numbered(seen: Seen, head: _Head, country_code: str) -> Parsed | None:
    """Read a number at the head, and the text behind its first separator."""
    begin = head.end
    if _DIGITS_IN_GROUPS.fullmatch(seen.chars, begin):
        return _digits_alone(seen, country_code)
    number = number_at(seen.chars, begin, country_code)
    if number is None and seen.chars[begin : begin + 1] in tuple("(<[【“\"'「『«"):
        begin += 1
        number = number_at(seen.chars, begin, country_code)
    between = _SEPARATOR.match(seen.chars, number.end) if number else None
    if number is None or between is None:
        return _digits_alone(seen, country_code)
    source = named_number(seen.slice(begin, number.end), number.digits)
    if between["end"] is not None and seen.is_whole:
        return NumberOnly(source)
    following = seen.chars[between.end() :]
    if between["strong"]:
        fits = number.is_bare or len(number.digits) > SOURCE_MIN
    elif between["glued"] is not None:
        fits = is_glued(number, country_code, announced=head.is_announced)
    else:
        fits = is_likely(number, following, country_code, announced=head.is_announced)
    if not fits:
        return _digits_alone(seen, country_code)
    return _report(source, _text_behind(seen, between))


def _digits_alone(seen: Seen, country_code: str) -> NumberOnly | Nonsense | None:
    """Read a message of nothing but digits, however they are grouped."""
    if not seen.is_whole or _LETTER.search(seen.chars):
        return None
    digits = re.sub(r"[^\d+]", "", seen.chars)
    number = number_at(digits, 0, country_code)
    if number is None:
        return Nonsense(Why.NOT_A_NUMBER)
    return NumberOnly(named_number(seen.text.strip(), number.digits))


def _number_last(seen: Seen, head: _Head, country_code: str) -> Report | NumberOnly | None:
    """Read `内容：…，号码：…`: the text first, then a label and a number, and nothing behind it."""
    text = seen.text
    first = _LABELLED_TEXT.match(seen.chars, head.end)
    begin = seen.after(first.end()) if first else 0
    offset = max(begin, len(text) - _TAIL_MAX)
    tail = Seen(text[offset:])
    for label in _LAST_LABEL.finditer(tail.chars):
        if first is None and not _SURELY_REPORTED.search(label[0]):
            continue
        number = number_at(tail.chars, label.end(), country_code)
        if number is None or not _CLOSED.match(tail.chars, number.end):
            continue
        source = named_number(tail.slice(label.end(), number.end), number.digits)
        return _report(source, text[begin : offset + tail.start(label.start())])
    return None


def _headed(seen: Seen, head: _Head, country_code: str) -> Report | NumberOnly | None:
    """Read `ACME*text`: a header before the first star, or behind a label."""
    begin = head.end
    ends = _LABELLED_END if head.is_labelled else _STAR
    end = ends.search(seen.chars, begin, begin + _HEADER_MAX + 2)
    if end is None:
        return None
    name = seen.chars[begin : end.start()].rstrip()
    fits = _HEADER.fullmatch(name) and len(name.split()) <= _WORDS_MAX
    if not fits or _NO_HEADER.search(name) or _HONORIFIC.match(seen.chars, end.end()):
        return None
    written = seen.slice(begin, begin + len(name))
    if not (is_name(name, country_code) and is_name(written, country_code)):
        return None
    source = named_text(written, Kind.HEADER, country_code)
    return _report(source, _text_behind(seen, end))


def _signed(seen: Seen, head: _Head, country_code: str) -> Report | NumberOnly | None:
    """Read `【某公司】…`: the name in brackets at the head or the tail of a text.

    Followed by a star it is a header; else the whole text is quoted, its signature included.
    """
    found = _SIGNED_HEAD.match(seen.chars, head.end)
    if found is not None and _LETTER.search(found["name"]):
        name = seen.slice(*found.span("name"))
        behind = seen.text[seen.after(found.end()) :]
        if found["star"] or not _SAYS_SOMETHING.search(behind):
            is_header = found["star"] and is_name(name, country_code)
            kind = Kind.HEADER if is_header else Kind.SIGNATURE
            return _report(named_text(name, kind, country_code), behind)
        source = named_text(name, Kind.SIGNATURE, country_code)
        return Report(source, seen.text[seen.start(found.start()) :])
    tail = Seen(seen.text[-_TAIL_MAX:])
    found = _SIGNED_TAIL.search(tail.chars)
    if found is None or not _LETTER.search(found["name"]):
        return None
    name = tail.slice(*found.span("name"))
    return Report(named_text(name, Kind.SIGNATURE, country_code), seen.text)
