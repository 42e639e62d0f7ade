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


PEERS = (
    "Starlette SessionMiddleware, read",
    "starsessions",
    "Litestar client-side session",
    "joserfc",
    "BaseHTTPMiddleware",
)
RESULTS = ROOT / "benchmarks" / "RESULTS.md"


def said_by_bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A few rounds of the comparison, whatever its exit code."""
    command = [sys.executable, str(ROOT / "benchmarks" / "bench.py"), "--quick", *arguments]
    surroundings = dict(os.environ) | environment
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=surroundings)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], str]:
    """A quick comparison with ``--check`` where there is no wrk: how it ended, and the file that it wrote."""
    folder = tmp_path_factory.mktemp("results")
    written = folder / "RESULTS.md"
    written.write_text("# Results\n\n## Memory\n\nas it was\n\n## Budget\n\nan old one\n", "utf-8")
    done = said_by_bench("--check", "--wrk-rounds", "1", "--out", str(written), PATH=str(folder))
    return done, written.read_text("utf-8")


def budget_of(text: str) -> list[list[str]]:
    """The lines of the budget's table."""
    return rows(text.partition("## Budget\n")[2].partition("\n## ")[0])[2:]


def test_the_bench_prints_the_budget_beside_the_measurement(
    quick: tuple[subprocess.CompletedProcess[str], str],
) -> None:
    """Every row of the budget is measured, with and without the speed extra, and says whether it is within."""
    table = budget_of(quick[0].stdout)
    limits = {cells[0]: cells[1] for cells in table}

    assert quick[0].stderr == ""
    assert limits["ours: no session cookie"] == "0.05 x"
    assert limits["ours: cookie seen before"] == limits["ours: cookie seen before (speed)"] == "0.20 x"
    assert limits["ours: cookie not seen before"] == "0.60 x"
    assert limits["ours: cookie not seen before (speed)"] == "0.45 x"
    assert limits["ours: changed and written back"] == "1.00 x"
    assert limits["ours: inside the margin, another request is refreshing"] == "0.20 x"
    assert len(table) == 13
    assert {cells[3] for cells in table} <= {"within", "**over**"}


def test_the_bench_asks_the_provider_once(quick: tuple[subprocess.CompletedProcess[str], str]) -> None:
    """I4: all requests that wait for one refresh cost one call to the provider."""
    calls = [cells for cells in budget_of(quick[0].stdout) if cells[0].endswith("calls to the provider")]

    assert [cells[1:] for cells in calls] == [["1", "1", "within"]]


def test_a_figure_over_the_budget_is_an_exit_code_only_if_asked(
    quick: tuple[subprocess.CompletedProcess[str], str],
) -> None:
    """With --check the exit code says whether anything is over the budget; without it, it is 0 whatever was measured."""
    assert quick[0].returncode == int("**over**" in quick[0].stdout)
    assert said_by_bench().returncode == 0


def test_the_bench_goes_on_without_wrk(quick: tuple[subprocess.CompletedProcess[str], str]) -> None:
    """Where wrk is missing the bench says so and writes everything else."""
    assert "Not measured: wrk is not installed" in quick[1]
    assert "## Called directly" in quick[1]


def test_each_script_writes_its_own_sections(quick: tuple[subprocess.CompletedProcess[str], str]) -> None:
    """The bench replaces its sections of the results and keeps the ones that other scripts wrote."""
    assert "as it was" in quick[1]
    assert "an old one" not in quick[1]
    assert quick[1].count("\n## ") == len({*re.findall(r"\n## (.+)", quick[1])}) == 5


def test_the_results_are_of_this_bench(quick: tuple[subprocess.CompletedProcess[str], str]) -> None:
    """RESULTS.md has the rows that the bench has now, the peers beside them, the command and the versions."""
    results = RESULTS.read_text("utf-8")
    named = {cells[0] for cells in budget_of(results)}

    assert {cells[0] for cells in budget_of(quick[1]) if cells[0].startswith("ours")} <= named
    assert [peer for peer in PEERS if f"| {peer}" not in results.replace("**", "")] == []
    assert "make bench" in results
    assert "cryptography " in results


def test_the_profile_names_the_packages_functions() -> None:
    """The profile has a table for each row of the budget, whose lines add up to the whole request."""
    text = printed("profile.py", "--requests", "40", "--lines", "5")
    tables = text.strip().split("\n\n")

    assert len(tables) == 4
    assert "_middleware.py" in text
    for table in tables:
        head, _, *lines = rows(table)
        whole = float(re.findall(r"µs of ([\d.]+)", head[2])[0])
        assert sum(float(cells[2]) for cells in lines) == pytest.approx(whole, abs=1)


def test_the_memory_benchmark_runs() -> None:
    """Distinct sessions, garbage and rotations go through one process, each with looks at its memory."""
    table = rows(printed("memory.py", "--sessions", "2000", "--rotations", "100"))

    assert [cells[0].split(",")[0] for cells in table[2:]] == [
        "nothing yet", "sessions", "cookies of garbage", "sessions that rotate",
    ]  # fmt: skip
    assert [cells[2].split(" → ")[-1] for cells in table[3:]] == ["2,000", "2,000", "100"]
