"""The load generator: submits, counts the answers, times them, and reads the CPU clocks.

A process of its own that prints one JSON object. `closed` keeps a window of messages open in each
session and sends as many as were answered: answers are counted in the stream by the head of a
response, never decoded, so that a batch costs a few system calls. `open` sends each message when
it is due, whether the ones before were answered or not, and counts its latency from that moment;
blocking sockets and select() keep time better than an event loop does. `idle` binds, and waits.
Only messages and CPU time between the end of the warm-up and the last send are measured; that
each message got the answer it deserves is checked over all of them.
"""

import argparse
import bisect
import ctypes
import gc
import json
import os
import select
import socket
import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

from tests.bench import traffic
from tests.bench.traffic import ANSWER_SIZE, REFUSAL_SIZE, SESSIONS, SUBMIT_SIZE

READ_SIZE = 1 << 16
DRAIN_S = 5.0
IDLE_AT_ONCE = 100  # binds in flight

ANSWER = b"\x80\0\0\4"
ACCEPTED = ANSWER + b"\0\0\0\0"
REFUSED = ANSWER + b"\0\0\0\x66"
THROTTLED = ANSWER + b"\0\0\0\x58"
TAIL = len(REFUSED) - 1

PR_SET_TIMERSLACK = 29
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Session:
    """One bound ESME and its pool of messages."""

    def __init__(self, number: int, port: int, pools: Path) -> None:
        self.sock = bind(port, traffic.account(number))
        self.pool = memoryview(traffic.pool_path(pools, number).read_bytes())
        self.messages = len(self.pool) // SUBMIT_SIZE
        self.blocked = traffic.blocked(number, self.messages)
        self.blocked_numbers = {(place + 1).to_bytes(4) for place in self.blocked}
        self.sent = self.accepted = self.refused = self.throttled = self.octets = 0
        self.wrong = 0  # refused, though the customer has not blocked the company
        self.tail = b""

    def send(self, count: int) -> None:
        """Send the next `count` messages."""
        place = self.sent % self.messages
        self.sent += count
        while count:
            now = min(count, self.messages - place)
            self.sock.sendall(self.pool[place * SUBMIT_SIZE : (place + now) * SUBMIT_SIZE])
            count -= now
            place = 0

    def receive(self) -> int:
        """Read what there is; how many answers it completed (by their first 8 octets)."""
        data = self.sock.recv(READ_SIZE)
        if not data:
            raise SystemExit("a session was closed by the other side")
        self.octets += len(data)
        data = self.tail + data
        accepted, refused = data.count(ACCEPTED), data.count(REFUSED)
        throttled = data.count(THROTTLED)
        if refused:
            self.check_refused(data)
        self.accepted += accepted
        self.refused += refused
        self.throttled += throttled
        self.tail = data[-TAIL:]
        return accepted + refused + throttled

    @property
    def answered(self) -> int:
        """How many answers came, whatever they say."""
        return self.accepted + self.refused + self.throttled

    def check_refused(self, data: bytes) -> None:
        """Whether those refused are those that are blocked.

        The sequence_number of the last may not be here yet: the totals still tell.
        """
        at = data.find(REFUSED)
        while at >= 0:
            number = data[at + 8 : at + 12]
            if len(number) == 4 and number not in self.blocked_numbers:
                self.wrong += 1
            at = data.find(REFUSED, at + 8)

    def octets_left(self) -> int:
        """Octets received that belong to no whole answer counted."""
        refusals = self.refused + self.throttled
        return self.octets - self.accepted * ANSWER_SIZE - refusals * REFUSAL_SIZE

    def blocked_sent(self) -> int:
        """How many of the messages sent must be refused."""
        rounds, place = divmod(self.sent, self.messages)
        return rounds * len(self.blocked) + bisect.bisect_left(self.blocked, place)


