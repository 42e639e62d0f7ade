from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from asgi_token_rotation.errors import ConfigurationError, StoreError
from asgi_token_rotation.stores import SQLiteStore, Store
from asgi_token_rotation.stores._sqlite_file import _switch_to_wal, _told
from asgi_token_rotation.testing import Clock
from stores.contract import CONTRACT, ttl_ends
from stores.sqlite_process import CLAIMS, INCREMENTS, increment

DAY = 86_400
SCRIPT = Path(__file__).with_name("sqlite_process.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
async def store(path: Path, clock: Clock) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(path, clock=clock)
    yield store
    await store.aclose()


def process(name: str, path: Path, argument: object = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", str(SCRIPT), name, str(path), str(argument)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent.parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def output(running: subprocess.Popen[str]) -> list[str]:
    lines, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    return lines.splitlines()


def at_once(path: Path, name: str, *arguments: object) -> list[list[str]]:
    """What several processes print that begin at one moment."""
    running = [process(name, path, argument) for argument in arguments]
    for one in running:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    Path(f"{path}.go").touch()
    return [output(one) for one in running]


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another program is in the middle of a write."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def asked(path: Path, question: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        return other.execute(question).fetchall()


async def put(store: Store, key: str, value: bytes = b"k1:", *, ttl: float = DAY) -> None:
    assert await store.compare_and_set(key, None, value, ttl)


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "asgi-token-rotation-sqlite"}


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_contract(check: Callable[[Store], Awaitable[None]], store: SQLiteStore) -> None:
    """The SQLite store does what every store must do."""
    await check(store)


async def test_ttl(store: SQLiteStore, clock: Clock) -> None:
    """The SQLite store forgets by the clock that it was given."""

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    await ttl_ends(store, advance=advance)


async def test_default_clock(path: Path) -> None:
    """Without a clock the time of day counts."""
    store = SQLiteStore(str(path))
    await put(store, "key", ttl=60)
    await put(store, "gone", ttl=0)

    assert [await store.get("key"), await store.get("gone")] == [b"k1:", None]
    await store.aclose()


def test_four_processes(path: Path) -> None:
    """R1: in four processes at once the contract holds, no increment is lost, and each claim has exactly one winner."""
    won = at_once(path, "contending", *range(4))

    assert asked(path, "SELECT value FROM record WHERE key = 'counter'") == [(b"%d" % (4 * INCREMENTS),)]
    assert sorted(int(number) for numbers in won for number in numbers) == list(range(CLAIMS))


async def test_killed_in_the_middle_of_writes(path: Path) -> None:
    """What was answered survives kill -9, the file stays whole, and the next process goes on without repair."""
    for attempt in range(3):
        running = process("endless", path, "killed ")
        assert running.stdout is not None
        lines = [running.stdout.readline()]
        time.sleep(0.05 + 0.07 * attempt)
        running.send_signal(signal.SIGKILL)
        lines += running.stdout.read().splitlines()  # not communicate(): it leaves out what readline() has buffered
        running.wait()
        running.stdout.close()
        answered = {key: int(number) for _, key, number in (line.split() for line in lines if line.count(" ") == 2)}

        store = SQLiteStore(path)
        stored = {key: int(await store.get(f"killed {key}") or b"0") for key in answered}
        assert all(answered[key] <= stored[key] <= answered[key] + 2 for key in answered), (answered, stored)
        await increment(store, "after")
        assert asked(path, "PRAGMA integrity_check") == [("ok",)]
        await store.aclose()

    for check in CONTRACT:
        store = SQLiteStore(path)
        await store.delete("key")
        await check(store)


def test_fork(path: Path) -> None:
    """A store that was used before a fork serves parent and child, and what the parent closes costs the child nothing."""
    assert output(process("fork", path)) == ["['before', 'parent', 'child', 'child, parent closed']"]
    assert asked(path, "PRAGMA integrity_check") == [("ok",)]


async def test_fork_in_the_middle(store: SQLiteStore, path: Path) -> None:
    """A fork while a write waits for another connection costs the parent nothing."""
    await put(store, "key")
    with held(path):
        write = asyncio.create_task(store.compare_and_set("key", b"k1:", b"k1:second", DAY))
        await asyncio.sleep(0.02)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads: that is the point
            child = os.fork()
            if child == 0:
                os._exit(0)
        os.waitpid(child, 0)

    assert await write
    assert await store.get("key") == b"k1:second"


@pytest.mark.parametrize(("existing", "mode"), [(None, 0o600), (0o640, 0o640)])
async def test_file_modes(path: Path, clock: Clock, existing: int | None, mode: int) -> None:
    """The files that the store makes are its user's alone, whatever the umask; one that exists keeps its mode."""
    umask = os.umask(0)
    try:
        if existing is not None:
            os.close(os.open(path, os.O_CREAT, existing))
        store = SQLiteStore(path, clock=clock)
        assert path.exists() is (existing is not None)
        await put(store, "key")
    finally:
        os.umask(umask)

    files = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert files == dict.fromkeys(("sessions.db", "sessions.db-wal", "sessions.db-shm"), mode)
    await store.aclose()
    assert [file.name for file in path.parent.iterdir()] == ["sessions.db"]


async def test_safe_settings(store: SQLiteStore) -> None:
    """A commit is on the disk before it is answered: WAL with FULL, since NORMAL forgets when the power goes."""
    await put(store, "key")
    connection = store._file._connection
    assert connection is not None
    settings = [connection.execute(f"PRAGMA {name}").fetchall() for name in ("synchronous", "journal_mode")]

    assert settings == [[(2,)], [("wal",)]]


def test_unwritable() -> None:
    """A folder or a file that may not be written is told at start-up, and as a StoreError where it becomes so later."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "closed").mkdir(0o555)
        (folder / "open" / "folder.db").mkdir(parents=True)
        (folder / "open" / "closed.db").touch(0o400)
        if os.getuid() == 0:
            os.chown(folder / "open", 65534, 65534)

        assert output(process("unwritable", folder)) == ["done"]


def test_full_disk(path: Path) -> None:
    """A disk without room costs the operation that needed it, and nothing that was there before or comes after."""
    assert output(process("full", path)) == ["done"]


@pytest.mark.parametrize("bad", ["", ":memory:", "a\0b", 5, None, b"bytes.db"])
def test_bad_path(bad: Any) -> None:
    """What is no path of a file is refused with a sentence."""
    with pytest.raises(ConfigurationError, match=r"SQLiteStore\.path is no path of a file: expected"):
        SQLiteStore(bad)


def test_missing_folder(tmp_path: Path) -> None:
    """A missing folder is told at start-up, by its name."""
    with pytest.raises(ConfigurationError, match=r"there is no folder .*/nowhere: create it"):
        SQLiteStore(tmp_path / "nowhere" / "sessions.db")


@pytest.mark.parametrize(
    "options", [{"busy_timeout": value} for value in (-1, True, "5", float("inf"), float("nan"))] + [{"clock": 5}]
)
def test_bad_options(path: Path, options: Any) -> None:
    """Options that make no sense are refused with a sentence that names them."""
    with pytest.raises(ConfigurationError, match=rf"SQLiteStore\.{next(iter(options))} is .*: expected a"):
        SQLiteStore(path, **options)


async def test_path_is_fixed_at_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path names the same file after the working directory has changed, as a daemon's does."""
    monkeypatch.chdir(path.parent)
    store = SQLiteStore("sessions.db")
    monkeypatch.chdir("/")
    await put(store, "key")
    await store.aclose()

    assert path.exists()


async def test_damaged_file(path: Path, clock: Clock) -> None:
    """A file that is no database is told with a sentence, and moving it away is enough."""
    path.write_bytes(b"no database " * 1000)
    store = SQLiteStore(path, clock=clock)
    with pytest.raises(StoreError, match="is damaged or no SQLite database: move it away"):
        await store.get("key")
    path.rename(f"{path}.damaged")

    await put(store, "key")
    await store.aclose()


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ("CREATE TABLE users (name TEXT)", "another program's database"),
        ("PRAGMA application_id = 5", "another program's database"),
        (f"PRAGMA application_id = {0x61747273}; PRAGMA user_version = 2", "has format 2, .* knows format 1"),
    ],
)
async def test_foreign_database(path: Path, statements: str, words: str) -> None:
    """Another program's database, or a later version's, is refused and not changed."""
    with closing(sqlite3.connect(path)) as other:
        other.executescript(statements)
    before = path.read_bytes()
    store = SQLiteStore(path)
    with pytest.raises(StoreError, match=words):
        await store.compare_and_set("key", None, b"k1:", DAY)
    await store.aclose()

    assert path.read_bytes() == before


