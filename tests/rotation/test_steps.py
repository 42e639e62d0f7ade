from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asgi_token_rotation import RefreshOptions
from asgi_token_rotation._rotation.record import Claim, Record
from asgi_token_rotation._rotation.steps import Demand, Standing, Step, newest_for, next_step, standing_of

NOW = 1_800_000_000.0
DEMAND = Demand(options=RefreshOptions())


def token(generation: int, *, left: float = 10, **claims: Any) -> dict[str, Any]:
    return {
        "generation": generation,
        "access_token": f"access {generation}",
        "refresh_token": f"refresh {generation}",
        "expires_at": NOW + left,
        "issued_at": NOW + left - 300,
        **claims,
    }


LIVE = Record(generation=2, since=1, token=token(2), until=NOW + 900, published=NOW - 290)
CLAIMED = replace(LIVE, state="claimed", claim=Claim(owner="other", lease=6))
REFUSED = replace(LIVE, state="refused", kind="refused")
ENDED = Record(state="ended", generation=2, at=NOW)


def waits(kind: str, seconds: float = 5) -> Record:
    return replace(LIVE, failures=1, kind=kind, retry_at=NOW + seconds)


@pytest.mark.parametrize(
    ("record", "generation", "action", "gets"),
    [
        (None, 0, "serve", 0),
        (LIVE, 2, "serve", 2),
        (LIVE, 1, "serve", 2),
        (LIVE, 0, "stale", 0),
        (LIVE, 3, "serve", 3),
        (CLAIMED, 1, "serve", 2),
        (REFUSED, 1, "serve", 2),
        (ENDED, 2, "ended", 2),
    ],
)
def test_newest_for(record: Record | None, generation: int, action: str, gets: int) -> None:
    """R2: An older cookie gets the record's token; the newest, or one without a record, keeps its own."""
    step = newest_for(record, token(generation), now=NOW)

    assert (step.action, step.token["generation"]) == (action, gets)


@pytest.mark.parametrize(
    ("record", "generation", "action", "kind"),
    [
        (None, 0, "ask", None),
        (LIVE, 2, "ask", None),
        (LIVE, 1, "ask", None),
        (LIVE, 3, "ask", None),
        (LIVE, 0, "stale", None),
        (CLAIMED, 2, "watch", None),
        (CLAIMED, 1, "watch", None),
        (CLAIMED, 3, "ask", None),
        (REFUSED, 2, "serve", "refused"),
        (REFUSED, 1, "serve", "refused"),
        (REFUSED, 3, "ask", None),
        (ENDED, 2, "ended", None),
        (ENDED, 3, "ended", None),
        (waits("unavailable"), 2, "serve", "unavailable"),
        (waits("unavailable"), 1, "serve", "unavailable"),
        (waits("unavailable"), 3, "ask", None),
        (waits("throttled"), 2, "serve", "throttled"),
        (waits("misconfigured"), 2, "serve", "misconfigured"),
        (waits("doubtful"), 2, "serve", "unavailable"),
        (waits("ambiguous"), 2, "serve", "unavailable"),
        (waits("unavailable", 0.001), 2, "serve", "unavailable"),
        (waits("unavailable", 0), 2, "ask", None),
        (waits("unavailable", -5), 2, "ask", None),
    ],
)
def test_what_a_due_token_leads_to(record: Record | None, generation: int, action: str, kind: str | None) -> None:
    """The provider is asked only where nobody asks, nobody was refused, no window is open, and the cookie is served."""
    step = next_step(record, token(generation), DEMAND, now=NOW)

    assert (step.action, step.kind) == (action, kind)


@pytest.mark.parametrize("record", [None, CLAIMED, REFUSED, waits("throttled")])
def test_a_fresh_token_is_served(record: Record | None) -> None:
    """What is not due is served, whatever the record says of failures."""
    fresh = token(2, left=300)
    step = next_step(replace(record, token=fresh) if record else None, fresh, DEMAND, now=NOW)

    assert (step.action, step.token, step.kind) == ("serve", fresh, None)


def test_a_newer_fresh_token_ends_the_demand() -> None:
    """R8: Who held a due token gets the newest one of the record, and nobody is asked."""
    record = replace(LIVE, token=token(2, left=300))
    step = next_step(record, token(1, left=-10), DEMAND, now=NOW)

    assert (step.action, step.token["generation"]) == ("serve", 2)


def test_a_flag_keeps_the_provider_out() -> None:
    """O3: A flagged session that is due never asks the provider, and a newer generation clears its flag."""
    flagged = token(2, error="RefreshAccessTokenError")

    assert next_step(None, flagged, DEMAND, now=NOW) == Step("serve", flagged, "refused")
    newer = replace(LIVE, generation=3, token=token(3, left=300))
    assert next_step(newer, flagged, DEMAND, now=NOW) == Step("serve", newer.token, None)  # type: ignore[arg-type]


def test_a_dead_refresh_token_is_not_sent() -> None:
    """Past ``refresh_expires_at`` the provider is not asked: refused."""
    dead = token(0, refresh_expires_at=NOW)

    assert next_step(None, dead, DEMAND, now=NOW) == Step("serve", dead, "refused")
    assert next_step(None, token(0, refresh_expires_at=NOW + 1), DEMAND, now=NOW).action == "ask"


def test_a_demand_is_heeded() -> None:
    """A rejected access token, or one that does not live long enough, is asked for anew."""
    fresh = token(2, left=200)

    assert next_step(None, fresh, replace(DEMAND, rejected="access 2"), now=NOW).action == "ask"
    assert next_step(None, fresh, replace(DEMAND, rejected="access 1"), now=NOW).action == "serve"
    assert next_step(None, fresh, replace(DEMAND, min_valid_for=250), now=NOW).action == "ask"


def test_standings() -> None:
    """Who is stale or ended stands nowhere, and only stale is told apart."""
    own = token(2)

    assert standing_of(Step("stale", own), looked=True) == Standing(None, stale=True, looked=True)
    assert standing_of(Step("ended", own)) == Standing(None)
    assert standing_of(Step("serve", own, "store"), sole=True) == Standing(own, "store", sole=True)


def test_no_token_in_a_repr() -> None:
    """I7: Neither a decision nor what it goes by shows a token."""
    text = repr([
        next_step(LIVE, token(1), DEMAND, now=NOW), replace(DEMAND, rejected="access 2"), Standing(token(2)), LIVE,
    ])  # fmt: skip

    assert "access 2" not in text
    assert "refresh 2" not in text
