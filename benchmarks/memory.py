"""Whether memory is bounded, whoever comes: a million sessions through one process, and a million cookies of garbage.

python benchmarks/memory.py                        a million each, some minutes
python benchmarks/memory.py --sessions 20000       sooner
python benchmarks/memory.py --write                and into benchmarks/RESULTS.md
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import resource
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from compare import report
from compare.ours import Copy
from compare.subject import SIZES, App, Claims, Message, claims_of, receive, scope_for

BATCH = 500
SLACK = 16.0  # megabytes by which memory may drift once every table is full
NAME = "authjs.session-token"
FULL_AT = 0.2  # of all sessions have come when the tables are long full, with a million
Cookies = Callable[[int], str]


def megabytes() -> float:
    """The process's resident memory; where the system does not say it, the most that it ever was."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


async def grown(app: App, cookies: Cookies, *, many: int, body: bytes) -> list[tuple[int, float]]:
    """So many requests, and the megabytes after the first ones, some of them, and all."""
    looks = sorted({min(BATCH, many), *(max(int(many * part), 1) for part in (0.02, 0.1, FULL_AT, 0.5, 1))})
    found, sent = list[tuple[int, float]](), 0
    seen = list[bytes]()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            seen.append(message["body"])

    for look in looks:
        while sent < look:
            await app(scope_for(cookies(sent)), receive, send)
            sent += 1
            if sent % BATCH == 0:
                await asyncio.sleep(0)
                if set(seen) != {body}:
                    raise RuntimeError("The answers are not the ones that were to be measured.")
                seen.clear()
        found.append((sent, megabytes()))
    return found


def sessions(copy: Copy) -> Cookies:
    """Sealed cookies, each of a session of its own."""
    mint, template = copy.minter(), claims_of(SIZES["1.5 KB"], session=0)

    def cookie(number: int) -> str:
        own = f"{number:07d}"
        claims = template | {name: own + template[name][7:] for name in ("session_id", "access_token", "refresh_token")}
        header: str = mint(claims)
        return header

    return cookie


def expired_sessions(copy: Copy) -> Cookies:
    """The same with an access token that has expired."""
    mint, template = copy.minter(), claims_of(SIZES["1.5 KB"], session=0)

    def cookie(number: int) -> str:
        own = {"session_id": f"expired {number}", "expires_at": time.time() - 1}
        header: str = mint(template | own)
        return header

    return cookie


def garbage(copy: Copy, *, seed: int) -> Cookies:
    """Cookies that nobody sealed, of several kinds in turn: forged, cut, swapped, many, large, and not tokens at all."""
    chance, real = random.Random(seed), sessions(copy)(0).partition("=")[2]
    header, _, iv, text, tag = real.split(".")

    def noise(count: int) -> str:
        return urlsafe_b64encode(chance.randbytes(count)).decode().rstrip("=")

    kinds: list[Callable[[], str]] = [
        lambda: f"{NAME}={header}..{noise(12)}.{noise(900)}.{noise(16)}",
        lambda: f"{NAME}={header}..{iv}.{text}.{noise(16)}",
        lambda: f"{NAME}={header}..{noise(12)}.{text}.{tag}",
        lambda: f"{NAME}={noise(60)}..{noise(12)}.{noise(300)}.{noise(16)}",
        lambda: f"{NAME}={real[: chance.randrange(len(real))]}",
        lambda: f"{NAME}={noise(600)}",
        lambda: "; ".join(f"{NAME}.{number}={noise(250)}" for number in range(8)),
        lambda: "; ".join(f"{NAME}={noise(8)}" for _ in range(40)),
        lambda: f"{NAME}={noise(6000)}",
    ]
    return lambda number: kinds[number % len(kinds)]()


async def measured(*, many: int, rotations: int, seed: int) -> Iterator[list[str]]:
    """The rows of the table."""
    copy = Copy(speed=True)

    async def refresh(token: Claims) -> Any:
        return copy.root.TokenSet(token["access_token"][::-1], token["refresh_token"][::-1], time.time() + 7200)

    rotation = copy.rotation(refresh=refresh)
    app = copy.wrapped(rotation)
    rows = [("nothing yet", [(0, megabytes())], "")]
    for name, cookies, count, body in (
        ("sessions, each seen once", sessions(copy), many, b"1"),
        ("cookies of garbage", garbage(copy, seed=seed), many, b"0"),
        ("sessions that rotate, each a record in `memory://`", expired_sessions(copy), rotations, b"1"),
    ):
        looks = await grown(app, cookies, many=count, body=body)
        rows.append((name, looks, _verdict(looks) if body == b"0" or count == many else _each(rows[-1][1], looks)))
    await rotation.aclose()
    return iter(
        [[name, " → ".join(f"{mb:.0f}" for _, mb in looks), _counts(looks), note] for name, looks, note in rows]
    )


def _counts(looks: list[tuple[int, float]]) -> str:
    return " → ".join(f"{count:,}" for count, _ in looks)


def _verdict(looks: list[tuple[int, float]]) -> str:
    full = next(mb for count, mb in looks if count >= looks[-1][0] * FULL_AT)
    drift = looks[-1][1] - full
    return f"{drift:+.1f} MB from the fourth look on: {'bounded' if drift <= SLACK else '**grows**'}"


def _each(before: list[tuple[int, float]], looks: list[tuple[int, float]]) -> str:
    return f"{(looks[-1][1] - before[-1][1]) / looks[-1][0] * 1024:.1f} KB each; `max_records` is the bound"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--rotations", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=1, help="of the garbage")
    parser.add_argument("--write", action="store_true", help="write the section of benchmarks/RESULTS.md")
    parser.add_argument("--check", action="store_true", help="exit code 1 where memory grows")
    arguments = parser.parse_args()
    logging.getLogger("asgi_token_rotation").setLevel(logging.CRITICAL)
    began = time.monotonic()
    rows = asyncio.run(measured(many=arguments.sessions, rotations=arguments.rotations, seed=arguments.seed))
    text = report.table(["one process gets", "MB, resident", "after so many", ""], rows)
    print(f"{text}\n\nseed {arguments.seed}, {time.monotonic() - began:.0f} s")
    if arguments.write:
        report.put(report.RESULTS, {"Memory": f"{MEMORY} Run on {report.today()}.\n\n{text}"})
    return int(arguments.check and "grows" in text)


MEMORY = """`python benchmarks/memory.py`: one process, 1.5 KB of claims in each session, every cookie different. The tables (cookies
seen before, what is known of sessions) are empty at the first look and full at the fourth."""

if __name__ == "__main__":
    sys.exit(main())
