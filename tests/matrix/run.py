"""All cells, a few at a time."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from matrix import checks, places
from matrix.cell import Cell
from matrix.frameworks import FRAMEWORKS, Framework
from matrix.journal import Count
from matrix.outcome import Outcome, Skipped
from matrix.process import Process
from matrix.servers import SERVERS, Server
from matrix.tokens import token_servers

PATIENCE = 120.0  # seconds for one check
DIRECT: tuple[Callable[[Cell, Process], Awaitable[str | None]], ...] = (
    checks.parallel_requests,
    checks.inside_the_margin,
    checks.client_abort,
    checks.failing_handler,
    checks.endpoints,
    checks.sign_out,
    checks.websocket,
    checks.shutdown,  # the last: it ends the server
)
ELSEWHERE: tuple[Callable[[Cell], Awaitable[str | None]], ...] = (
    places.server_prefix,
    places.mount,
    places.behind_nginx,
)
CHECKS = (*DIRECT, *ELSEWHERE)
NAMES = tuple(check.__name__ for check in CHECKS)


@dataclass(frozen=True, slots=True)
class Played:
    """One cell of the table. ``outcomes``: by the check's name."""

    framework: Framework
    server: Server
    outcomes: Mapping[str, Outcome]
    count: Count


async def play(
    folder: Path, *, chosen: Callable[[Framework, Server], bool], at_once: int, told: Callable[[Played], None]
) -> list[Played]:
    """Every chosen framework on every chosen server."""
    turns = asyncio.Semaphore(at_once)
    async with token_servers() as servers:

        async def one(number: int, framework: Framework, server: Server) -> Played:
            async with turns:
                own = folder / str(number)
                own.mkdir()
                tokens, address = servers.new()
                cell = Cell(framework, server, tokens=tokens, address=address, folder=own)
                played = await _played(cell)
                told(played)
                return played

        pairs = [(framework, server) for framework in FRAMEWORKS for server in SERVERS if chosen(framework, server)]
        return await asyncio.gather(*(one(number, *pair) for number, pair in enumerate(pairs)))


async def _played(cell: Cell) -> Played:
    outcomes: dict[str, Outcome] = {}
    if cell.framework.needs_lifespan and not cell.server.lifespan:
        limited = await _outcome(lambda: checks.no_lifespan(cell), cell)
        outcomes = dict.fromkeys(NAMES, limited)
    else:
        await _play_direct(cell, outcomes)
        for place in ELSEWHERE:
            outcomes[place.__name__] = await _outcome(lambda place=place: place(cell), cell)
    return Played(cell.framework, cell.server, outcomes, await cell.count())


async def _play_direct(cell: Cell, outcomes: dict[str, Outcome]) -> None:
    async with AsyncExitStack() as stack:
        try:
            process = await stack.enter_async_context(cell.serving())
        except AssertionError as error:
            outcomes.update(dict.fromkeys((check.__name__ for check in DIRECT), Outcome(failed=str(error))))
            return
        for check in DIRECT:
            outcomes[check.__name__] = await _outcome(lambda check=check: check(cell, process), cell)


async def _outcome(check: Callable[[], Awaitable[str | None]], cell: Cell) -> Outcome:
    try:
        async with asyncio.timeout(PATIENCE):
            return Outcome(limit=await check())
    except Skipped as skipped:
        return Outcome(skipped=str(skipped))
    except Exception:
        output = (cell.folder / "output").read_text("utf-8", "replace")[-800:]
        return Outcome(failed=f"{traceback.format_exc(limit=-4)}\nIts server said at last:\n{output}")
    finally:
        cell.tokens.release()
        cell.tokens.latency = 0
