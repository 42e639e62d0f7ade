"""The real next-auth/react, 4.24 and 5 beta, in a DOM: against the real servers as recorded, and against ours."""

from __future__ import annotations

import pytest

from asgi_token_rotation.types import Dialect
from contract.clients import answers_to, clients_recorded
from contract.compare import Found, found_differences, verdict
from contract.differences import CLIENTS
from contract.node import keep_current, read_recording
from contract.worlds import DIALECTS

POLLS = {"authjs": 2, "nextauth-v4": 1}  # v5's own tab hears its message, and reads the session again
MOUNTS = (
    "mount",
    "mount: signed out",
    "mount: a garbled cookie",
    "mount: with a session",
    "mount: with null",
    "required",
)


@pytest.mark.contract
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_recordings_of_the_real_clients_are_current(dialect: Dialect, theirs: dict[str, int]) -> None:
    """The real client asks its own server today what it is recorded to ask, and makes the same of the answers."""
    keep_current(f"clients-{dialect}.json", clients_recorded(dialect=dialect, ports=theirs)[0])


@pytest.mark.contract
def test_the_real_clients_do_with_us_what_they_do_with_their_own_servers(ours: dict[str, int]) -> None:
    """Requests, results, hook states, navigations and messages are the recorded ones, but for the listed differences."""
    found: list[Found] = []
    for dialect in DIALECTS:
        told, renders = clients_recorded(dialect=dialect, ports=ours)
        found += found_differences(read_recording(f"clients-{dialect}.json"), told, dialect=dialect)
        for name in MOUNTS:
            requests = told[name][0].get("requests", [])
            assert len(requests) <= POLLS[dialect], f"{dialect}, {name}: {requests}"
        for name, count in renders.items():
            # One at first, one for each answer, and two more where update() says that it loads.
            assert count <= 3 + len(told[name][0].get("requests", [])), f"{dialect}, {name}: {count} renders"
    unlisted, gone = verdict(found, CLIENTS)

    assert unlisted == [], "otherwise than with the real server, and not listed in differences.py"
    assert gone == [], "listed in differences.py, and there no more: take it off the list"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_the_clients_asked_is_answered_as_it_was_then(dialect: Dialect, ours: dict[str, int]) -> None:
    """Each recorded request of the real client gets the recorded answer from us, but for the listed differences."""
    recording = read_recording(f"clients-{dialect}.json")
    answers = answers_to(recording, dialect=dialect, ports=ours)
    asked = {name: [{"answers": recording[name][0].get("answers", [])}] for name in answers}

    assert len(answers) > 40
    assert verdict(found_differences(asked, answers, dialect=dialect), CLIENTS)[0] == []
