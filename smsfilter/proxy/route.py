"""What a session remembers of one source_addr: its meaning, and its questions packed for Redis."""

from smsfilter.rules.judge import Line
from smsfilter.store.index import BlockQuestion, pack
from smsfilter.store.keys import approved


class Route:
    """A `Line` of the judge with the block question and the approval question ready to send."""

    __slots__ = ("approval", "clean", "heads", "line", "tail")

    def __init__(self, line: Line, prefix: str) -> None:
        self.line = line
        question = BlockQuestion(prefix, line.members)
        self.heads = question.heads
        self.tail = question.tail
        self.clean = question.clean
        self.approval = b""
        if line.approval is not None:
            company, members = line.approval
            self.approval = pack("SMISMEMBER", approved(prefix, company), *members)
