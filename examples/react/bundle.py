"""Installs what a ``package.json`` names, and bundles the React application; does nothing where that is done already."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATIENCE = 300.0  # seconds for npm


class CannotBundleError(Exception):
    """Node or npm is missing, or npm could not install the packages. The message says which."""


def bundle() -> None:
    """Make ``build/authjs.js`` and ``build/nextauth-v4.js``. Raises CannotBundleError."""
    install(HERE)
    sources = [HERE / "package.json", HERE / "build.mjs", *(HERE / "src").iterdir()]
    if not all(_newer(HERE / "build" / name, sources) for name in ("authjs.js", "nextauth-v4.js")):
        _run([program("node"), "build.mjs"], folder=HERE)


def install(folder: Path) -> None:
    """Install the packages of that folder into its ``node_modules``. Raises CannotBundleError."""
    stamp = folder / "node_modules" / ".installed"
    if _newer(stamp, [folder / "package.json"]):
        return
    # Without peers: next-auth would bring Next.js along, which nothing here needs. No install scripts, no browsers.
    options = ["--no-package-lock", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund"]
    _run([program("npm"), "install", *options], folder=folder)
    stamp.touch()


def program(name: str) -> str:
    """The path of a program. Raises CannotBundleError."""
    path = shutil.which(name)
    if path is None:
        raise CannotBundleError(f"{name} is not installed. On Debian and Ubuntu: apt-get install nodejs npm")
    return path


def _newer(made: Path, sources: Iterable[Path]) -> bool:
    return made.exists() and all(source.stat().st_mtime <= made.stat().st_mtime for source in sources)


def _run(command: list[str], *, folder: Path) -> None:
    environment = {**os.environ, "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1"}
    try:
        done = subprocess.run(  # noqa: S603 our own command
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotBundleError(f"{Path(command[0]).name} did not end within {PATIENCE:.0f} s.") from None
    if done.returncode:
        raise CannotBundleError(f"{Path(command[0]).name} failed: {' '.join(done.stderr.split())[:400]}")
