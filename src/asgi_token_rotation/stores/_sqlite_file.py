"""The file behind the SQLite store: opened, read, written, swept, and let go of before a fork. Blocks; knows no loop.

Durability: WAL with ``synchronous=FULL``, so a commit that was answered survives ``kill -9`` and a power loss alike.
NORMAL would lose the last commits when the power goes: a rotated token that no browser has yet, or a claim, whose token
would then be sent twice. The price is one fsync a commit; writes that wait together share it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import StoreError

_APPLICATION = 0x61747273  # "atrs": PRAGMA application_id tells our files from other programs'
_VERSION = 1
_SWEPT_PER_WRITE = 4  # rows looked at: a quarter of the file is expired at most, and no write pays for more than this
_WAL_BYTES = 4 * 2**20
_CHECKPOINT_PATIENCE = 250  # milliseconds for which a checkpoint waits until nobody writes

# Rows are larger than a twentieth of a page, so WITHOUT ROWID would double the file and the time of a read (measured;
# sqlite.org/withoutrowid.html §4). There is no index by expiry: it would double what a write writes; see ``_sweep``.
_SCHEMA = (
    "CREATE TABLE record (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, expires_at REAL NOT NULL, value BLOB NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)
_GET = "SELECT value FROM record WHERE key = ? AND expires_at > ?"
_SET_IF_ABSENT = (
    "INSERT INTO record (key, value, expires_at) VALUES (:key, :value, :expires_at) ON CONFLICT (key)"
    " DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at WHERE record.expires_at <= :now"
)
_SET_IF_EXPECTED = (
    "UPDATE record SET value = :value, expires_at = :expires_at"
    " WHERE key = :key AND value = :expected AND expires_at > :now"
)
_DELETE = "DELETE FROM record WHERE key = :key"
_NEXT_ROWS = "SELECT id, expires_at FROM record WHERE id > ? ORDER BY id LIMIT ?"


class BusyError(StoreError):
    """Another connection holds the file at this moment. Nothing was done; it may be tried again."""


class Write(NamedTuple):
    """One change of one row, judged and made by one statement. It is made if the statement touched a row."""

    statement: str
    parameters: dict[str, str | bytes | float | None]


def setting(key: str, expected: bytes | None, value: bytes, *, now: float, ttl: float) -> Write:
    """Set the record for ``ttl`` seconds if it is ``expected`` (None: absent or expired) then."""
    statement = _SET_IF_ABSENT if expected is None else _SET_IF_EXPECTED
    parameters = {"key": key, "expected": expected, "value": value, "now": now, "expires_at": now + ttl}
    return Write(statement, parameters)


def deletion(key: str) -> Write:
    """Forget the record."""
    return Write(_DELETE, {"key": key})


class SQLiteFile:
    """One connection to the file, opened when it is needed. Every failure is a StoreError, or a BusyError.

    SQLite keeps its locks per process, and a child of a fork inherits what it believes to hold without holding it: a
    parent that closes would then remove the WAL that its child writes to (sqlite.org/howtocorrupt.html §2.6). So the
    connection is closed before every fork, and parent and child open their own.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._swept_to = 0
        self._checkpoint_at = _WAL_BYTES
        self._guard = threading.Lock()
        if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
            _watch_forks(weakref.ref(self))

    def read(self, key: str, *, now: float) -> bytes | None:
        """The record's bytes, or None where there is none or it has expired. Nobody's writing keeps a reader waiting."""
        with self._use() as connection:
            rows: list[tuple[bytes]] = connection.execute(
                _GET, (key, now)
            ).fetchall()  # all: an open cursor pins the WAL
        return rows[0][0] if rows else None

    def write(self, writes: Sequence[Write], *, now: float) -> list[bool]:
        """Make the changes, in this order, in one transaction; which of them were made. All or none survives a crash."""
        with self._use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            made = [connection.execute(write.statement, write.parameters).rowcount == 1 for write in writes]
            self._sweep(connection, now=now, rows=_SWEPT_PER_WRITE * len(writes))
            connection.execute("COMMIT")
        return made

    def checkpoint(self) -> None:
        """Bring a WAL that has grown into the file, after the answers were given. A failure waits for the next time.

        It takes the writers' place meanwhile (TRUNCATE), as SQLite's automatic checkpoints don't: in SQLite before
        3.51.3 a commit beside a checkpoint may lose data (sqlite.org/wal.html#walresetbug).
        """
        with contextlib.suppress(StoreError, OSError):
            size = Path(f"{self.path}-wal").stat().st_size
            if size < self._checkpoint_at:
                return
            self._checkpoint_at = size + _WAL_BYTES  # where a reader stands in its way, not at every write
            with self._use() as connection:
                connection.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_PATIENCE}")
                try:
                    ((blocked, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    connection.execute("PRAGMA busy_timeout = 0")
            if not blocked:
                self._checkpoint_at = _WAL_BYTES

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        with self._guard:
            self._let_go()

    def before_fork(self) -> None:
        """Finish what is under way and close; nobody uses the file until the fork is done."""
        self._guard.acquire()
        self._let_go()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._guard.release()

    def after_fork_in_child(self) -> None:
        """Go on, on a guard of the child's own."""
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def _use(self) -> Generator[sqlite3.Connection, None, None]:
        with self._guard:
            try:
                yield self._current()
            except (sqlite3.Error, OSError) as error:
                if not _is_busy(error) or (self._connection is not None and self._connection.in_transaction):
                    self._let_go()  # rolls back, and the next use opens what is there then
                raise _told(error, self.path) from error
            except BaseException:
                self._let_go()
                raise

    def _current(self) -> sqlite3.Connection:
        """The connection to the file that has the path now: one that was removed or replaced is shared with nobody."""
        if self._connection is None or self._identity != _identity_of(self.path):
            self._let_go()
            _create_private(self.path)
            self._connection = _connected(self.path)
            self._identity = _identity_of(self.path)
            ((last,),) = self._connection.execute("SELECT coalesce(max(id), 0) FROM record").fetchall()
            self._swept_to = secrets.randbelow(last + 1)  # processes that never live long reach every row in time
        return self._connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _sweep(self, connection: sqlite3.Connection, *, now: float, rows: int) -> None:
        """Remove the expired among the next few rows, round and round."""
        found: list[tuple[int, float]] = connection.execute(_NEXT_ROWS, (self._swept_to, rows)).fetchall()
        expired = [(number,) for number, expires_at in found if expires_at <= now]
        if expired:
            connection.executemany("DELETE FROM record WHERE id = ?", expired)
        self._swept_to = found[-1][0] if len(found) == rows else 0


def _watch_forks(reference: weakref.ref[SQLiteFile]) -> None:
    """Tell the file of forks for as long as it lives."""

    def tell(method: str) -> None:
        file = reference()
        if file is not None:
            getattr(file, method)()

    os.register_at_fork(
        before=lambda: tell("before_fork"),
        after_in_parent=lambda: tell("after_fork_in_parent"),
        after_in_child=lambda: tell("after_fork_in_child"),
    )


def _identity_of(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _create_private(path: str) -> None:
    """Create the file with mode 0600, which SQLite gives to -wal and -shm too. One that exists keeps its mode.

    It must not be opened where it exists: closing it would drop the locks of this process's other connections to it.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _connected(path: str) -> sqlite3.Connection:
    uri = f"{Path(path).as_uri()}?mode=rw"  # rw: never created here, with another mode
    connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        fresh = _is_fresh(connection, path)
        _switch_to_wal(connection, path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves the data in the drive's cache
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # see checkpoint()
        if fresh:
            _create_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _switch_to_wal(connection: sqlite3.Connection, path: str) -> None:
    ((mode,),) = connection.execute("PRAGMA journal_mode = WAL").fetchall()
    if mode != "wal":
        raise StoreError(f"The SQLite store {path} can't use a WAL there: put it on a local file system.")


def _create_schema(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if _is_fresh(connection, path):  # else another process was faster
        for statement in _SCHEMA:
            connection.execute(statement)
    connection.execute("COMMIT")


def _is_fresh(connection: sqlite3.Connection, path: str) -> bool:
    """Whether the file is still empty. StoreError where it is another program's, or a later version's."""
    # One statement: another process may be making the schema right now.
    ((application, version, tables),) = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchall()
    if (application, version, tables) == (0, 0, 0):
        return True
    if application != _APPLICATION:
        raise StoreError(f"The SQLite store {path} is another program's database: give the store a file of its own.")
    if version != _VERSION:
        raise StoreError(
            f"The SQLite store {path} has format {version}, and this version of asgi-token-rotation knows format"
            f" {_VERSION}: run one version on all workers, or give it a new file."
        )
    return False


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte: sqlite.org/rescode.html#pve


def _is_busy(error: Exception) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _told(error: sqlite3.Error | OSError, path: str) -> StoreError:
    """The failure in a sentence that says what to do."""
    if _is_busy(error):
        return BusyError(f"The SQLite store {path} is held by another connection.")
    code = _code(error)
    if code == sqlite3.SQLITE_FULL:
        return StoreError(f"The SQLite store {path} can't be written: the disk is full. Make room.")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreError(f"The SQLite store {path} is damaged or no SQLite database: move it away, a new one is made.")
    if isinstance(error, OSError) or code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY):
        return StoreError(
            f"The SQLite store {path} can't be opened for writing: give this process's user a folder that exists and may"
            " be written, and the files in it."
        )
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreError(f"The SQLite store {path} failed with {name}: look at the disk and at the file.")
