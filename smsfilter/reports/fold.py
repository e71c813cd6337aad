"""Folding of texts: two that differ only in digits, links, blanks or signs become the same.

Senders change a code, a link or a full stop in each copy of one text, or write it in other widths,
so that copies look unlike. What is left of a text is its letters. Pure.
"""

import re
import unicodedata
from typing import Final

LEAST: Final = 8
"""Letters below which a text says too little to know it again: "ok", "hello", a name alone."""

_TLD: Final = (
    "asia|biz|buzz|cc|cn|club|co|com|edu|fun|gov|hk|icu|in|info|ink|io|link|live|ltd|me|mobi|mom|"
    "net|one|online|org|pro|pub|red|ren|ru|shop|site|store|tech|tk|top|tv|tw|us|vip|wang|win|work|"
    "world|ws|xin|xyz"
)
"""Ends of names that are written as links without a path; behind others a path has to follow."""
_PATH: Final = r"[!-~]*"
_LABELS: Final = r"(?:[a-z0-9-]{1,63}\.){1,8}"
_LINK: Final = re.compile(
    rf"[a-z]{{2,10}}://[!-~]+"
    rf"|(?<![a-z0-9.-]){_LABELS}(?:(?:{_TLD})(?![a-z0-9-])(?:[:/?#]{_PATH})?|[a-z]{{2,24}}/{_PATH})"
)
"""A link as handsets recognise one; letters of other scripts end it, as no blank does there."""

_ROUNDS: Final = 4
"""The first one folds, the second composes what came together, the third finds nothing to do."""


def folded(text: str) -> str:
    """Return the letters of a text, links left out, in one case and one width."""
    for _ in range(_ROUNDS):
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        letters = "".join(c for c in _LINK.sub(" ", plain) if unicodedata.category(c)[0] == "L")
        if letters == text:
            break
        text = letters  # letters that came together may be composed, or read as another one
    return text


def mark(text: str) -> str | None:
    """Return what the same texts have in common; None where a text is too short to be known."""
    letters = folded(text)
    return letters if len(letters) >= LEAST else None