async def test_made_by_several_at_once(tmp_path: Path) -> None:
    """Workers that start together and find no file yet all come to use the one that the fastest of them makes."""
    for number in range(40):
        stores = [SQLiteStore(tmp_path / f"{number}.db") for _ in range(3)]
        assert await asyncio.gather(*(store.get("key") for store in stores)) == [None] * 3
        for store in stores:
            await store.aclose()


async def test_replaced_file(store: SQLiteStore, path: Path) -> None:
    """Where the file is removed or replaced, a worker goes on in the new one, where the others are."""
    await put(store, "key")
    for file in path.parent.iterdir():
        file.unlink()
    other = SQLiteStore(path)
    await put(other, "key", b"k1:other", ttl=10 * 365 * DAY)

    assert await store.get("key") == b"k1:other"
    path.parent.joinpath("sessions.db").unlink()
    assert await store.get("key") is None
    await other.aclose()


async def test_held_for_too_long(path: Path) -> None:
    """While another connection writes, reads are answered and the loop runs; a write fails after busy_timeout, and can be repeated."""
    store = SQLiteStore(path, busy_timeout=0.6)
    await put(store, "key")
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - before)

    watching = asyncio.create_task(watch())
    with held(path):
        started = time.monotonic()
        write = asyncio.create_task(store.compare_and_set("key", b"k1:", b"k1:second", DAY))
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(store.get("key"), 0.4) == b"k1:"
        with pytest.raises(StoreError, match=r"for more than 0\.6 seconds \(busy_timeout\): look for"):
            await write
        assert 0.6 <= time.monotonic() - started < 5
    watching.cancel()

    assert longest < 0.4
    assert await store.compare_and_set("key", b"k1:", b"k1:second", DAY)
    await store.aclose()


