"""The figures of docs/scaling.md that are no plain products, by simulation. Seeded: the same tables every time.

python benchmarks/scaling.py            under a minute
python benchmarks/scaling.py --small    a few seconds, with noisier figures
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter

from habits import DAY, HABITS, HOUR, MINUTE, WORKERS, Load, alive, loads
from herds import BEGIN, GAP, Herd, Outage, herd
from page_loads import page_loads
from sizes import sealed_sizes

USERS = 10_000_000
AT_IT = 600_000  # of them at one time, in the outages
LIFETIMES = (5 * MINUTE, 15 * MINUTE, HOUR, DAY)
REDIS = {"published": 2760, "ended": 650}  # bytes of memory for one record, by benchmarks/sizes.py --redis


def row(*cells: object) -> None:
    """One line of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def head(*cells: str) -> None:
    """Its first lines."""
    row(*cells)
    row(*("---" for _ in cells))


def thousands(number: float) -> str:
    """Three digits that mean something."""
    if number >= 1000:
        number = round(number, 2 - math.floor(math.log10(number)))
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def busiest_second(load: Load, hour: int, seconds: float, scale: float) -> float:
    """Round trips in the second of the busiest hour that one in a thousand exceeds: refreshes come independently."""
    refreshes = load.refreshes[hour] * scale / seconds
    each = load.trips(hour) / max(load.refreshes[hour], 1)
    return refreshes * each + 3.09 * math.sqrt(refreshes) * each


def show_load(*, sessions: int, days: int, seed: int) -> None:
    """Refreshes and round trips by access-token lifetime."""
    print(f"\n### What {USERS:,} signed-in sessions ask of the store ({WORKERS} workers)\n")
    print("; ".join(f"{habit.share:.0%} {habit.name}" for habit in HABITS) + ".\n")
    head(
        "access token lives", "refreshes/s, mean", "busiest hour", "of them in the margin", "round trips/s, mean",
        "busiest hour", "busiest second", "to the store, busiest hour", "from it",
    )  # fmt: skip
    sizes, scale = sealed_sizes(), USERS / sessions
    for lifetime, load in loads(LIFETIMES, sessions=sessions, days=days, seed=seed).items():
        total, seconds = sum(load.refreshes), days * HOUR
        busy = max(range(24), key=load.trips)
        reads, writes = load.reads[busy] * scale / seconds, load.writes[busy] * scale / seconds
        refreshes = load.refreshes[busy] * scale / seconds
        # A refresh sends the full record twice, once as what is expected; a note twice, as both.
        full, small, notes = sizes["published"], sizes["claim, later refresh"], writes - 2 * refreshes
        sent = reads * 104 + refreshes * 2 * (full + small + 210) + notes * (2 * full + 210)
        row(
            f"{lifetime / MINUTE:g} min", thousands(total * scale / (days * DAY)), thousands(refreshes),
            f"{load.soon / max(total, 1):.0%}",
            thousands(sum(map(load.trips, range(24))) * scale / (days * DAY)), thousands(reads + writes),
            thousands(busiest_second(load, busy, seconds, scale)),
            f"{sent / 1e6:.1f} MB/s", f"{reads * (full + 20) / 1e6:.1f} MB/s",
        )  # fmt: skip


def show_records(*, people: int, seed: int) -> None:
    """Records alive by ``max_age``."""
    print(f"\n### Records for {USERS:,} signed-in sessions (access token 15 min)\n")
    head("max_age", "records", "ends among them", "Redis memory")
    for days in (1, 7, 30, 90):
        found = alive(days * DAY, 15 * MINUTE, people=people, seed=seed)
        full, ends = found.records / found.signed_in * USERS, found.ends / found.signed_in * USERS
        memory = full * REDIS["published"] + ends * REDIS["ended"]
        row(f"{days} d", f"{(full + ends) / 1e6:.1f} M", f"{ends / 1e6:.2f} M", f"{memory / 1e9:.0f} GB")


def show_page_loads(*, pages: int, seed: int) -> None:
    """Who meets a claim."""
    print("\n### One page load that finds its token in the margin\n")
    head(
        "workers",
        "requests",
        "workers reached",
        "round trips",
        "somebody met a claim",
        "lost compare-and-sets",
        "calls",
    )
    for requests in (6, 30):
        for workers in (1, 2, 4, 8, 64):
            met = page_loads(workers=workers, requests=requests, pages=pages, seed=seed)
            row(
                workers, requests, f"{met.workers:.1f}", f"{met.trips:.1f}", f"{met.meeting:.0%}", f"{met.lost:.2f}", f"{met.calls:g}"
            )  # fmt: skip


def mean(counted: Counter[int], begin: float, end: float, scale: float) -> float:
    """The mean by second."""
    return sum(counted[second] for second in range(int(begin), int(end))) * scale / (end - begin)


def show_herds(*, sessions: int, seed: int) -> None:
    """Calls after an outage."""
    print(f"\n### Outages, with {AT_IT:,} sessions at it, one request in {GAP:g} s each, access token 15 min\n")
    head(
        "what is down", "for", "calls/s before", "calls/s while down", "calls/s in the first 10 s after", "in the first minute",
        "round trips/s while down", "requests with an expired token, while down",
    )  # fmt: skip
    scale = AT_IT / sessions
    for outage in (
        Outage("provider", 60), Outage("provider", 600), Outage("provider", 600, patient=False), Outage("store", 60), Outage("store", 600),
    ):  # fmt: skip
        show_herd(outage, herd(outage, sessions=sessions, seed=seed), scale)


def show_herd(outage: Outage, found: Herd, scale: float) -> None:
    """One line of it."""
    end = BEGIN + outage.seconds
    last = max(end - 60, BEGIN)
    unserved = mean(found.unserved, BEGIN, end, 1) / mean(found.requests, BEGIN, end, 1)
    row(
        outage.what + ("" if outage.patient else ", without the back-off"), f"{outage.seconds:g} s",
        thousands(mean(found.calls, BEGIN - 600, BEGIN, scale)), thousands(mean(found.calls, last, end, scale)),
        thousands(mean(found.calls, end, end + 10, scale)), thousands(mean(found.calls, end, end + 60, scale)),
        thousands(mean(found.trips, last, end, scale)), f"{unserved:.0%}",
    )  # fmt: skip


def main() -> None:
    """Print all tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--small", action="store_true")
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    small, seed, began = asked.small, asked.seed, time.perf_counter()
    show_load(sessions=200 if small else 6_000, days=2 if small else 5, seed=seed)
    show_records(people=2_000 if small else 60_000, seed=seed)
    show_page_loads(pages=20 if small else 1_000, seed=seed)
    show_herds(sessions=200 if small else 6_000, seed=seed)
    print(f"\n(seed {seed}, {time.perf_counter() - began:.1f} s)")


if __name__ == "__main__":
    main()
