"""What a Redis server was asked, by whom: its own MONITOR says so."""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stores.redis_servers import HOST, Server

# 1339518083.107412 [0 127.0.0.1:60866] "get" "key"; what a script does inside the server has "lua" for an address.
_LINE = re.compile(rb'\+[\d.]+ \[\d+ ([^\]]+)\] "(\w+)"(?: "([^"]*)")?(?: "([^"]*)")?')


class Commands:
    """Counts the commands that came over the network, by the name that the client gave its connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._names: dict[bytes, str] = {}
        self._counted: Counter[tuple[str, str]] = Counter()
        self._marks: set[bytes] = set()

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Take what the server tells."""
        async for line in reader:
            found = _LINE.match(line)
            if found is None or found[1] == b"lua":
                continue
            address, command = found[1], found[2].upper().decode()
            if command == "CLIENT":  # how a connection begins
                if (found[3] or b"").upper() == b"SETNAME":
                    self._names[address] = (found[4] or b"").decode()
            elif command == "ECHO":
                self._marks.add(found[3] or b"")
            else:
                self._counted[self._names.get(address, "somebody"), command] += 1

    async def of(self, worker: str) -> dict[str, int]:
        """What the worker has asked since the last ``forget``."""
        await self._all_heard()
        return {command: times for (name, command), times in sorted(self._counted.items()) if name == worker}

    async def forget(self) -> None:
        """Count anew."""
        await self._all_heard()
        self._counted.clear()

    async def _all_heard(self) -> None:
        mark = uuid.uuid4().hex
        await asyncio.to_thread(self._server.ask, "ECHO", mark)
        async with asyncio.timeout(10):
            while mark.encode() not in self._marks:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def monitored(server: Server) -> AsyncIterator[Commands]:
    """From now on; connections that are open already have no name."""
    reader, writer = await asyncio.open_connection(HOST, server.port, limit=2**22)
    writer.write(b"MONITOR\r\n")
    assert await reader.readline() == b"+OK\r\n"
    commands = Commands(server)
    listening = asyncio.ensure_future(commands.listen(reader))
    try:
        yield commands
    finally:
        listening.cancel()
        writer.close()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