async def test_held_for_a_moment(path: Path) -> None:
    """A write waits for another connection's, and is made once that is done."""
    store = SQLiteStore(path)
    await put(store, "key")
    with held(path):
        writes = [
            asyncio.create_task(store.compare_and_set("key", b"k1:", b"k1:%d" % number, DAY)) for number in range(200)
        ]
        await asyncio.sleep(0.1)
        assert not any(write.done() for write in writes)

    assert (await asyncio.gather(*writes)).count(True) == 1
    await store.aclose()


async def test_nothing_lost_by_many_at_once(store: SQLiteStore) -> None:
    """A hundred tasks that increment one record at once lose nothing."""
    await asyncio.gather(*(increment(store, "counter") for _ in range(100)))

    assert await store.get("counter") == b"100"


async def test_a_programming_error_reaches_its_caller(store: SQLiteStore) -> None:
    """What no store can hold is a StoreError, without a word of it, and the store goes on."""
    with pytest.raises(StoreError, match=r"^The SQLite store failed with UnicodeEncodeError\.$"):
        await store.compare_and_set("\ud800", None, b"k1:", DAY)

    await put(store, "key")


def test_several_loops(path: Path) -> None:
    """One store serves event loops one after another, and several at once, and loses nothing."""
    store = SQLiteStore(path)
    for _ in range(3):
        asyncio.run(increment(store, "counter"))

    async def ten() -> None:
        for _ in range(10):
            await increment(store, "counter")

    with ThreadPoolExecutor(4) as pool:
        for running in [pool.submit(asyncio.run, ten()) for _ in range(4)]:
            running.result()

    assert asyncio.run(store.get("counter")) == b"43"
    asyncio.run(store.aclose())


def test_closed_loop(path: Path) -> None:
    """A write whose loop was closed before the answer came is made all the same, and hurts nobody."""
    store = SQLiteStore(path)
    asyncio.run(put(store, "key"))

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.compare_and_set("late", None, b"k1:", DAY), 0.02)

    with held(path):
        asyncio.run(give_up())
    asyncio.run(store.aclose())

    assert asyncio.run(store.get("late")) == b"k1:"
    asyncio.run(store.aclose())


