"""The store of one host: a file that its workers share, on the standard library's SQLite.

The event loop never waits for the file: a thread of the store's own works off a queue. Writes that have queued up
become one transaction, so they share one fsync, and reads go before them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from ..errors import ConfigurationError, StoreError
from ._sqlite_file import BusyError, SQLiteFile, Write, deletion, setting

R = TypeVar("R")

_AT_ONCE = 64  # writes in one transaction: a reader, and another process, waits for no more than these
_RETRY = 0.001  # seconds between two looks at a file that another process is writing to


class SQLiteStore:
    """Records in a file: right for several workers on one host, on a local file system (WAL can't be shared by NFS).

    ``path``'s folder must exist and be writable; the file is created with mode 0600 and must belong to this store
    alone. A commit is on the disk before it is answered. An operation that can't be done within ``busy_timeout``
    seconds because others write, or that fails, raises ``StoreError``; the next one tries afresh. Where the caller is
    cancelled its operation is done all the same.

    It may be used from several event loops and threads, before and after a fork, and again after ``aclose()``.

    Raises ConfigurationError for a path that can't be written now, and for options that make no sense.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time, busy_timeout: float = 5.0
    ) -> None:
        _check_options(clock=clock, busy_timeout=busy_timeout)
        self._file = SQLiteFile(_checked_path(path))
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._worker: _Worker | None = None
        self._guards: dict[int, threading.Lock] = {}  # by process: a fork may copy one that is held

    def __del__(self) -> None:
        if (worker := getattr(self, "_worker", None)) is not None:
            worker.stop()

    async def get(self, key: str) -> bytes | None:
        """The record's bytes as last set, or None where there is none or it has expired."""
        job: _Job[bytes | None] = _Job(key, now=self._clock(), patience=self._busy_timeout)
        return await self._done(job)

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        """Set ``value`` for ``ttl`` seconds if the record is ``expected`` (None: absent), for all processes at once."""
        now = self._clock()
        write = setting(key, expected, value, now=now, ttl=ttl)
        job: _Job[bool] = _Job(write, now=now, patience=self._busy_timeout)
        return await self._done(job)

    async def delete(self, key: str) -> None:
        """Forget the record; absent is fine."""
        job: _Job[bool] = _Job(deletion(key), now=self._clock(), patience=self._busy_timeout)
        await self._done(job)

    async def aclose(self) -> None:
        """Finish what was asked for, close the file and end the thread. A later operation opens it again."""
        with self._guard():
            worker, self._worker = self._worker, None
        if worker is not None and worker.is_alive():
            await worker.finish()

    def _guard(self) -> threading.Lock:
        return self._guards.setdefault(os.getpid(), threading.Lock())

    async def _done(self, job: _Job[R]) -> R:
        with self._guard():  # held for microseconds, the first time while a thread starts
            if self._worker is None or not self._worker.is_alive():  # none yet, or left behind by a fork
                self._worker = _Worker(self._file, busy_timeout=self._busy_timeout)
            self._worker.take(job)
        return await job.answer


