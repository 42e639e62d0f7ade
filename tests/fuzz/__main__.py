"""``make fuzz``: SEED repeats a run, N is the number of inputs, INPUT runs a single one."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

from fuzz.examine import CALLS_PER_BYTE, MEMORY_PER_BYTE, MOST_CALLS, MOST_MEMORY, MOST_SEALS, told
from fuzz.sources import BATCH, Found, batches_of_seed, broken_by, by_coverage, smaller, with_hypothesis

Job = tuple[str, Callable[[int, int, int], Found], int, int]  # the source, what runs it, a number, a count

GUIDED, HYPOTHESIS = 0.10, 0.04  # of the inputs; the rest are mutations by the seed, which is the fastest
PARTS = 4  # of the guided inputs and of Hypothesis's
PER_JOB = 20  # batches of the seed


def main() -> int:
    """The exit code: 0 where no rule was broken."""
    if os.environ.get("INPUT"):
        return _single(bytes.fromhex(os.environ["INPUT"]))
    count = int(os.environ.get("N") or 1_000_000)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1, 1_000_000))
    _say(f"SEED={seed} N={count}")
    began, total, sources = time.monotonic(), Found(), {"seed": 0, "Hypothesis": 0, "coverage": 0}
    with ProcessPoolExecutor(int(os.environ.get("PROCESSES") or 2), multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(run, seed, number, size): source for source, run, number, size in _jobs(count)}
        for done, future in enumerate(as_completed(running), 1):
            found = future.result()
            total.add(found)
            sources[running[future]] += found.inputs
            if total.broken:
                pool.shutdown(wait=False, cancel_futures=True)
                break
            if done % 10 == 0:
                _say(f"  {total.inputs:,} inputs, {time.monotonic() - began:.0f} s")
    if total.broken:
        return _report(total, seed)
    seconds = time.monotonic() - began
    shares = ", ".join(f"{number:,} by {source}" for source, number in sources.items())
    _say(
        f"{total.inputs:,} inputs in {seconds:.0f} s ({total.inputs / seconds:,.0f} a second): {shares}. No rule was broken."
    )
    highest = total.highest
    _say(
        f"The costliest: {highest['seals']} calls into authenticated encryption (of {MOST_SEALS});"
        f" {highest['calls']:,} calls (of {MOST_CALLS:,}) over {CALLS_PER_BYTE} for each byte that is parsed;"
        f" {highest['memory']:,} bytes (of {MOST_MEMORY:,}) over {MEMORY_PER_BYTE} times its size."
    )
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _jobs(count: int) -> list[Job]:
    """The slow ones first. Without atheris its share is the seed's."""
    guided = 0
    if importlib.util.find_spec("atheris") is None:
        _say("atheris is not installed here, so coverage guides nothing: its share is mutated by the seed.")
    else:
        guided = int(count * GUIDED)
    hypothesis = int(count * HYPOTHESIS)
    jobs: list[Job] = [("coverage", by_coverage, number, guided // PARTS) for number in range(PARTS) if guided]
    jobs += [("Hypothesis", with_hypothesis, number, hypothesis // PARTS) for number in range(PARTS)]
    left = count - sum(size for *_, size in jobs)
    for first in range(0, -(-left // BATCH), PER_JOB):
        jobs.append(("seed", batches_of_seed, first, min(PER_JOB * BATCH, left - first * BATCH)))
    return jobs


def _single(data: bytes) -> int:
    _say(told(data))
    broken = broken_by(data)
    _say(f"Broken: {broken}" if broken else "No rule was broken.")
    return 1 if broken else 0


def _report(found: Found, seed: int) -> int:
    _say(f"\nBroken: {found.broken}")
    alone = found.data and broken_by(found.data) == found.broken
    least = smaller(found.data, found.broken) if alone else found.data
    if least:
        _say(told(least))
    if alone:
        _say(f"\nAgain:  INPUT={least.hex()} make fuzz")
    else:
        _say(f"\nOn its own this input breaks nothing: it needs the ones before it.\nAgain:  SEED={seed} make fuzz")
    return 1


if __name__ == "__main__":
    sys.exit(main())
