from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.register_assert_rewrite("real_providers.scenarios")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is of ``make providers``."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("providers")


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a figure for the table at the end."""
    return lambda figure: record_property("measured", figure)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of all tests, in a table."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    rows = [
        (report.nodeid.rpartition("/")[2], value)
        for report in reports
        for name, value in report.user_properties
        if name == "measured" and report.when == "call" and "real_providers" in report.nodeid
    ]
    for test, figure in rows:
        terminalreporter.write_line(f"{test}: {figure}")
