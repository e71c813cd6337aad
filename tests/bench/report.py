"""What the runs say: medians over the rounds, ratios within a round, and what must add up.

Cores that others use too make every figure wander, and all of them together: the relay and the
proxy are compared within a round, one right after the other, and the median is taken last.
"""

from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

Run = dict[str, Any]


class Load(NamedTuple):
    """A load, what the generator is told, and how dear the proxy may be beside the relay."""

    name: str
    title: str
    arguments: tuple[str, ...]
    ratio_most: float


LOADS = (
    Load("8x64", "8 sessions × window 64", ("closed", "--window", "64"), 12.0),
    Load("8x8", "8 sessions × window 8", ("closed", "--window", "8"), 2.8),
    Load("8x1", "8 sessions × window 1", ("closed", "--window", "1"), 1.5),
    Load("open", "5,000/s open model, 8 sessions", ("open", "--rate", "5000"), 2.2),
)
PROXIES = {"proxy": "", "unrecorded": ", no decision records"}
"""The daemon as it comes, and one whose `decisions.record` is off; what the title of each says."""
ADDED_MOST_US = {"p50": 80.0, "p99": 400.0, "p99.9": None}
IDLE_MOST_MB = 100.0
FLAT_MB = 4.0
"""What counts as flat: less than four octets for each of a million messages."""


def faults(run: Run) -> list[str]:
    """What does not add up: each message answered once, the blocked ones refused, no others."""
    must_refuse = run["blocked_sent"] if run["middle"] in PROXIES else 0
    found = [
        (run["answered"] == run["sent"], f"{run['answered']} of {run['sent']} answered"),
        (run["refused"] == must_refuse, f"{run['refused']} refused, not {must_refuse}"),
        (run["wrong"] == 0, f"{run['wrong']} refused that are not blocked"),
        (run["throttled"] == 0, f"{run['throttled']} refused for now: a look-up was too late"),
        (run["submits"] == run["accepted"], f"the SMSC got {run['submits']} submit_sm"),
        (run["octets_left"] == 0, f"{run['octets_left']} octets of answers not understood"),
    ]
    where = f"{run['load']} {run['middle']} round {run['round']}: "
    return [where + what for holds, what in found if not holds]


def cpu_us(run: Run, process: str) -> float:
    """CPU µs per message of one process."""
    used: float = run["cpu"][process]
    return used / max(run["messages"], 1) * 1e6


def rate(run: Run) -> float:
    """Messages a second."""
    messages: float = run["messages"] / run["seconds"]
    return messages


class Rounds:
    """The runs of one load, round by round."""

    def __init__(self, runs: list[Run], load: str) -> None:
        self._by_middle = {
            middle: [run for run in runs if run["load"] == load and run["middle"] == middle]
            for middle in ("direct", "relay", *PROXIES)
        }

    def median(self, middle: str, figure: Callable[[Run], float]) -> float | None:
        """The median of a figure; None where there was no run."""
        runs = self._by_middle[middle]
        return median(map(figure, runs)) if runs else None

    def compared(self, figure: Callable[[Run, Run], float], proxy: str = "proxy") -> float | None:
        """The median of a comparison of a proxy and the relay in the same round."""
        pairs = zip(self._by_middle[proxy], self._by_middle["relay"], strict=False)
        figures = [figure(one, relay) for one, relay in pairs]
        return median(figures) if figures else None

    def busy(self, proxy: str) -> float | None:
        """Which share of a core a proxy had."""
        return self.median(proxy, lambda run: run["cpu"]["proxy"] / run["seconds"])


def number(value: float | None, digits: int = 0, sign: str = "") -> str:
    """A figure of a table, or a dash."""
    return "–" if value is None else f"{value:{sign},.{digits}f}"


def reached(value: float | None, most: float | None, unit: str = "") -> str:
    """A target and whether it is reached."""
    if value is None or most is None:
        return "–"
    return f"≤ {most:g}{unit}: {'yes' if value <= most else 'NO'}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table that is legible as it stands."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[cell.ljust(widths[0]) for cell in rule[:1]] + rule[1:]]
    body = [
        [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        for row in (head, *rows)
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (body[0], *lines, *body[1:]))


def cost_table(runs: list[Run]) -> str:
    """CPU per message and throughput, by load."""
    head = ["load", "relay µs", "proxy µs", "Redis µs", "× relay", "reach"]
    head += ["relay/s", "proxy/s", "proxy busy", "no proxy/s"]
    rows = []
    for load in LOADS:
        rounds = Rounds(runs, load.name)
        if rounds.median("relay", rate) is None and rounds.median("direct", rate) is None:
            continue
        rows += [_cost_row(load, rounds, proxy) for proxy in PROXIES]
    return table(head, rows)


def _cost_row(load: Load, rounds: Rounds, proxy: str) -> list[str]:
    ratio = rounds.compared(lambda p, r: cpu_us(p, "proxy") / max(cpu_us(r, "relay"), 1e-3), proxy)
    busy = rounds.busy(proxy)
    return [
        load.title + PROXIES[proxy],
        number(rounds.median("relay", lambda run: cpu_us(run, "relay")), 2),
        number(rounds.median(proxy, lambda run: cpu_us(run, "proxy")), 2),
        number(rounds.median(proxy, lambda run: cpu_us(run, "redis")), 2),
        number(ratio, 2),
        reached(ratio, load.ratio_most),
        number(rounds.median("relay", rate)),
        number(rounds.median(proxy, rate)),
        "–" if busy is None else f"{busy:.0%}",
        number(rounds.median("direct", rate)),
    ]


def latency_table(runs: list[Run]) -> str:
    """Latency under the open load, counted from when a message was due."""
    rounds = Rounds(runs, "open")
    rows = []
    for name, most in ADDED_MOST_US.items():
        added = rounds.compared(lambda p, r, n=name: p["latency_us"][n] - r["latency_us"][n])
        rows.append(
            [
                name,
                *(
                    number(rounds.median(middle, lambda run, n=name: run["latency_us"][n]))
                    for middle in ("direct", "relay", "proxy")
                ),
                number(added, sign="+"),
                reached(added, most, " µs"),
            ]
        )
    head = ["latency, µs", "no proxy", "relay", "proxy", "added to the relay", "reach"]
    return table(head, rows)


def memory_table(figures: dict[str, float]) -> str:
    """Resident memory of the proxy, in MB."""
    grown = figures["after_messages_mb"] - figures["before_messages_mb"]
    title = f"after {figures['messages']:,.0f} more messages"
    rows = [
        ["after the first messages", number(figures["before_messages_mb"], 1), "–"],
        [title, number(figures["after_messages_mb"], 1), reached(grown, FLAT_MB, " MB more")],
        [
            f"with {figures['sessions']:,.0f} idle session pairs",
            number(figures["idle_mb"], 1),
            reached(figures["idle_mb"], IDLE_MOST_MB, " MB"),
        ],
    ]
    return table(["resident memory of the proxy", "MB", "reach"], rows)
