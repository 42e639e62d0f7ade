"""Where the real servers come from: npm, PyPI and Maven, each asked when a test wants it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

KEYCLOAK = "26.4.7"
HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLACE = ROOT / ".venv" / "providers"  # git ignores it, make clean removes it
PATIENCE = 600  # seconds for one download

_LOW = ["nice", "-n", "15"] if shutil.which("nice") else []


def node() -> str:
    """Where node is, with oidc-provider installed."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        missing("node and npm are not installed")
    installed, wanted = HERE / "node_modules" / ".installed", HERE / "package.json"
    if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
        options = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
        _run([npm, "install", *options], what="npm could not install oidc-provider", cwd=HERE)
        installed.touch()
    return program


def django_python() -> str:
    """A Python that has the dependency group ``providers``, and nothing that decides over the tests."""
    environment = PLACE / "django"
    program, installed, wanted = environment / "bin" / "python", environment / ".installed", ROOT / "pyproject.toml"
    if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
        packages = tomllib.loads(wanted.read_text("utf-8"))["dependency-groups"]["providers"]
        _run([sys.executable, "-m", "venv", str(environment)], what="no virtual environment could be made")
        pip = [str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1"]
        _run([*pip, *packages], what="pip could not install django-oauth-toolkit")
        installed.touch()
    return str(program)


def keycloak() -> Path:
    """The folder of Keycloak, unpacked."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None:
        missing("Java 17 and Maven are not installed")
    folder = PLACE / f"keycloak-{KEYCLOAK}"
    if not (folder / ".installed").exists():
        artifact = f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{KEYCLOAK}:zip"
        PLACE.mkdir(parents=True, exist_ok=True)
        _run(
            [maven, "--batch-mode", "--quiet", "dependency:copy", artifact, f"-DoutputDirectory={PLACE}"],
            what="Maven could not fetch Keycloak",
            cwd=PLACE,
        )
        archive = PLACE / f"keycloak-quarkus-dist-{KEYCLOAK}.zip"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(PLACE)
        archive.unlink()
        (folder / ".installed").touch()
    return folder


def missing(reason: str) -> NoReturn:
    """Skip, saying why; in CI, where the real servers must be there, fail."""
    if os.environ.get("CI", "") not in ("", "0", "false"):
        pytest.fail(f"CI is set, and {reason}.")
    pytest.skip(f"{reason}.")


def _run(command: Sequence[str], *, what: str, cwd: Path = ROOT) -> None:
    try:
        done = subprocess.run([*_LOW, *command], cwd=cwd, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        missing(f"{what} within {PATIENCE} s")
    if done.returncode:
        missing(f"{what}: {' '.join((done.stderr or done.stdout).split())[-300:]}")
