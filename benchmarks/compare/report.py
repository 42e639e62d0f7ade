"""RESULTS.md: sections that different scripts write, each its own."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "RESULTS.md"
ORDER = (
    "Budget",
    "Called directly",
    "Through uvicorn, under wrk",
    "Where the time goes",
    "Memory",
    "How it was measured",
)
_PACKAGES = (
    "asgi-token-rotation", "cryptography", "starlette", "orjson", "pybase64", "itsdangerous", "starsessions", "litestar", "joserfc",
    "jwcrypto", "uvicorn", "uvloop", "httptools",
)  # fmt: skip
_HEAD = """# Results

Written by `make bench`; nobody edits it. Only ratios within one run mean anything: absolute times of one machine move by
a factor of two between two runs, and every machine has its own.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [" | ".join(cells) for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def put(path: Path, sections: dict[str, str]) -> None:
    """Write these sections, and keep the others that the file has."""
    old = path.read_text("utf-8") if path.exists() else ""
    found = re.split(r"^## (.+)\n", old, flags=re.MULTILINE)[1:]
    kept = dict(zip(found[::2], found[1::2], strict=True))
    merged = {title: text.strip() for title, text in {**kept, **sections}.items()}
    body = "\n".join(f"## {title}\n\n{merged[title]}\n" for title in ORDER if title in merged)
    path.write_text(f"{_HEAD}\n{body}", "utf-8")


def today() -> str:
    """The day, in UTC."""
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"


def machine() -> str:
    """Day, Python, processors and versions, one line each."""
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES if _version(name))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{today()}, {platform.python_implementation()} {platform.python_version()},"
        f" {platform.system()} {platform.machine()}, {os.cpu_count()} processors, load at the end {load}.\n\n{versions}."
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
