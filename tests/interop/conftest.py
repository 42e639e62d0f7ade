from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import NoReturn

import pytest

from interop.node import HERE, Node

INSTALLED = HERE / "node_modules" / ".installed"  # git ignores the folder
PATIENCE = 300  # seconds for npm


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is of ``make interop``."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("interop")


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """Auth.js, NextAuth and jose, installed if need be; without node or npm's registry the tests are skipped."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        missing("node and npm are not installed")
    if not INSTALLED.exists() or INSTALLED.stat().st_mtime < (HERE / "package.json").stat().st_mtime:
        install(npm)
    bridge = Node(program)
    try:
        yield bridge
    finally:
        bridge.close()


def install(npm: str) -> None:
    # Without their peers: next-auth would bring Next.js and React along, which nothing here needs.
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
        missing(f"npm did not install the packages within {PATIENCE} s")
    if done.returncode:
        missing(f"npm could not install the packages: {' '.join(done.stderr.split())[:200]}")
    INSTALLED.touch()


def missing(reason: str) -> NoReturn:
    """Skip, saying why; in CI, where the comparison must run, fail."""
    if os.environ.get("CI", "") not in ("", "0", "false"):
        pytest.fail(f"CI is set, and {reason}.")
    pytest.skip(f"{reason}.")
