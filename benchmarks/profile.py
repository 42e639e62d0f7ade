"""Where the time of a request goes, by function: the table to read before making anything faster.

python benchmarks/profile.py                the rows of the budget at 1.5 KB
python benchmarks/profile.py --speed        with the ``speed`` extra
python benchmarks/profile.py --write        and into benchmarks/RESULTS.md
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import re
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare import report
from compare.ours import MARGIN, Copy
from compare.subject import MIDDLE, SIZES, Message, Subject, bare, claims_of, receive, scope_for

BATCH = 20
Function = tuple[str, int, str]  # as pstats has it: file, line, name


@dataclass(frozen=True, slots=True)
class Step:
    """What one function takes of a request, without what it calls."""

    function: str
    calls: float
    microseconds: float


def steps_of(subject: Subject, *, requests: int) -> tuple[float, list[Step]]:
    """The microseconds of one request, and of each function in it.

    The profiler slows down every call alike, so what it added is taken off again by the number of calls, and the rest
    scaled to the time that the requests take without it. Functions are the median of three runs.
    """
    # This file has the name of a module that cProfile imports, so its folder has to be searched last.
    sys.path.append(sys.path.pop(0))
    import cProfile
    import pstats

    asyncio.run(_requests(subject, requests))
    real = min(asyncio.run(_requests(subject, requests)) for _ in range(3))
    profiles = list[dict[Function, tuple[int, float]]]()
    for _ in range(3):
        profiler = cProfile.Profile()
        asyncio.run(_requests(subject, requests, profiler))
        profiles.append(_of_the_request(pstats.Stats(profiler)))
    names = set.intersection(*(set(profile) for profile in profiles))
    own = {name: (profiles[0][name][0], statistics.median(profile[name][1] for profile in profiles)) for name in names}
    added = max(sum(seconds for _, seconds in own.values()) - real, 0.0) / sum(calls for calls, _ in own.values())
    corrected = {name: max(seconds - added * calls, 0.0) for name, (calls, seconds) in own.items()}
    unit = real / sum(corrected.values()) / requests * 1e6
    steps = [Step(_name(name), own[name][0] / requests, corrected[name] * unit) for name in names]
    return real / requests * 1e6, sorted(steps, key=lambda step: -step.microseconds)


def _of_the_request(stats: Any) -> dict[Function, tuple[int, float]]:
    """Calls and own seconds of each function, without the ones that drive the measurement."""
    return {
        function: (row[1], row[2])
        for function, row in stats.stats.items()
        if function[0] != __file__ and not any(word in function[2] for word in ("lsprof", "process_time"))
    }


async def _requests(subject: Subject, requests: int, profiler: Any = None) -> float:
    """Seconds of processor time. A few cookies at a time, so that they are as near to the processor as a server's are."""
    app, taken, cookie = subject.app, 0.0, subject.cookie(claims_of(SIZES[MIDDLE], session=0))
    for first in range(0, requests, BATCH):
        scopes = [scope_for(each) for each in _cookies(subject, cookie, first, min(BATCH, requests - first))]
        if profiler is not None:
            profiler.enable()
        began = time.process_time()
        for scope in scopes:
            await app(scope, receive, _ignores)
        taken += time.process_time() - began
        if profiler is not None:
            profiler.disable()
    return taken


def _cookies(subject: Subject, cookie: str, first: int, many: int) -> list[str]:
    if subject.cookies not in ("fresh", "kept"):
        return [cookie] * many
    # The seal has a fresh IV each time, so these cookies are new, whichever sessions were here before.
    return [subject.cookie(claims_of(SIZES[MIDDLE], session=number)) for number in range(first, first + many)]


async def _ignores(message: Message) -> None:
    pass


def _name(function: Function) -> str:
    file, line, name = function
    if file == "~":
        return re.sub(r" at 0x[0-9a-f]+", "", name.strip("<>"))
    path = Path(file)
    package = "asgi_token_rotation"
    place = path.relative_to(Path(*path.parts[: path.parts.index(package) + 1])) if package in path.parts else path.name
    return f"{place}:{line} {name}"


def tables(*, speed: bool, requests: int, lines: int) -> str:
    """A table for each row of the budget but for the margin, whose requests do the same as those before it."""
    copy = Copy(speed=speed)
    nothing, _ = steps_of(Subject(name="bare", app=bare(seen=False), cookies="none"), requests=requests)
    texts = []
    for subject in copy.subjects():
        if subject.budget is None or MARGIN in subject.name:
            continue
        total, steps = steps_of(subject, requests=requests)
        rows = [[f"`{step.function}`", f"{step.calls:.1f}", f"{step.microseconds:.1f}"] for step in steps[:lines]]
        rows.append(["all others", "", f"{sum(step.microseconds for step in steps[lines:]):.1f}"])
        head = [subject.name, "calls", f"µs of {total:.1f} (bare: {nothing:.1f})"]
        texts.append(report.table(head, rows))
    return "\n\n".join(texts)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true", help="with the speed extra")
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--lines", type=int, default=14, help="of each table")
    parser.add_argument("--write", action="store_true", help="write the section of benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    logging.getLogger("asgi_token_rotation").setLevel(logging.ERROR)
    gc.disable()  # its runs would count for whichever function happens to cause them
    text = tables(speed=arguments.speed, requests=arguments.requests, lines=arguments.lines)
    print(text)
    if arguments.write:
        report.put(report.RESULTS, {"Where the time goes": f"{PROFILE}\n\n{text}"})


PROFILE = """`python benchmarks/profile.py`: own time of the functions of one request at 1.5 KB of claims, with the standard library's
JSON. The profiler's own share is taken off by the number of calls, so small differences mean nothing."""

if __name__ == "__main__":
    main()
