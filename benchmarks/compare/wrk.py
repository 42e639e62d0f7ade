"""Through real uvicorn, under ``wrk``: one server process a subject, short runs in turn."""

from __future__ import annotations

import contextlib
import http.client
import multiprocessing
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from .subject import Subject, claims_of

_LUA = """
wrk.headers["Accept"] = "application/json"
function init(arguments)
  if arguments[1] then wrk.headers["Cookie"] = arguments[1] end
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("sent %d failed %d\\n", summary.requests, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second: the median, and its ratio to the bare application in the same round."""

    per_second: float
    ratio: float
    low: float
    high: float

    def cell(self) -> str:
        """As it stands in a table."""
        return f"{self.ratio:.2f} ({self.low:.2f}-{self.high:.2f})"


def unavailable() -> str | None:
    """Why there can be no run, in words; None where there can."""
    if shutil.which("wrk") is None:
        return "wrk is not installed (on Debian and Ubuntu: apt-get install wrk)"
    return None


def rates(
    subjects: Sequence[Subject],
    sizes: dict[str, int],
    *,
    rounds: int,
    seconds: int,
    connections: int,
    said: Callable[[str], None],
) -> dict[str, dict[str, Rate]]:
    """By size and subject. The first subject is the bare application, to which all others are compared."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "script.lua").write_text(_LUA, "utf-8")
        ports = [stack.enter_context(_server(subject)) for subject in subjects]
        runner = _Runner(folder, seconds=seconds, connections=connections)
        found = {}
        for label, size in sizes.items():
            runs = [
                [runner.run(subject, port, size=size) for subject, port in zip(subjects, ports, strict=True)]
                for _ in range(rounds)
            ]  # fmt: skip
            found[label] = {
                subject.name: _rate([run[place] for run in runs], [run[0] for run in runs])
                for place, subject in enumerate(subjects)
            }
            said(f"through uvicorn, {label}: done")
        return found


def _rate(runs: list[float], bare: list[float]) -> Rate:
    ratios = [run / zero for run, zero in zip(runs, bare, strict=True)]
    return Rate(statistics.median(runs), statistics.median(ratios), min(ratios), max(ratios))


@contextlib.contextmanager
def _server(subject: Subject) -> Iterator[int]:
    """A process that serves the subject, and its port. Forked, as each would take seconds to import all peers."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(subject, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(subject: Subject, ready: Connection) -> None:
    import uvicorn

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        ready.send(listener.getsockname()[1])
        config = uvicorn.Config(subject.app, access_log=False, log_level="error", lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


class _Runner:
    """Runs wrk with the cookies that a subject's browsers send."""

    def __init__(self, folder: Path, *, seconds: int, connections: int) -> None:
        self._folder = folder
        self._seconds = seconds
        self._connections = connections

    def run(self, subject: Subject, port: int, *, size: int) -> float:
        """Requests a second of one run. wrk has no cookie jar: one cookie is sent again and again."""
        cookie = subject.cookie(claims_of(size, session=port))
        self._check(subject, port, cookie)
        command = [
            "wrk", "--threads", "1", "--timeout", "15s", "--connections", str(self._connections), "--duration", f"{self._seconds}s",
            "--script", str(self._folder / "script.lua"), f"http://127.0.0.1:{port}/", "--", *filter(None, [cookie]),
        ]  # fmt: skip
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rate, failed = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"failed (\d+)", said)
        if not rate or not failed or int(failed[1]):
            raise RuntimeError(f"{subject.name}: wrk says {said}")
        return float(rate[1])

    def _check(self, subject: Subject, port: int, cookie: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/", headers={"Cookie": cookie} if cookie else {})
            answer = connection.getresponse()
            right = (
                answer.read() == subject.expects() and (answer.getheader("set-cookie") is not None) == subject.writes
            )
            if answer.status != 200 or not right:
                raise RuntimeError(f"{subject.name}: the answer is not the one that was to be measured.")
        finally:
            connection.close()
