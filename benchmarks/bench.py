"""What a request costs: this middleware beside others, called directly and through uvicorn, in one run.

python benchmarks/bench.py                 everything, some minutes; writes benchmarks/RESULTS.md
python benchmarks/bench.py --check         the same, and exit code 1 where something is over the budget
python benchmarks/bench.py --quick         a few rounds, to see that it runs; its figures mean nothing, nothing is written
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from compare import budget, report, wrk
from compare.direct import BARE, Cost, measured
from compare.floor import floors
from compare.herd import stampede
from compare.imports import import_milliseconds
from compare.ours import NONE, SEEN, WRITTEN, Copy
from compare.peers import STARLETTE_READ, missing, peers
from compare.subject import MIDDLE, SIZES, Subject, bare

BARE_WITHOUT_COOKIE = f"{BARE}, request without a cookie"
MARKED = ("ours", "Starlette SessionMiddleware, read")  # the rows that are compared, in bold

BUDGET = """Overhead of one request over the bare application, at 1.5 KB of claims and with both callbacks, as a multiple of
what Starlette's `SessionMiddleware` takes to read its session in the same run; in brackets, where half of all rounds
lie. "(speed)" is with the extra of that name (orjson and pybase64), the other rows run on the standard library."""
DIRECT = """Processor time over the bare application ({bare:.1f} µs a request), as a multiple of Starlette's read, by the size of the
claims; in brackets, where half of all rounds lie. Lower is better."""
PEERS = """What is compared is not the same work. Starlette's middleware only signs: who holds the cookie can read it.
starsessions and Litestar write their cookie with every response. The two JOSE rows open a token and parse it, without a
middleware's other duties. The floor is no middleware: it shows what the encryption alone costs in Python, below which
no session in an encrypted cookie comes. An empty `BaseHTTPMiddleware` keeps no session at all. At 3.5 KB the cookies of Starlette,
starsessions and the JOSE rows are longer than browsers take; ours and Litestar's come in chunks."""
UVICORN = """Requests a second as a multiple of the bare application's in the same round: the median, and the lowest and highest of
{rounds} rounds. Higher is better. One uvicorn process a subject, `wrk` with 16 connections on the same machine. wrk keeps no
cookie jar, so the same cookie is sent again and again, also where a new one is set."""
METHOD = """`make bench`, which is `python benchmarks/bench.py` and the scripts below it. Called directly: {rounds} rounds in which every
subject has a turn of {batch} requests, in another order in each round; the 10th percentile of the processor time of these
turns. Every answer is checked: whether the application saw the session, and whether the cookie was written. All
subjects carry the same claims. Cookies that are "not seen before" are sealed apart from the middleware and sent once;
"written back" sends what the last response set, as a browser does. The waiting requests are sent at one moment, {herds} times,
and timed by the wall clock; the median counts."""


def subjects() -> list[Subject]:
    """All rows of the direct comparison."""
    nothing = Subject(name=BARE, app=bare(seen=False), cookies="none")
    return [
        nothing,
        *peers(),
        *floors(speed=False),
        *floors(speed=True),
        *Copy(speed=False).subjects(),
        *Copy(speed=True).subjects(),
    ]


def served() -> list[Subject]:
    """The rows behind uvicorn. The bare application comes first, with a cookie as long as Starlette's."""
    everything = {subject.name: subject for subject in subjects()}
    chosen = [f"ours: {row}" for row in (NONE, SEEN, WRITTEN)]
    left_out = ("ours", "floor", "jwcrypto", BARE)
    others = [name for name in everything if not name.startswith(left_out)]
    nothing = Subject(name=BARE, app=bare(seen=True), mint=everything[STARLETTE_READ].mint)
    without = Subject(name=BARE_WITHOUT_COOKIE, app=bare(seen=False), cookies="none")
    return [nothing, without, Copy(speed=False).without_cache(), *(everything[name] for name in (*chosen, *others))]