def bind(port: int, system_id: str) -> socket.socket:
    """Connect and bind."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(traffic.bind_transceiver(system_id))
    finish_bind(sock)
    return sock


def finish_bind(sock: socket.socket) -> None:
    """Wait for the bind_resp."""
    answer = sock.recv(READ_SIZE)
    if answer[4:12] != b"\x80\0\0\x09\0\0\0\0":
        raise SystemExit(f"the bind was refused: {answer.hex()}")


def unbind(sock: socket.socket) -> None:
    """End the session as the protocol wants it."""
    sock.sendall(traffic.UNBIND)
    sock.recv(READ_SIZE)
    sock.close()


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


class Clock:
    """The moment, the CPU time of each watched process, and how many answers there were."""

    def __init__(self, pids: dict[str, int], sessions: Sequence[Session]) -> None:
        self.at = time.perf_counter()
        self.cpu = {name: cpu_seconds(pid) for name, pid in pids.items()}
        self.cpu["generator"] = time.process_time()
        self.answered = sum(session.answered for session in sessions)

    def until(self, end: "Clock") -> dict[str, object]:
        """What passed between two of them."""
        return {
            "seconds": end.at - self.at,
            "messages": end.answered - self.answered,
            "cpu": {name: end.cpu[name] - self.cpu[name] for name in self.cpu},
        }


class TimedSession(Session):
    """A session that reads answer by answer, and knows how long each took since it was due."""

    def __init__(self, number: int, port: int, pools: Path) -> None:
        super().__init__(number, port, pools)
        self.number = number
        self.latencies = array("d")

    def start(self, due_at: float, interval: float) -> None:
        """Message j of this session is due at `due_at` + j × `interval`."""
        self.due_at, self.interval = due_at, interval

    def receive(self) -> int:
        """Read what there is; how many whole answers came."""
        data = self.sock.recv(READ_SIZE)
        now = time.perf_counter()
        if not data:
            raise SystemExit("a session was closed by the other side")
        self.octets += len(data)
        data = self.tail + data
        at, before = 0, self.answered
        while len(data) - at >= 16 and len(data) - at >= (
            size := int.from_bytes(data[at : at + 4])
        ):
            head, number = data[at + 4 : at + 12], data[at + 12 : at + 16]
            if head == ACCEPTED:
                self.accepted += 1
                last = self.sent - 1
                place = last - (last - int.from_bytes(number) + 1) % self.messages
                self.latencies.append(now - self.due_at - place * self.interval)
            elif head == REFUSED:
                self.refused += 1
                self.wrong += number not in self.blocked_numbers
            elif head == THROTTLED:
                self.throttled += 1
            at += size
        self.tail = data[at:]
        return self.answered - before


def drain(sessions: list[Session]) -> None:
    """Wait for the answers still open."""
    until = time.perf_counter() + DRAIN_S
    while time.perf_counter() < until:
        waiting = {s.sock: s for s in sessions if s.answered < s.sent or s.octets_left()}
        if not waiting:
            return
        for sock in select.select(list(waiting), [], [], 0.1)[0]:
            waiting[sock].receive()


def closed_loop(sessions: list[Session], args: argparse.Namespace) -> dict[str, object]:
    """Keep `window` messages open in each session."""
    poll = select.epoll()
    by_fd = {session.sock.fileno(): session for session in sessions}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    measure_from = time.perf_counter() + args.warmup
    until = measure_from + args.seconds
    begin = None
    for session in sessions:
        session.send(args.window)
    while (now := time.perf_counter()) < until:
        if begin is None and now >= measure_from:
            begin = Clock(args.pids, sessions)
        for fd, _ in poll.poll(0.1):
            session = by_fd[fd]
            if answered := session.receive():
                session.send(answered)
    return (begin or Clock(args.pids, sessions)).until(Clock(args.pids, sessions))


def open_model(sessions: list[TimedSession], args: argparse.Namespace) -> dict[str, object]:
    """Send `rate` messages a second in all, evenly spaced, each when it is due."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)  # else a sleep lasts 50 µs too long
    by_sock = {session.sock: session for session in sessions}
    socks = list(by_sock)
    interval = 1 / args.rate
    first_due = time.perf_counter() + 0.01
    for session in sessions:
        session.start(first_due + session.number * interval, len(sessions) * interval)
    warmup = int(args.warmup * args.rate)
    total = warmup + int(args.seconds * args.rate)
    begin = None
    for number in range(total):
        due = first_due + number * interval
        while (left := due - time.perf_counter()) > 0:
            for sock in select.select(socks, [], [], left)[0]:
                by_sock[sock].receive()
        if number == warmup:
            begin = Clock(args.pids, sessions)
            for session in sessions:
                session.latencies = array("d")
        sessions[number % len(sessions)].send(1)
    return (begin or Clock(args.pids, sessions)).until(Clock(args.pids, sessions))


def quantiles(sessions: list[TimedSession]) -> dict[str, float]:
    """p50, p99 and p99.9 of the latency in µs, of what the SMSC accepted."""
    every = sorted(seconds for session in sessions for seconds in session.latencies)
    return {
        name: every[int(len(every) * share)] * 1e6
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
        if every
    }


def idle(args: argparse.Namespace) -> None:
    """Bind `sessions` times, say so, and hold them until a line or the end of stdin comes."""
    held: list[socket.socket] = []
    while len(held) < args.sessions:
        wave = []
        for _ in range(min(IDLE_AT_ONCE, args.sessions - len(held))):
            sock = socket.create_connection(("127.0.0.1", args.port))
            sock.sendall(traffic.bind_transceiver(traffic.account(len(held) % SESSIONS)))
            wave.append(sock)
        for sock in wave:
            finish_bind(sock)
        held += wave
    print(json.dumps({"sessions": len(held)}), flush=True)
    sys.stdin.readline()
    for sock in held:
        unbind(sock)


def main() -> None:
    """Run one load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["closed", "open", "idle"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pools", type=Path)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--pids", type=json.loads, default={}, help="processes to watch")
    args = parser.parse_args()
    if args.mode == "idle":
        idle(args)
        return
    sessions: list[Session] = []
    timed: list[TimedSession] = []
    if args.mode == "open":
        timed = [TimedSession(number, args.port, args.pools) for number in range(args.sessions)]
        sessions += timed
    else:
        sessions = [Session(number, args.port, args.pools) for number in range(args.sessions)]
    gc.collect()
    gc.disable()
    result = open_model(timed, args) if timed else closed_loop(sessions, args)
    drain(sessions)
    for session in sessions:
        unbind(session.sock)
    for name in ("sent", "answered", "accepted", "refused", "throttled", "wrong"):
        result[name] = sum(getattr(session, name) for session in sessions)
    result["blocked_sent"] = sum(session.blocked_sent() for session in sessions)
    result["octets_left"] = sum(session.octets_left() for session in sessions)
    if timed:
        result["latency_us"] = quantiles(timed)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
