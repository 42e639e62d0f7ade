"""The table, for the terminal and for the page."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from matrix.frameworks import FRAMEWORKS
from matrix.journal import Count
from matrix.nginx import program
from matrix.recipes import PAGE, with_recipes
from matrix.run import CHECKS, NAMES, Played
from matrix.servers import SERVERS

BEGIN, END = "<!-- made by make matrix -->", "<!-- up to here -->"
LIMITS = {
    "a": "the server does not send the cookie that stands in `websocket.accept`. The refresh is kept: the session's next"
    " HTTP request gets the cookie.",
    "b": "the framework's routes do not match a path that begins with `root_path`, as uvicorn's `--root-path` and a `Mount`"
    " make it: they are 404. The endpoints, their links and refreshes work.",
    "c": "there is no framework that answers an exception, so the server's own 500 has no cookie. The next request gets it.",
    "d": "the server speaks no lifespan, and ends in the middle of a refresh. With the lines below it waits; the table is"
    " made with them. The session that shows what happens without them is the only one that the journals leave out.",
    "e": "the server does not end at SIGTERM while an HTTP/2 client has hung up in the middle of a request, with or without"
    " this package, and has to be killed (from Python 3.12.1 on). The refresh is kept.",
    "f": "nginx speaks HTTP/1.0 by default, which this server calls `1`, and this framework then answers 500. With"
    " `proxy_http_version 1.1` it works.",
}


def line(cell: Played) -> str:
    """One cell, as soon as it is done."""
    count = cell.count
    return (
        f"{cell.framework.name + ' on ' + cell.server.name:<52} {symbol(cell):<14}"
        f" sessions: {count.sessions}, refresh tokens sent: {count.sends}, {count.twice} twice, {count.lost} lost"
    )


def symbol(cell: Played) -> str:
    """What stands in the table."""
    outcomes = cell.outcomes.values()
    if any(outcome.failed for outcome in outcomes) or cell.count.twice or cell.count.lost:
        return "FAILED"
    if all(outcome.skipped for outcome in outcomes):
        return "none"
    passed = sum(outcome.skipped is None for outcome in outcomes)
    letters = sorted({outcome.limit for outcome in outcomes if outcome.limit})
    return " ".join([str(passed), *letters])


def failures(played: Iterable[Played]) -> str:
    """Every failure with its reason; nothing where there is none."""
    parts = [
        f"\n--- {cell.framework.name} on {cell.server.name}: {name}\n{outcome.failed}"
        for cell in played
        for name, outcome in cell.outcomes.items()
        if outcome.failed
    ]
    parts += [
        f"\n--- {cell.framework.name} on {cell.server.name}: {cell.count}"
        for cell in played
        if cell.count.twice or cell.count.lost
    ]
    return "\n".join(parts)


def total(played: Iterable[Played]) -> Count:
    """Of all token servers."""
    return sum((cell.count for cell in played), Count())


def table(played: Sequence[Played]) -> str:
    """Frameworks, servers, limits, what was left out, and the journal."""
    servers = [server for server in SERVERS if any(cell.server is server for cell in played)]
    lines = [
        "| | " + " | ".join(server.name for server in servers) + " |",
        "|---|" + "---|" * len(servers),
    ]
    for framework in FRAMEWORKS:
        row = {cell.server.name: symbol(cell) for cell in played if cell.framework is framework}
        if row:
            lines.append(f"| {framework.name} | " + " | ".join(row.get(server.name, "") for server in servers) + " |")
    return "\n".join([*lines, "", *notes(played), "", _journal(played), "", _versions()])


def notes(played: Sequence[Played]) -> list[str]:
    """The known limits that were there, and what was left out and why."""
    return [*_limits(played), *_skipped(played)]


def _limits(played: Sequence[Played]) -> list[str]:
    seen = {outcome.limit for cell in played for outcome in cell.outcomes.values() if outcome.limit}
    return [f"- **{letter}**: {LIMITS[letter]}" for letter in sorted(seen)]


def _skipped(played: Sequence[Played]) -> list[str]:
    """Which checks were left out where, and why; those of one reason in one line."""
    where: dict[tuple[str, str], dict[str, set[str]]] = {}
    for cell in played:
        for name, outcome in cell.outcomes.items():
            if outcome.skipped:
                places = where.setdefault((outcome.skipped, name), {})
                places.setdefault(cell.server.name, set()).add(cell.framework.name)
    return [f"- skipped: {text}" for text in sorted(_merged(where))]


def _merged(where: dict[tuple[str, str], dict[str, set[str]]]) -> list[str]:
    grouped: dict[tuple[str, str], list[str]] = {}
    for (why, name), places in where.items():
        frameworks = sorted(set().union(*places.values()))
        shown = "all frameworks" if len(frameworks) > len(FRAMEWORKS) // 2 else ", ".join(frameworks)
        servers = "all servers" if len(places) > len(SERVERS) // 2 else "; ".join(places)
        grouped.setdefault((f"{shown} on {servers}", why), []).append(title(name))
    return [
        f"{place}, {'everything' if len(names) == len(NAMES) else ', '.join(names)}: {why}."
        for (place, why), names in grouped.items()
    ]


def _journal(played: Sequence[Played]) -> str:
    count = total(played)
    return (
        f"The token servers' journals: {count.sends} refresh tokens sent, **{count.twice} of them twice**;"
        f" {count.sessions} sessions that did not sign out, **{count.lost} of them without their newest tokens**."
    )


def title(name: str) -> str:
    """A check's name in words."""
    return name.replace("_", " ")


def told_checks() -> str:
    """What each check shows: the first sentence of its docstring."""
    rows = [f"| {title(check.__name__)} | {(check.__doc__ or '').strip().replace('``', '`')} |" for check in CHECKS]
    return "\n".join(["| check | what it shows |", "|---|---|", *rows])


def _versions() -> str:
    names = [name for row in (*FRAMEWORKS, *SERVERS) for name in row.distributions]
    shown = [f"{name} {_minor(version(name))}" for name in dict.fromkeys(names)]
    found = program()
    said = subprocess.run([found or "nginx", "-v"], capture_output=True, text=True, check=True).stderr
    nginx = f"nginx {_minor(said.rpartition('/')[2])}"
    return f"Versions: {', '.join([f'Python {_minor(platform.python_version())}', *shown, nginx])}."


def _minor(text: str) -> str:
    return ".".join(re.findall(r"\d+", text)[:2])


def write(played: Sequence[Played]) -> None:
    """Put table, checks and recipes into the page."""
    text = with_recipes(PAGE.read_text("utf-8"))
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(played)}\n\n{told_checks()}\n\n{END}{after}", "utf-8")