def main() -> int:
    """Measure, print, write."""
    arguments = _arguments()
    logging.getLogger("asgi_token_rotation").setLevel(logging.ERROR)
    rounds, batch, herds, requests, imports = (4, 2, 1, 50, 1) if arguments.quick else (240, 20, 5, 1000, 5)
    said = _silent if arguments.quick else _say
    costs, bare_takes = {}, {}
    for label, size in SIZES.items():
        lines = subjects()  # anew, as a refresh of one run would be known to the next
        costs[label], bare_takes[label] = measured(lines, base=STARLETTE_READ, size=size, rounds=rounds, batch=batch)
        said(f"called directly, {label}: done")
    rows = budget.of_costs(lines, costs[MIDDLE])
    rows += budget.of_herds([stampede(Copy(speed=False), requests=requests) for _ in range(herds)])
    rows.append(budget.of_import(*import_milliseconds(times=imports)))
    sections = {
        "Budget": _budget(rows),
        "Called directly": _direct(costs, bare_takes[MIDDLE]),
        "Through uvicorn, under wrk": _through_uvicorn(rounds=arguments.wrk_rounds, said=said),
        "How it was measured": METHOD.format(rounds=rounds, batch=batch, herds=herds) + "\n\n" + report.machine(),
    }
    for title, text in sections.items():
        print(f"\n## {title}\n\n{text}")
    if arguments.out is not None:
        report.put(arguments.out, sections)
    return int(arguments.check and not all(row.within for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few rounds, without wrk")
    parser.add_argument("--check", action="store_true", help="exit code 1 where something is over the budget")
    parser.add_argument(
        "--wrk-rounds", type=int, help="runs of wrk for each subject and size; 3, and with --quick none"
    )
    parser.add_argument(
        "--out", type=Path, help="where the results go; benchmarks/RESULTS.md, and nowhere with --quick"
    )
    arguments = parser.parse_args()
    if arguments.wrk_rounds is None:
        arguments.wrk_rounds = 0 if arguments.quick else 3
    if arguments.out is None and not arguments.quick:
        arguments.out = report.RESULTS
    return arguments


def _budget(rows: Sequence[budget.Row]) -> str:
    over = sum(not row.within for row in rows)
    text = f"All {len(rows)} rows are within." if not over else f"{over} of {len(rows)} rows are over."
    return (
        f"{BUDGET}\n\n{report.table(['request', 'at most', 'measured', ''], (row.cells() for row in rows))}\n\n{text}"
    )


def _direct(costs: dict[str, dict[str, Cost]], bare_takes: float) -> str:
    names = sorted(costs[MIDDLE], key=lambda name: costs[MIDDLE][name].ratio)
    rows = [
        [_marked(name), *(costs[label][name].cell() for label in SIZES), f"{costs[MIDDLE][name].microseconds:.0f}"]
        for name in names
    ]
    head = ["subject", *SIZES, f"µs at {MIDDLE}"]
    lost = [name for name in names if name.startswith("ours") and costs[MIDDLE][name].ratio > 1]
    slower = f"Slower than Starlette's read at {MIDDLE}: {', '.join(lost)}." if lost else ""
    absent = f"Not installed, so not measured: {', '.join(missing())}." if missing() else ""
    note = DIRECT.format(bare=bare_takes)
    return "\n\n".join(filter(None, (note, report.table(head, rows), slower, absent, PEERS)))


def _through_uvicorn(*, rounds: int, said: Callable[[str], None]) -> str:
    reason = wrk.unavailable() if rounds else "it was not asked for"
    if reason:
        return f"Not measured: {reason}."
    lines = served()
    found = wrk.rates(lines, SIZES, rounds=rounds, seconds=1, connections=16, said=said)
    names = sorted((line.name for line in lines), key=lambda name: -found[MIDDLE][name].ratio)
    rows = [
        [_marked(name), *(found[label][name].cell() for label in SIZES), f"{found[MIDDLE][name].per_second:,.0f}"]
        for name in names
    ]
    head = ["subject", *SIZES, f"requests/s at {MIDDLE}"]
    return f"{UVICORN.format(rounds=rounds)}\n\n{report.table(head, rows)}"


def _marked(name: str) -> str:
    return f"**{name}**" if name.startswith(MARKED) and name != f"{STARLETTE_READ} and write" else name


def _silent(text: str) -> None:
    pass


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
