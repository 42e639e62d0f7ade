"""What one session's record is in the store, in bytes: measured with the package's own code.

python benchmarks/sizes.py            the sealed sizes
python benchmarks/sizes.py --redis    and what Redis makes of them; needs redis-server, and starts one of its own
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

from asgi_token_rotation import TokenSet
from asgi_token_rotation._rotation import record as records
from asgi_token_rotation._rotation.record import Claim, Record
from asgi_token_rotation._rotation.sealing import RecordSeal, key_of

NOW = 1_795_461_718.25
GRACE, UNDELIVERED = 30.0, 3 * 86_400.0
CLAIMS = 1536  # bytes of JSON: an access token of some 800, a refresh token, a name, an address, a few roles
TTL = 30 * 86_400 + 60.0
KEY = key_of("a session")


def noise(seed: str, length: int) -> str:
    """Text like a token's: base64url, not compressible."""
    blocks = (hashlib.sha512(f"{seed} {number}".encode()).digest() for number in range(length // 64 + 1))
    return urlsafe_b64encode(b"".join(blocks)).decode()[:length]


def token(*, generation: int = 0, issued_at: float = NOW, size: int = CLAIMS) -> dict[str, Any]:
    """Claims that are ``size`` bytes long as JSON."""
    claims: dict[str, Any] = {
        "name": "Ada Lovelace", "email": "ada@example.com", "picture": "https://example.com/a/42.png", "sub": noise("sub", 36),
        "provider": "credentials", "session_id": noise("session", 43), "generation": generation, "signed_in_at": NOW - 86_400.5,
        "access_token": noise(f"access {generation}", 800), "refresh_token": noise(f"refresh {generation}", 64),
        "issued_at": issued_at, "expires_at": issued_at + 900, "roles": "",
    }  # fmt: skip
    return claims | {"roles": noise("roles", size - len(json.dumps(claims, separators=(",", ":"))))}


def life() -> dict[str, Record]:
    """The records of one session, from its second refresh on."""
    old = token(generation=1)
    begun = records.first(old, now=NOW)
    first_claim = records.claimed(
        None, token(), Claim(owner=noise("owner", 16), lease=6.0), presented=0, grace=GRACE, now=NOW
    )
    answer = TokenSet(noise("access 2", 800), noise("refresh 2", 64), NOW + 1800)
    held = records.refreshed(begun, old, answer, grace=GRACE, undelivered=UNDELIVERED, now=NOW + 850)
    marked = records.noted(held, 2, grace=GRACE, now=NOW + 900)
    assert held is not None
    assert held.token is not None
    claim = Claim(owner=noise("owner", 16), lease=6.0, beat=1)
    later = records.claimed(marked, held.token, claim, presented=2, grace=GRACE, now=NOW + 1750)
    failed = records.failed(later, claim.owner, kind="unavailable", retry_at=NOW + 1760.5, now=NOW + 1755.25)
    ended = records.ended(marked, 2, reason="sign_out", now=NOW + 1750)
    found = {
        "claim, first refresh": first_claim,
        "published": held,
        "published, delivery noted": marked,
        "claim, later refresh": later,
        "back-off": failed,
        "ended": ended,
    }
    return {name: record for name, record in found.items() if record is not None}


def sealed_sizes() -> dict[str, int]:
    """The bytes of each as they go to the store."""
    seal = RecordSeal(["a secret for measuring, longer than thirty-two characters"])
    return {name: len(seal.seal(KEY, record)) for name, record in life().items()}


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Redis of our own on a free port, which keeps nothing."""
    program = shutil.which("redis-server") or sys.exit("redis-server is not installed: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        options = ("--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no")
        with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
            try:
                time.sleep(0.5)
                yield f"redis://127.0.0.1:{port}"
            finally:
                process.terminate()


async def in_redis(sizes: dict[str, int], *, sessions: int = 20_000) -> None:
    """Memory for one record, and bytes on the wire for one refresh, by Redis's own accounts."""
    from redis.asyncio import Redis

    from asgi_token_rotation.stores.redis import RedisStore

    with redis_server() as url:
        client, store = Redis.from_url(url, protocol=2), RedisStore.from_url(url)
        await asyncio.gather(*(store.get("connect") for _ in range(500)))  # the connections' own memory
        print("\nMemory for one record: MEMORY USAGE, and the growth of used_memory with so many records")
        for name, size in sizes.items():
            await client.flushall()
            before = (await client.info("memory"))["used_memory"]
            value = bytes(size)
            for begin in range(0, sessions, 500):
                keys = [key_of(f"{name} {number}") for number in range(begin, begin + 500)]
                await asyncio.gather(*(store.compare_and_set(key, None, value, TTL) for key in keys))
            usage = await client.memory_usage(key_of(f"{name} 0"))
            grown = ((await client.info("memory"))["used_memory"] - before) / sessions
            print(f"  {name:28} {size:6} B sealed  {usage:6} B  {grown:8.0f} B")
        await wire(client, store, sizes)
        await client.aclose()
        await store.aclose()


async def wire(client: Any, store: Any, sizes: dict[str, int]) -> None:
    """Bytes on the wire, as the server counts them, without the counting itself."""

    async def counted(work: Any) -> tuple[float, float]:
        async def stats() -> tuple[int, int]:
            found = await client.info("stats")
            return found["total_net_input_bytes"], found["total_net_output_bytes"]

        first, second = await stats(), await stats()
        await work
        third = await stats()
        return third[0] * 1.0 - 2 * second[0] + first[0], third[1] * 1.0 - 2 * second[1] + first[1]

    old, claim, new = (
        bytes([number]) * sizes[name] for number, name in enumerate(("published", "claim, later refresh", "published"))
    )
    await store.compare_and_set(KEY, None, old, TTL)
    print("\nBytes to and from the server")
    for name, work in (
        ("GET of a full record", store.get(KEY)),
        ("claim (compare_and_set)", store.compare_and_set(KEY, old, claim, TTL)),
        ("publish (compare_and_set)", store.compare_and_set(KEY, claim, new, TTL)),
        ("delivery noted (compare_and_set)", store.compare_and_set(KEY, new, old, TTL)),
        ("a lost compare_and_set", store.compare_and_set(KEY, new, old, TTL)),
    ):
        sent, received = await counted(work)
        print(f"  {name:34} {sent:7.0f} B in {received:7.0f} B out")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--redis", action="store_true")
    asked = arguments.parse_args()
    began = time.perf_counter()
    sizes = sealed_sizes()
    print(f"Key: {len(KEY)} bytes. Claims: {CLAIMS} bytes of JSON.")
    for name, size in sizes.items():
        print(f"  {name:28} {size:6} B")
    if asked.redis:
        asyncio.run(in_redis(sizes))
    print(f"({time.perf_counter() - began:.1f} s)")


if __name__ == "__main__":
    main()