class _Job(Generic[R]):
    """A key to read, a change to write, or None: the end. Its answer belongs to the loop that asked."""

    def __init__(self, work: str | Write | None, *, now: float, patience: float) -> None:
        self.work = work
        self.now = now
        self.deadline = time.monotonic() + patience
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[R] = self._loop.create_future()

    def succeed(self, answer: R) -> None:
        """Give the answer, from any thread."""
        self._settle(lambda: self.answer.set_result(answer))

    def fail(self, sentence: str, *, cause: Exception) -> None:
        """Raise a StoreError of the caller's own, from any thread."""
        failure = StoreError(sentence)
        failure.__cause__ = cause
        self._settle(lambda: self.answer.set_exception(failure))

    def _settle(self, settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(lambda: None if self.answer.done() else settle())  # done: cancelled


class _Worker:
    """The thread. It knows the file and not the store, so that a store which nobody holds any more can end it."""

    def __init__(self, file: SQLiteFile, *, busy_timeout: float) -> None:
        self._file = file
        self._busy_timeout = busy_timeout
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="asgi-token-rotation-sqlite", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it is there, in this process, to take jobs."""
        return self._thread.is_alive()

    def take(self, job: _Job[Any]) -> None:
        """Do it after what was asked for before."""
        self._jobs.put(job)

    def stop(self) -> None:
        """End when all is done that was asked for. Safe in a finalizer."""
        self._jobs.put(None)

    async def finish(self) -> None:
        """End when all is done that was asked for, and wait for it."""
        end: _Job[None] = _Job(None, now=0.0, patience=0.0)
        self._jobs.put(end)
        await end.answer
        self._thread.join()  # the answer was its last deed

    def _run(self) -> None:
        waiting: list[_Job[Any]] = []
        ends: list[_Job[Any] | None] = []
        while waiting or not ends:
            arrived = self._arrived(patience=_RETRY if waiting else None)
            ends += [job for job in arrived if job is None or job.work is None]
            waiting += [job for job in arrived if job is not None and job.work is not None]
            waiting = self._attempt(waiting)
        self._file.close()
        for end in ends:
            if end is not None:
                end.succeed(None)

    def _arrived(self, *, patience: float | None) -> list[_Job[Any] | None]:
        arrived: list[_Job[Any] | None] = []
        with contextlib.suppress(queue.Empty):
            arrived.append(self._jobs.get(timeout=patience))
            while len(arrived) < _AT_ONCE:
                arrived.append(self._jobs.get_nowait())
        return arrived

    def _attempt(self, jobs: list[_Job[Any]]) -> list[_Job[Any]]:
        """Do what can be done now; what is left."""
        left: list[_Job[Any]] = []
        for job in jobs:
            if isinstance(job.work, str):
                left += self._tried([job], partial(self._read, job.work, now=job.now))
        writing = [job for job in jobs if isinstance(job.work, Write)]
        batch, later = writing[:_AT_ONCE], writing[_AT_ONCE:]
        if batch:
            writes = [job.work for job in batch if isinstance(job.work, Write)]
            left += self._tried(batch, partial(self._file.write, writes, now=max(job.now for job in batch)))
            self._file.checkpoint()
        return left + later

    def _read(self, key: str, *, now: float) -> list[bytes | None]:
        return [self._file.read(key, now=now)]

    def _tried(self, jobs: list[_Job[Any]], attempt: Callable[[], list[Any]]) -> list[_Job[Any]]:
        """Answer the jobs; those that the attempt found the file too busy for, and that have time left."""
        try:
            answers = attempt()
        except BusyError as error:
            now = time.monotonic()
            for job in jobs:
                if job.deadline <= now:
                    job.fail(self._too_busy(), cause=error)
            return [job for job in jobs if job.deadline > now]
        except Exception as error:  # noqa: BLE001  # whatever it is, its callers wait for an answer
            for job in jobs:
                job.fail(_told(error), cause=error)
            return []
        for job, answer in zip(jobs, answers, strict=True):
            job.succeed(answer)
        return []

    def _too_busy(self) -> str:
        return (
            f"The SQLite store {self._file.path} was held by other connections for more than {self._busy_timeout:g}"
            " seconds (busy_timeout): look for a program that keeps a transaction open in it, or for a stalling disk."
        )


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, StoreError) else f"The SQLite store failed with {type(error).__name__}."


def _check_options(*, clock: object, busy_timeout: object) -> None:
    if not callable(clock):
        raise ConfigurationError(
            f"SQLiteStore.clock is a {type(clock).__name__}: expected a function, such as time.time."
        )
    if isinstance(busy_timeout, bool) or not isinstance(busy_timeout, int | float) or not 0 <= busy_timeout < math.inf:
        raise ConfigurationError(
            f"SQLiteStore.busy_timeout is {busy_timeout!r}: expected a number of seconds, 0 or more."
        )


def _checked_path(path: str | os.PathLike[str]) -> str:
    """The path as it is now, whatever becomes of the working directory. ConfigurationError where it can't be written."""
    text: object = os.fspath(path) if isinstance(path, str | os.PathLike) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    if not isinstance(text, str) or text in ("", ":memory:") or "\0" in text:
        raise ConfigurationError(
            'SQLiteStore.path is no path of a file: expected one such as "/var/lib/app/sessions.db", which all workers'
            " share. (For one process alone there is MemoryStore.)"
        )
    real = os.path.realpath(text)
    folder = os.path.dirname(real)
    if not os.path.isdir(folder):
        raise ConfigurationError(
            f"SQLiteStore.path is {real}, and there is no folder {folder}: create it, for this process's user."
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"SQLiteStore.path is {real}, and this process's user may not write in {folder}: SQLite keeps files beside"
            " its own there, so give the user that folder."
        )
    if os.path.lexists(real) and not (os.path.isfile(real) and os.access(real, os.R_OK | os.W_OK)):
        raise ConfigurationError(
            f"SQLiteStore.path is {real}, which is no file that this process's user may read and write: name another,"
            " or give the user this one."
        )
    return real
