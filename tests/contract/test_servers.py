"""Our servers against the recordings of the real ones. `make contract` holds the recordings against these."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_token_rotation.types import Dialect
from contract.compare import ANY, Difference, Found, found_differences, verdict
from contract.differences import SERVERS
from contract.drive import recorded
from contract.node import keep_current, read_recording
from contract.scenarios import SCENARIOS
from contract.worlds import DIALECTS


def test_every_answer_is_the_real_servers_but_for_what_is_listed(ours: dict[str, int]) -> None:
    """Each step of each scenario is answered as NextAuth v4 and Auth.js v5 answered it, but for the listed differences."""
    found: list[Found] = []
    for dialect in DIALECTS:
        answers = recorded(SCENARIOS, dialect=dialect, ports=ours)
        found += found_differences(read_recording(f"servers-{dialect}.json"), answers, dialect=dialect)
    unlisted, gone = verdict(found, SERVERS)

    assert unlisted == [], "answered otherwise than recorded, and not listed in differences.py"
    assert gone == [], "listed in differences.py, and there no more: take it off the list"


@pytest.mark.contract
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_recordings_of_the_real_servers_are_current(dialect: Dialect, theirs: dict[str, int]) -> None:
    """The real servers answer today as they are recorded."""
    keep_current(f"servers-{dialect}.json", recorded(SCENARIOS, dialect=dialect, ports=theirs))


_SAME: dict[str, Any] = {"status": 200, "body.url": "/"}


@pytest.mark.parametrize("change", [{"status": 500}, {"location": "/x"}, {"body.url": None}])
def test_a_difference_that_is_not_listed_is_told(change: dict[str, Any]) -> None:
    """Whatever differs in one step is told with its scenario, and only a listed difference of that field allows it."""
    found = found_differences({"name": [_SAME]}, {"name": [_SAME | change]}, dialect="authjs")
    (field,) = change
    listed = Difference(field=field, ours=change[field], reason="why")

    assert len(found) == 1
    assert verdict(found, ()) == ([str(found[0])], [])
    assert verdict(found, [listed]) == ([], [])
    assert verdict(found, [Difference(field="another", reason="why")]) == ([str(found[0])], ["another: why"])
    assert verdict(found, [Difference(field=field, scenario="elsewhere", reason="why")])[0] != []
    assert verdict(found, [Difference(field=field, ours="otherwise", reason="why")])[0] != []
    assert verdict(found, [Difference(field=field, dialect="nextauth-v4", reason="why")])[0] != []


def test_a_listed_difference_that_is_gone_is_told() -> None:
    """Where both sides are the same again, the entry of the list is named."""
    assert verdict(found_differences({"a": [_SAME]}, {"a": [_SAME]}, dialect="authjs"), SERVERS[:1]) == (
        [],
        [f"{SERVERS[0].field}: {SERVERS[0].reason}"],
    )


def test_every_difference_has_a_reason_and_is_no_licence() -> None:
    """Each entry of the list says why, and names either a scenario or the values."""
    for difference in SERVERS:
        assert difference.reason.endswith("."), difference
        values = difference.theirs is not ANY or difference.ours is not ANY or difference.pair is not None
        assert values or difference.scenario != "*", difference
