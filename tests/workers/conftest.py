from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workers.fleet import Meeting, meeting

MEASURED = "measured"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is of ``make workers``."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("workers")


@pytest.fixture(params=["redis", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Meeting]:
    """Where the workers meet."""
    with meeting(request.param, tmp_path) as place:
        yield place


@pytest.fixture(params=["redis, stopped", "redis, killed", "sqlite"])
def frail_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Meeting]:
    """The same, with the ways in which it can go down."""
    with meeting(request.param, tmp_path) as place:
        yield place


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a figure for the table at the end."""
    return lambda figure: record_property(MEASURED, figure)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of all tests, in a table."""
    rows = [
        (report.nodeid.rpartition("::")[2], value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in report.user_properties
        if name == MEASURED and report.when == "call"
    ]
    if rows:
        terminalreporter.section("measured")
        width = max(len(test) for test, _ in rows)
        for test, figure in sorted(rows):
            terminalreporter.write_line(f"{test:<{width}}  {figure}")
