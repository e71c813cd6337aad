"""What others have written, on a terminal: nothing in it moves the cursor or turns what follows."""

import unicodedata


def printable(text: object) -> str:
    """Give a line as it can be read, with a dot for each character that would do something."""
    return "".join(_seen(char) for char in str(text))


def indented(text: str) -> str:
    """Give a text of several lines, those after the first set in: none passes for one of ours."""
    return "\n    ".join(printable(line) for line in text.splitlines())


def _seen(char: str) -> str:
    if char.isprintable():
        return char
    return " " if unicodedata.category(char) == "Zs" else "\N{MIDDLE DOT}"
