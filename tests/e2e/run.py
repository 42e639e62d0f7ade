"""The React example on the unmodified clients in a real Chromium, and the race against the real Auth.js: ``make e2e``.

It installs what npm has to bring, bundles the example, and runs the scenarios of both clients beside each other. Where
Node.js 20, npm or Chromium is missing, it says so and is done; with ``CI=1`` that is a failure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[0] = str(ROOT)

from examples.react.bundle import CannotBundleError, bundle, install, program  # noqa: E402

CLIENTS = ("nextauth-v4", "authjs")
RACE = ("--theirs", "20", "--ours", "100")  # rounds: the small setting; `make race` runs them all


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="next-auth's unmodified clients in Chromium, and the race.")
    parser.add_argument("--client", choices=CLIENTS, action="append", help="only that one, and no race")
    parser.add_argument("--only", metavar="PATTERN", help="only scenarios whose name matches, and no race")
    options = parser.parse_args()
    try:
        chromium, node = _programs()
        install(HERE)
        bundle()
    except CannotBundleError as error:
        _left_out(str(error))
    failed = _scenarios(options.client or CLIENTS, only=options.only, chromium=chromium, node=node)
    if not (options.client or options.only):
        race = ROOT / "benchmarks" / "race" / "race.py"
        failed |= subprocess.run([sys.executable, race, *RACE], check=False).returncode
    sys.exit(failed)


def _programs() -> tuple[str, str]:
    """Chromium and node. Raises CannotBundleError."""
    names = filter(None, (os.environ.get("CHROMIUM"), "chromium", "chromium-browser"))
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        raise CannotBundleError("chromium is not installed. On Debian: apt-get install chromium; else CHROMIUM=path")
    node, _ = program("node"), program("npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        raise CannotBundleError(f"node is {version}, and Auth.js needs 20 or newer.")
    return chromium, node


def _scenarios(clients: tuple[str, ...] | list[str], *, only: str | None, chromium: str, node: str) -> int:
    command = [node, "--test", "--test-reporter=spec", f"--test-concurrency={len(clients)}"]
    if only is not None:
        command.append(f"--test-name-pattern={only}")
    files = [f"{client}.test.mjs" for client in clients]
    environment = {**os.environ, "CHROMIUM": chromium, "PYTHON": sys.executable}
    return subprocess.run([*command, *files], cwd=HERE, env=environment, check=False).returncode


def _left_out(reason: str) -> None:
    if os.environ.get("CI", "") not in ("", "0", "false"):
        sys.exit(f"CI is set, and {reason}")
    print(f"Skipped: {reason}")  # noqa: T201 this is what it is for
    sys.exit(0)


if __name__ == "__main__":
    main()
