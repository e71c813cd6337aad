"""What the proxy costs beside a bare relay: `python -m tests.bench`.

Prints Markdown: CPU µs per message of relay, proxy and Redis, messages a second, and the latency
that the proxy adds, each as the median of interleaved rounds, beside what is to be reached.
Figures are for reading; the exit status is 1 only when messages were not answered as they should.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import sys
import time
from pathlib import Path

from tests.bench import looks, report, reports
from tests.bench.bed import Bed, bed, rss_kib
from tests.bench.report import LOADS, Load, Run

MESSAGES = 1 << 16  # of each session; then the same ones come again
BLOCKS = 200_000
MEMORY_MESSAGES = 1_000_000
IDLE_SESSIONS = 5_000
SPARE_FILES = 200


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--only", help="loads, such as 8x64,open", default="")
    parser.add_argument("--quick", action="store_true", help="only tries it: the figures are noise")
    parser.add_argument("--no-proxy", action="store_true", help="only direct and relay")
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--reports", action="store_true", help="how soon a report is in force")
    parser.add_argument("--desk", action="store_true", help="how long clerks wait for a look")
    parser.add_argument("--json", type=Path, help="also write every run to this file")
    args = parser.parse_args()
    names = [load.name for load in LOADS]
    args.loads = [load for load in LOADS if not args.only or load.name in args.only.split(",")]
    if not args.loads:
        parser.error(f"--only takes {', '.join(names)}")
    args.warmup, args.messages, args.blocks = 0.5, MESSAGES, BLOCKS
    if args.quick:
        args.rounds, args.seconds, args.warmup = 1, 0.5, 0.1
        args.messages, args.blocks = 4096, 10_000
    return args


def run(place: Bed, load: Load, middle: str, number: int, args: argparse.Namespace) -> Run:
    """One load on one program."""
    times = ["--seconds", str(args.seconds), "--warmup", str(args.warmup)]
    result = place.run(middle, [*load.arguments, *times])
    return {"load": load.name, "middle": middle, "round": number, **result}


def measure(place: Bed, args: argparse.Namespace) -> list[Run]:
    """All rounds; relay and proxy take turns at going first."""
    runs = []
    for number in range(1, args.rounds + 1):
        for load in args.loads:
            middles = ["relay"] if args.no_proxy else ["relay", "proxy", "unrecorded"]
            if number % 2 == 0:
                middles.reverse()
            if number == 1:
                middles.insert(0, "direct")
            for middle in middles:
                runs.append(run(place, load, middle, number, args))
                told = f"round {number}/{args.rounds}, {load.name}, {middle}"
                print(f"{told}: {report.rate(runs[-1]):,.0f}/s", file=sys.stderr)
    return runs


def measure_memory(place: Bed, args: argparse.Namespace) -> tuple[list[Run], dict[str, float]]:
    """Whether messages leave memory as it was, and what idle sessions take."""
    pid = place.daemons["proxy"].process.pid
    runs = [run(place, LOADS[0], "proxy", 0, args)]
    figures: dict[str, float] = {"before_messages_mb": rss_kib(pid) / 1024, "messages": 0}
    wanted = MEMORY_MESSAGES // (100 if args.quick else 1)
    while figures["messages"] < wanted:
        runs.append(run(place, LOADS[0], "proxy", len(runs), args))
        figures["messages"] += runs[-1]["sent"]
    figures["after_messages_mb"] = rss_kib(pid) / 1024
    sessions = IDLE_SESSIONS // (100 if args.quick else 1)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    sessions = min(sessions, (soft - SPARE_FILES) // 2)
    holder = place.generator(
        ["idle", "--port", str(place.daemons["proxy"].port), "--sessions", str(sessions)]
    )
    assert holder.stdout is not None
    figures["sessions"] = json.loads(holder.stdout.readline())["sessions"]
    time.sleep(1)  # what is left to do after a bind is done by then
    figures["idle_mb"] = rss_kib(pid) / 1024
    holder.communicate("\n")
    return runs, figures


def raise_file_limit() -> None:
    """As many open files as this user may have, for us and for whom we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Run the benchmark and print its tables."""
    args = options()
    raise_file_limit()
    if args.reports:
        print(reports.table(asyncio.run(reports.measure(20 if args.quick else 200))))
        return 0
    if args.desk:
        seen = asyncio.run(looks.measure(*((3, 2_000) if args.quick else (60,))))
        print(looks.table(seen))
        faults = [fault for one in seen for fault in one.faults]
        print(*faults, sep="\n", end="\n" if faults else "")
        return 1 if faults else 0
    load_average = os.getloadavg()[0]
    with bed(args.messages, args.blocks) as place:
        if not args.no_proxy:
            place.start_proxies()
        if args.memory:
            runs, figures = measure_memory(place, args)
            tables = [report.memory_table(figures)]
        else:
            runs = measure(place, args)
            tables = [report.cost_table(runs)]
            if any(r["load"] == "open" for r in runs):
                tables.append(report.latency_table(runs))
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    rounds = "" if args.memory else f"; {args.rounds} rounds of {args.seconds:g} s"
    quick = "; --quick: the figures mean nothing" if args.quick else ""
    print(f"{machine}; load average {load_average:.1f} before{rounds}{quick}")
    for table in tables:
        print(f"\n{table}")
    found = [fault for one in runs for fault in report.faults(one)]
    sent, refused = (sum(one[name] for one in runs) for name in ("sent", "refused"))
    print(f"\n{sent:,} messages sent, {refused:,} refused for a block;", end=" ")
    print("WRONG:" if found else "each was answered once, and as it should be.")
    print(*found, sep="\n", end="\n" if found else "")
    if args.json:
        args.json.write_text(json.dumps(runs, indent=1))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
