"""The figures of docs/scaling.md: the simulation runs, always with the same result, and the sizes are the code's."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCALING = (ROOT / "docs" / "scaling.md").read_text("utf-8")


def printed(script: str, *arguments: str) -> str:
    """What a benchmark says, in a process whose hash seed is its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHONHASHSEED")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert done.stderr == ""
    return done.stdout


def rows(text: str) -> list[list[str]]:
    """The cells of every table's line."""
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ]


@pytest.fixture(scope="module")
def small() -> str:
    return printed("scaling.py", "--small")


def test_the_simulation_is_seeded(small: str) -> None:
    """The same seed gives the same tables, and another seed others."""
    assert rows(printed("scaling.py", "--small")) == rows(small)
    assert rows(printed("scaling.py", "--small", "--seed", "2")) != rows(small)


def test_one_call_however_many_workers(small: str) -> None:
    """I4: in the simulated page loads the provider gets one call, and a worker alone three round trips."""
    pages = [cells for cells in rows(small) if len(cells) == 7 and cells[0].isdigit()]

    assert len(pages) == 10
    assert {cells[6] for cells in pages} == {"1"}
    assert {cells[3] for cells in pages if cells[0] == "1"} == {"3.0"}


def test_no_call_without_the_store(small: str) -> None:
    """While the store is down, the simulated provider gets no call; without the back-off, it gets three times as many."""
    herds = {(cells[0], cells[1]): cells for cells in rows(small) if cells[0].startswith(("store", "provider"))}
    calls = {key: float(cells[3].replace(",", "")) for key, cells in herds.items()}

    assert calls["store", "60 s"] == calls["store", "600 s"] == 0
    assert calls["provider, without the back-off", "600 s"] > 2 * calls["provider", "600 s"]


def test_the_document_has_the_simulations_tables(small: str) -> None:
    """Each table of the simulation stands in the document, with the same first line and as many rows."""
    documented, simulated = rows(SCALING), rows(small)
    heads = [cells for cells, below in itertools.pairwise(simulated) if set("".join(below)) == {"-"}]

    assert len(heads) == 4
    assert [head for head in heads if head not in documented] == []
    for first in {cells[0] for cells in simulated} - {"---"}:
        assert any(cells[0] == first for cells in documented), first


def test_the_sizes_are_the_codes() -> None:
    """The sealed sizes of the document are what the code seals now, within two percent."""
    sizes = [int(size) for size in re.findall(r" (\d+) B$", printed("sizes.py"), re.MULTILINE)]
    section = SCALING.split("\n| record | sealed, bytes | in Redis, bytes |\n", 1)[1].split("\n\n", 1)[0]
    documented = [int(cells[1]) for cells in rows(section) if len(cells) == 3]

    assert len(sizes) == len(documented) == 6
    assert sorted(documented) == pytest.approx(sorted(sizes), rel=0.02)
