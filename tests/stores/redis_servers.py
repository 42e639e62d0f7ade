"""Redis servers of the tests' own, on the loopback interface; each keeps nothing and is gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import redis

PATIENCE = 10.0  # seconds until a server has to answer
HOST = "127.0.0.1"


def binary(name: str) -> str:
    """Where the program is; without it the test is skipped, but for CI, where it must be there."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed: apt-get install {name}")
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    return path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool]) -> None:
    """Wait until the server says so; whatever it raises before that is a no."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(redis.RedisError):
            if condition():
                return
        assert time.monotonic() < deadline, "the server did not come up"
        time.sleep(0.01)


class Server:
    """A ``redis-server``, or ``redis-sentinel`` with a configuration, that can be stopped, paused and started again."""

    def __init__(self, folder: Path, *options: str, program: str = "redis-server", configuration: str = "") -> None:
        self.port = free_port()
        self.url = f"redis://{HOST}:{self.port}"
        self.unix_url = f"unix://{folder}/redis.sock"
        file = folder / "redis.conf"
        file.write_text(configuration)
        self._command = [
            *(binary(program), str(file), "--port", str(self.port), "--bind", HOST, "--dir", str(folder)),
            *(
                ("--save", "", "--appendonly", "no", "--unixsocket", f"{folder}/redis.sock")
                if not configuration
                else ()
            ),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until(lambda: bool(self.ask("PING")))

    def stop(self) -> None:
        """Kill it: all connections are cut, all data and scripts are gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It takes connections and bytes, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str | int) -> object:
        """The answer to one command, on a connection of its own."""
        with redis.Redis(host=HOST, port=self.port, protocol=2, socket_timeout=PATIENCE) as client:
            return client.execute_command(*command)


@contextmanager
def running(*options: str, program: str = "redis-server", configuration: str = "") -> Iterator[Server]:
    """A server in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), *options, program=program, configuration=configuration)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def sentinel_of(master: Server) -> Iterator[Server]:
    """A Sentinel that watches the master under the name ``main``."""
    with running(
        "--sentinel", program="redis-sentinel", configuration=f"sentinel monitor main {HOST} {master.port} 1\n"
    ) as server:
        until(lambda: bool(server.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")))
        yield server


@contextmanager
def cluster() -> Iterator[Server]:
    """A Cluster of one node."""
    with running("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        server.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: "cluster_state:ok" in str(server.ask("CLUSTER", "INFO")))
        yield server


class Proxy:
    """Stands between a client and a server; it counts requests, and can lose the answer to the next one."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self.url = ""
        self.requests: list[bytes] = []
        self.loses: bytes | None = None  # the connection is cut once a request that holds this has been answered
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: each request is one write of the client's."""
        there, back = await asyncio.open_connection(HOST, self.target)
        self._open |= {writer, back}
        with contextlib.suppress(OSError):
            while request := await reader.read(1 << 20):
                self.requests.append(request)
                back.write(request)
                answer = await there.read(1 << 20)
                if self.loses is not None and self.loses in request:
                    self.loses = None
                    break
                writer.write(answer)
        for end in (writer, back):
            end.close()

    def close(self) -> None:
        """Cut all connections."""
        for writer in self._open:
            writer.close()


@asynccontextmanager
async def proxy_to(server: Server) -> AsyncIterator[Proxy]:
    """A proxy in front of the server."""
    proxy = Proxy(server.port)
    listener = await asyncio.start_server(proxy.serve, HOST, 0)
    proxy.port = int(listener.sockets[0].getsockname()[1])
    proxy.url = f"redis://{HOST}:{proxy.port}"
    try:
        yield proxy
    finally:
        listener.close()
        proxy.close()
        await asyncio.sleep(0.01)
