"""A text as a reader sees it, for patterns to work on, with the way back to what was written.

Widths, scripts of digits, kinds of stars, hyphens and blanks are levelled, and what has no width
is left out: zero-width and direction marks, a BOM, the frame of a keycap. Each character seen
knows its place in the text, so that what is quoted is always a slice of the original.
"""

import unicodedata
from functools import lru_cache
from typing import Final

from smsfilter.rules.headers import fold

_FRAME: Final = "\ufe0f\u20e3"  # what makes a star or a digit a key with a picture
_SAME: Final = {
    alike: seen
    for seen, row in {
        "*": "∗⁎٭✱✲✳⚹★☆×✕✖❋🌟⭐",
        "-": "‐‑‒–—―−﹣",
        "+": "➕",
        "10": "🔟",
    }.items()
    for alike in row
}


class Seen:
    """The visible characters of `text`, or of the first `most` of it, all of one kind made one."""

    __slots__ = ("_places", "chars", "is_whole", "text")

    def __init__(self, text: str, most: int | None = None) -> None:
        self.text = text
        self.is_whole = most is None or len(text) <= most
        shown = [_shown(char) for char in text[:most]]
        self.chars = "".join(shown)
        self._places = [place for place, chars in enumerate(shown) for _ in chars]

    def start(self, index: int) -> int:
        """Where in the text the character seen at `index` stands."""
        return self._places[index]

    def after(self, index: int) -> int:
        """Where in the text that begins which is written behind the characters before `index`.

        Blanks there belong to what was before, unseen characters to what follows.
        """
        place = self._places[index - 1] + 1 if index else 0
        while place < len(self.text) and (self.text[place].isspace() or self.text[place] in _FRAME):
            place += 1
        return place

    def slice(self, begin: int, end: int) -> str:
        """What was written for chars[begin:end]."""
        if begin >= end:
            return ""
        return self.text[self._places[begin] : self._places[end - 1] + 1]


@lru_cache(maxsize=4096)
def _shown(char: str) -> str:
    """Return what is seen of a character: mostly itself, '' where that is nothing."""
    if char in _SAME:
        return _SAME[char]
    if char.isspace():
        return "\n" if char in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029" else " "
    value = unicodedata.digit(char, -1)
    if value >= 0:
        return str(value)
    if unicodedata.category(char) in ("Cc", "Cf", "Me", "Cs") or not fold(char):
        return ""
    return unicodedata.normalize("NFKC", char).replace("\u2044", "/")
