"""The real packages: installed by npm, run by node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
PATIENCE = 600  # seconds for npm, or for all scenarios of a client

_INSTALLED = HERE / "node_modules" / ".installed"  # git ignores the folder


def program() -> str:
    """Where node is, with the packages installed; without node or npm's registry the test is skipped."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        _missing("node and npm are not installed")
    if not _INSTALLED.exists() or _INSTALLED.stat().st_mtime < (HERE / "package.json").stat().st_mtime:
        _install(npm)
    return node


@contextmanager
def real_servers() -> Iterator[dict[str, int]]:
    """The real NextAuth v4 and Auth.js v5; gives the ports by "dialect world"."""
    process = subprocess.Popen(
        [program(), "servers.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, "node has ended: see its error output above"
        yield json.loads(line)
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()


def ran(script: str, *arguments: str) -> Any:
    """What a script writes, as JSON."""
    done = subprocess.run(
        [program(), script, *arguments], cwd=HERE, capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def read_recording(name: str) -> Any:
    """A committed recording."""
    return json.loads((RECORDED / name).read_text("utf-8"))


def keep_current(name: str, fresh: Mapping[str, Any]) -> None:
    """Compare a fresh recording with the committed one; where it differs, write it, and fail."""
    path = RECORDED / name
    text = _written(fresh)
    if path.exists() and path.read_text("utf-8") == text:
        return
    before: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    changed = [key for key in {**before, **fresh} if before.get(key) != fresh.get(key)]
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    pytest.fail(f"{name} was not current, and has been written anew: look at what changed in {changed or 'the order'}.")


def _written(recording: Mapping[str, Any]) -> str:
    """JSON with a line for each step, so that a diff shows what changed."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    parts = [line(name) + ": [\n" + ",\n".join(map(line, steps)) + "\n]" for name, steps in recording.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _install(npm: str) -> None:
    # Without their peers: next-auth would bring Next.js along, which nothing here needs.
    options = [
        "--no-package-lock",
        "--legacy-peer-deps",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
    ]
    try:
        done = subprocess.run([npm, "install", *options], cwd=HERE, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        _missing(f"npm did not install the packages within {PATIENCE} s")
    if done.returncode:
        _missing(f"npm could not install the packages: {' '.join(done.stderr.split())[:200]}")
    _INSTALLED.touch()


def _missing(reason: str) -> NoReturn:
    """Skip, saying why; in CI, where the comparison must run, fail."""
    if os.environ.get("CI", "") not in ("", "0", "false"):
        pytest.fail(f"CI is set, and {reason}.")
    pytest.skip(f"{reason}.")
