"""How fast the stores are on this machine: latency of get and compare_and_set, and sets per second of several processes.

python benchmarks/stores.py            SQLite in a folder of its own below the present one, and a Redis of its own
python benchmarks/stores.py --folder /var/lib/app --seconds 10
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from typing import Any

from sizes import redis_server, sealed_sizes

from asgi_token_rotation.stores import Store, store_from_url

READS = 2_000


async def load(
    store: Store, tasks: int, begin: float, seconds: float, size: int
) -> tuple[int, list[float], list[float]]:
    """Sets within the interval, and the seconds that each set and each get took. All processes have the same interval."""
    sets, gets = list[float](), list[float]()
    await store.get("connect")
    await asyncio.sleep(begin - time.time())

    async def one(number: int) -> None:
        key, held = f"{os.getpid()}:{number}", None
        while time.time() < begin + seconds:
            value, began = os.urandom(size), time.perf_counter()
            assert await store.compare_and_set(key, held, value, 600)
            sets.append(time.perf_counter() - began)
            held = value

    await asyncio.gather(*(one(number) for number in range(tasks)))
    late = tasks  # each task's last set may have ended after the interval
    for _ in range(READS):
        began = time.perf_counter()
        await store.get(f"{os.getpid()}:0")
        gets.append(time.perf_counter() - began)
    await store.aclose()
    return len(sets) - late, sets, gets


def work(url: str, tasks: int, begin: float, seconds: float, size: int, answers: Any) -> None:
    """One process."""
    answers.put(asyncio.run(load(store_from_url(url, clock=time.time), tasks, begin, seconds, size)))


def measure(url: str, *, processes: int, tasks: int, seconds: float, size: int) -> str:
    """One line of the table."""
    context = multiprocessing.get_context("spawn")
    answers, begin = context.Queue(), time.time() + 3
    workers = [context.Process(target=work, args=(url, tasks, begin, seconds, size, answers)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    found = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    sets = sorted(each for _, taken, _ in found for each in taken)
    gets = sorted(each for _, _, taken in found for each in taken)
    rate = sum(count for count, _, _ in found) / seconds
    store = url.partition(":")[0]
    return f"| {store} | {processes} x {tasks} | {rate:,.0f} | {quantiles(sets)} | {quantiles(gets)} |"


def quantiles(taken: list[float]) -> str:
    """The median and what 99 of a hundred stay below, in milliseconds; the list is sorted."""
    return f"{taken[len(taken) // 2] * 1000:.2f} / {taken[len(taken) * 99 // 100] * 1000:.2f}"


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folder", default=".")
    arguments.add_argument("--seconds", type=float, default=4)
    asked = arguments.parse_args()
    size = sealed_sizes()["published"]
    print(f"{os.cpu_count()} cores; values of {size} bytes\n")
    print(
        "| store | processes x tasks | sets/s | set, ms: median / 99 % | get, ms: median / 99 % |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder, redis_server() as redis:
        for processes, tasks in ((1, 1), (1, 50), (4, 1), (4, 50)):
            path = os.path.abspath(os.path.join(folder, f"{processes}-{tasks}.db"))
            for url in (f"sqlite:///{path}", redis):
                print(measure(url, processes=processes, tasks=tasks, seconds=asked.seconds, size=size), flush=True)


if __name__ == "__main__":
    main()
