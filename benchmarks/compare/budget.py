"""The budget, and whether a measurement is within it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .direct import Cost
from .herd import Herd
from .subject import Subject

WAIT_STRETCH = 1.25  # the slowest of a herd waits the provider's time and a quarter, at most
IMPORT_MILLISECONDS = 150.0  # beyond the import of the dependencies


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the budget."""

    what: str
    limit: str
    measured: str
    within: bool

    def cells(self) -> tuple[str, str, str, str]:
        """As it stands in the table."""
        return self.what, self.limit, self.measured, "within" if self.within else "**over**"


def of_costs(subjects: Sequence[Subject], costs: dict[str, Cost]) -> list[Row]:
    """A row for each subject that has a budget: times what Starlette takes to read its session."""
    rows = []
    for subject in subjects:
        if subject.budget is not None:
            cost = costs[subject.name]
            rows.append(Row(subject.name, f"{subject.budget:.2f} x", cost.cell(), cost.ratio <= subject.budget))
    return rows


def of_herds(herds: Sequence[Herd]) -> list[Row]:
    """Two rows for the requests that wait for one refresh; the worst of all herds counts."""
    stretches = sorted(herd.stretch for herd in herds)
    calls, middle = max(herd.calls for herd in herds), stretches[len(stretches) // 2]
    name = f"{herds[0].requests:,} requests waiting for one refresh of {herds[0].provider:.1f} s"
    spread = f"{middle:.2f} ({stretches[0]:.2f}-{stretches[-1]:.2f})"
    return [
        Row(f"{name}: calls to the provider", "1", str(calls), calls == 1),
        Row(f"{name}: the slowest wait", f"{WAIT_STRETCH:.2f} x its time", spread, middle <= WAIT_STRETCH),
    ]


def of_import(median: float, worst: float) -> Row:
    """The import of the package, in milliseconds of processor time."""
    measured = f"{median:.0f} ms (worst {worst:.0f})"
    return Row(
        "import, beyond the dependencies", f"{IMPORT_MILLISECONDS:.0f} ms", measured, median <= IMPORT_MILLISECONDS
    )
