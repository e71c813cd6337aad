"""The customer's handset of the demo, behind the simulated SMSC: what it shows, what it texts.

It knows what a customer knows: whom a text is from, and what the last answer said.
"""

import asyncio
import re
import time
from typing import Final, NamedTuple

from smsfilter.cli.demo.program import DemoError
from smsfilter.cli.demo.simulator import SHORT_CODE, Arrival, Brought, Simulator
from smsfilter.smpp.text import GSM, decode_text, encode_text

RESULT: Final = "has been looked into"
"""Words that stand in the answer to a case, and in no other text of the demo."""
_HOW_TO_CANCEL: Final = re.compile(r"cancel \d+")


class Shown(NamedTuple):
    """One text on the handset."""

    peer: str
    """Whom it is from, or to."""
    text: str
    is_own: bool = False
    """The customer wrote it."""


class Handset:
    """One customer's; `take` is called in the SMSC's thread, the rest where the demo runs."""

    def __init__(self, number: str, smsc: Simulator) -> None:
        self.number = number
        self.newest: Shown | None = None
        self.story: list[Shown] = []
        """What was reported, what the customer texted, and the answers."""
        self.texts = 0
        """How many the customer sent."""
        self.answers = 0
        """How many came from the short code, at once and by itself."""
        self.results = 0
        """How many say what a case has come to."""
        self.result_at = 0.0
        """When the latest of these came, by the monotonic clock."""
        self._smsc = smsc
        self._by_source: dict[str, Shown] = {}

    def take(self, arrival: Arrival) -> None:
        """Show a text that has arrived."""
        self.newest = shown = shown_by(arrival)
        if shown.peer == SHORT_CODE:
            self.story.append(shown)
            if RESULT in shown.text:
                self.result_at = time.monotonic()
                self.results += 1
            else:
                self.answers += 1
        else:
            self._by_source[shown.peer] = shown

    async def report(self, source: str) -> Brought:
        """Send the newest text of `source` to the short code; what the short code said.

        Raises DemoError where there is none.
        """
        spam = self._by_source.get(source)
        if spam is None:
            raise DemoError(
                f"nothing from {source} has reached the handset: what is to be reported?"
            )
        self.story.append(spam)
        return await self._text(f"{source}*{spam.text}")

    async def take_back(self) -> Brought:
        """Do what the newest answer says takes the report back."""
        found = [_HOW_TO_CANCEL.search(each.text) for each in self.story if not each.is_own]
        return await self._text(next((each[0] for each in reversed(found) if each), "cancel"))

    async def _text(self, text: str) -> Brought:
        self.texts += 1
        self.story.append(Shown(SHORT_CODE, text, is_own=True))
        return await asyncio.wrap_future(self._smsc.text(self.number, encode_text(GSM, text)))


def shown_by(arrival: Arrival) -> Shown:
    """Read a text as a handset does."""
    text = decode_text(arrival.data_coding, arrival.message, errors="replace")
    return Shown(arrival.source.decode("utf-8", "replace"), text)