async def test_cancelled(store: SQLiteStore, path: Path) -> None:
    """I5: a write whose caller was cancelled is made all the same."""
    await put(store, "key")
    with held(path):
        write = asyncio.create_task(store.compare_and_set("cancelled", None, b"k1:", DAY))
        await asyncio.sleep(0.02)
        write.cancel()
        await asyncio.wait([write])
    await put(store, "after")

    assert write.cancelled()
    assert await store.get("cancelled") == b"k1:"


async def test_close_waits_for_what_is_under_way(path: Path) -> None:
    """aclose() finishes every operation that was asked for, ends the thread, and is fine twice and at once."""
    before = threads()
    store = SQLiteStore(path)
    await store.aclose()
    writes = [asyncio.create_task(put(store, f"key {number}")) for number in range(150)]
    await asyncio.sleep(0)
    assert len(threads() - before) == 1
    await asyncio.gather(store.aclose(), store.aclose())

    assert all(write.done() for write in writes)
    assert threads() - before == set()
    assert await store.get("key 149") == b"k1:"
    await store.aclose()
    await store.aclose()
    assert threads() - before == set()


async def test_close_while_held(path: Path) -> None:
    """aclose() waits for a write that waits for another connection, without blocking the loop."""
    store = SQLiteStore(path)
    await put(store, "key")
    with held(path):
        write = asyncio.create_task(store.compare_and_set("key", b"k1:", b"k1:second", DAY))
        await asyncio.sleep(0)
        closing_store = asyncio.create_task(store.aclose())
        await asyncio.sleep(0.05)
        assert not closing_store.done()
    await closing_store

    assert write.done()
    assert await write


async def test_forgotten_store(path: Path) -> None:
    """A store that nobody holds any more ends its thread and closes its file, though nobody closed it."""
    before = threads()
    store = SQLiteStore(path)
    await put(store, "key")
    (thread,) = threads() - before
    del store
    gc.collect()
    await asyncio.to_thread(thread.join, 5)

    assert not thread.is_alive()
    assert [file.name for file in path.parent.iterdir()] == ["sessions.db"]


async def test_expired_rows_are_removed_a_few_at_a_time(store: SQLiteStore, path: Path, clock: Clock) -> None:
    """Expired rows leave the file, at most four a write, so no request pays for many; those that live stay."""
    for number in range(30):
        await put(store, f"short {number}", ttl=10)
        await put(store, f"long {number}", ttl=DAY)
    clock.advance(10)
    left = [60]
    while left[-1] > 31:
        value = await store.get("key")
        assert await store.compare_and_set("key", value, b"%d" % len(left), DAY)
        ((rows,),) = asked(path, "SELECT count(*) FROM record")
        left.append(rows)
        assert len(left) < 40

    assert all(before - after <= 4 for before, after in itertools.pairwise(left))
    assert [row for row in asked(path, "SELECT key FROM record") if row[0].startswith("short")] == []


async def test_the_wal_stays_small(store: SQLiteStore, path: Path) -> None:
    """The WAL goes into the file as it grows; while a reader stands in the way, writes go on, and it does afterwards."""
    wal = Path(f"{path}-wal")

    async def grow() -> int:
        largest = 0
        for number in range(90):
            key = f"key {number}"
            assert await store.compare_and_set(key, await store.get(key), os.urandom(65_536), DAY)
            largest = max(largest, wal.stat().st_size)
        return largest

    assert 4 * 2**20 < await grow() < 5 * 2**20
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM record").fetchall()
        assert await grow() > 5 * 2**20
    await grow()
    await store.get("key 0")

    assert wal.stat().st_size < 5 * 2**20


async def test_no_wal(path: Path) -> None:
    """Where the file system has no place for a WAL, the store says so instead of going on without it."""
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(StoreError, match="local file system"):
        _switch_to_wal(connection, str(path))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_FULL, "the disk is full. Make room."),
        (sqlite3.SQLITE_READONLY | 1 << 8, "can't be opened for writing: give this process's user"),
        (sqlite3.SQLITE_IOERR | 4 << 8, "failed with SQLITE_SOMETHING: look at the disk"),
    ],
)
def test_failures_are_told(code: int, words: str) -> None:
    """SQLite's words become sentences that say what to do, by the primary code of whatever extended one."""
    error = sqlite3.OperationalError("words of SQLite")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_SOMETHING"

    assert words in str(_told(error, "/data/sessions.db"))
