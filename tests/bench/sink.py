"""The SMSC of the benchmark: accepts every bind and answers every submit_sm with one message_id.

Whole runs of submit_sm are answered at once, by striding over them: their sequence_numbers are
copied column by column into ready-made responses. Anything else (bind, unbind, enquire_link) is
read PDU by PDU. It prints its port, and for each line on stdin the number of submit_sm so far.
"""

import json
import select
import socket
import sys
from struct import pack

from tests.bench.traffic import ANSWER_SIZE, MESSAGE_ID, SUBMIT_SIZE

MOST_AT_ONCE = 4096  # submit_sm answered in one stride; a read has 1,037 of them at most
READ_SIZE = 1 << 17

ANSWERS = pack("!IIII", ANSWER_SIZE, 0x80000004, 0, 0) + MESSAGE_ID + b"\0"
ANSWERS *= MOST_AT_ONCE
LENGTHS = bytes([SUBMIT_SIZE]) * MOST_AT_ONCE
COMMANDS = b"\4" * MOST_AT_ONCE

BIND_COMMANDS = (1, 2, 9)


class Session:
    """One connection: what was read but is not whole yet, and how many submit_sm came."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.tail = b""
        self.submits = 0

    def receive(self) -> bool:
        """Read, answer; False at the end of the stream."""
        try:
            data = self.sock.recv(READ_SIZE)
        except ConnectionError:
            data = b""
        if not data:
            return False
        if self.tail:
            data = self.tail + data
        count, rest = divmod(len(data), SUBMIT_SIZE)
        end = len(data) - rest
        if (
            count
            and data[3:end:SUBMIT_SIZE] == LENGTHS[:count]
            and data[7:end:SUBMIT_SIZE] == COMMANDS[:count]
        ):
            answers = bytearray(ANSWERS[: count * ANSWER_SIZE])
            for column in (12, 13, 14, 15):
                answers[column::ANSWER_SIZE] = data[column:end:SUBMIT_SIZE]
            self.submits += count
            self.tail = data[end:]
        else:
            answers = self.answer_one_by_one(data)
        if answers:
            self.sock.sendall(answers)
        return True

    def answer_one_by_one(self, data: bytes) -> bytearray:
        """Answer what is not a run of submit_sm."""
        answers = bytearray()
        while len(data) >= 16 and len(data) >= (length := int.from_bytes(data[:4])) >= 16:
            command, sequence_number = int.from_bytes(data[4:8]), data[12:16]
            if command == 4:
                answers += ANSWERS[:12] + sequence_number + MESSAGE_ID + b"\0"
                self.submits += 1
            elif command < 0x80000000:
                body = b"bench\0" if command in BIND_COMMANDS else b""
                answers += pack("!III", 16 + len(body), 0x80000000 | command, 0)
                answers += sequence_number + body
            data = data[length:]
        self.tail = data
        return answers


def main() -> None:
    """Serve until stdin ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    poll.register(sys.stdin, select.EPOLLIN)
    sessions: dict[int, Session] = {}
    submits_before = 0
    while True:
        for fd, _ in poll.poll():
            session = sessions.get(fd)
            if session is not None:
                if not session.receive():
                    submits_before += session.submits
                    del sessions[fd]
                    session.sock.close()
            elif fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sessions[sock.fileno()] = Session(sock)
                poll.register(sock, select.EPOLLIN)
            elif sys.stdin.readline():
                submits = submits_before + sum(s.submits for s in sessions.values())
                print(json.dumps({"submits": submits}), flush=True)
            else:
                return


if __name__ == "__main__":
    main()
