"""Take every guard out, one at a time, and show that the test which stands for it then fails.

Each ``*.patch`` beside this file removes one guard. Its first lines say which, and name the test::

    Invariant: I4
    Guard: a claim is written before the provider is asked
    Test: tests/test_invariants.py::test_i4_one_refresh_among_workers

The patch is applied to a copy of the tree; the test must pass without it and fail with it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INVARIANTS = {f"I{number}" for number in range(1, 13)}


def read(patch: Path) -> dict[str, str]:
    """The patch's own words."""
    return dict(re.findall(r"^(Invariant|Guard|Test): (.+)$", patch.read_text(), re.MULTILINE))


def copy_of_the_tree(target: Path) -> None:
    """What the tests need, and nothing that they left behind."""
    for name in ("src", "tests", "examples", "docs"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for name in ("pyproject.toml", "README.md", "ARCHITECTURE.md"):
        shutil.copy(ROOT / name, target / name)


def run(tests: list[str], tree: Path) -> subprocess.CompletedProcess[str]:
    """Run tests in a tree, against that tree's own source."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=120, check=False)


def removed(patch: Path) -> str | None:
    """What is wrong with the guard's test, or None if it notices that the guard is gone."""
    words = read(patch)
    if set(words) != {"Invariant", "Guard", "Test"}:
        return "its first lines must name the invariant, the guard and the test"
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_of_the_tree(tree)
        applied = subprocess.run(
            ["git", "apply", "-p1", str(patch)], cwd=tree, capture_output=True, text=True, check=False
        )
        if applied.returncode != 0:
            return f"the patch does not apply any more: {applied.stderr.strip()}"
        result = run([words["Test"]], tree)
    if result.returncode == 1:
        return None
    return f"the test still passes (exit {result.returncode}): {result.stdout.strip().splitlines()[-1:]}"


def main() -> int:
    """Every guard; the exit code says whether all were noticed."""
    patches = sorted(HERE.glob("*.patch"))
    missing = INVARIANTS - {read(patch).get("Invariant", "").split()[0] for patch in patches}
    with tempfile.TemporaryDirectory() as folder:
        copy_of_the_tree(Path(folder))
        whole = run(sorted({read(patch)["Test"] for patch in patches}), Path(folder))
    if whole.returncode != 0:
        print(whole.stdout[-3000:], "The tests do not pass with all guards in place.", sep="\n")
        return 1
    failures = 0
    with ThreadPoolExecutor(max_workers=2) as pool:
        for patch, problem in zip(patches, pool.map(removed, patches), strict=True):
            failures += problem is not None
            print(f"{'FAILED' if problem else 'noticed'}  {patch.stem}: {problem or read(patch)['Guard']}")
    if missing:
        print(f"No guard is taken out for {', '.join(sorted(missing))}.")
    print(f"{len(patches) - failures} passed, {failures + len(missing)} failed")
    return 1 if failures or missing else 0


if __name__ == "__main__":
    sys.exit(main())
