from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from asgi_token_rotation import TokenSet
from asgi_token_rotation._rotation import record as records
from asgi_token_rotation._rotation.record import Claim, Record, place

NOW = 1_800_000_000.0
GRACE = 30.0
UNDELIVERED = 1000.0
TOKENS = TokenSet("access new", "refresh new", NOW + 300)
MINE, OTHERS = Claim(owner="me", lease=6.0, beat=3), Claim(owner="other", lease=6.0, beat=5)


def token(generation: int, *, refresh: str | None = None, **claims: Any) -> dict[str, Any]:
    return {
        "session_id": "s",
        "generation": generation,
        "access_token": f"access {generation}",
        "refresh_token": refresh or f"refresh {generation}",
        "expires_at": NOW + 10,
        "issued_at": NOW - 290,
        **claims,
    }


LIVE = Record(generation=2, since=1, token=token(2), until=NOW + 900, published=NOW - 100)
STATES: dict[str, Record | None] = {
    "none": None,
    "live": LIVE,
    "noted": replace(LIVE, delivered=NOW - 10, until=NOW + 20),
    "mark": replace(LIVE, delivered=NOW - 100, until=NOW - 70),
    "waits": replace(LIVE, retry_at=NOW + 5, failures=2, kind="unavailable"),
    "mine": replace(LIVE, state="claimed", claim=MINE),
    "other": replace(LIVE, state="claimed", claim=OTHERS),
    "refused": replace(LIVE, state="refused", kind="refused"),
    "ended": Record(state="ended", generation=2, reason="sign_out", at=NOW - 5),
}
TIMES: dict[str, float] = {"grace": GRACE, "now": NOW}
ALL_TIMES = {**TIMES, "undelivered": UNDELIVERED}


def claim(generation: int) -> Callable[[Record | None], Record | None]:
    return lambda record: records.claimed(record, token(generation), MINE, presented=generation, **TIMES)


def success(generation: int, refresh: str | None = None) -> Callable[[Record | None], Record | None]:
    return lambda record: records.refreshed(record, token(generation, refresh=refresh), TOKENS, **ALL_TIMES)


def update(generation: int, *, rotation: bool = False) -> Callable[[Record | None], Record | None]:
    return lambda record: records.updated(
        record, token(generation), token(2, role="admin"), rotation=rotation, **ALL_TIMES
    )


EVENTS: dict[str, Callable[[Record | None], Record | None]] = {
    "claim": claim(2),
    "claim-ahead": claim(3),
    "beat": lambda record: records.beaten(record, "me"),
    "take-over": lambda record: records.taken_over(record, MINE, presented=2, **TIMES),
    "success": success(2),
    "success-after-update": success(1, refresh="refresh 2"),
    "success-after-rotation": success(1),
    "success-ahead": success(3),
    "update": update(2),
    "update-older": update(1),
    "update-ahead": update(3),
    "own-rotation": update(2, rotation=True),
    "failure": lambda record: records.failed(record, "me", kind="throttled", retry_at=NOW + 60, now=NOW),
    "refusal": lambda record: records.refused(record, "me", now=NOW),
    "note": lambda record: records.noted(record, 2, **TIMES),
    "note-older": lambda record: records.noted(record, 1, **TIMES),
    "note-newer": lambda record: records.noted(record, 3, **TIMES),
    "end": lambda record: records.ended(record, 2, reason="sign_out", now=NOW),
}
# What follows from each event in each state: the next state's first letter and generation; "-": it must not happen.
TABLE = """
                        none live noted mark waits mine other refused ended
claim                   c2   c2   c2    c2   c2    -    -     -       -
claim-ahead             c3   c3   c3    c3   c3    c3   c3    c3      -
beat                    -    -    -     -    -     c2   -     -       -
take-over               -    -    -     -    -     c2   c2    -       -
success                 l3   l3   l3    l3   l3    l3   l3    l3      -
success-after-update    l2   l3   l3    l3   l3    l3   l3    l3      -
success-after-rotation  l2   -    -     -    -     -    -     -       -
success-ahead           l4   l4   l4    l4   l4    l4   l4    l4      -
update                  l3   l3   l3    l3   l3    c3   c3    r3      -
update-older            l2   l3   l3    l3   l3    c3   c3    r3      -
update-ahead            l4   l4   l4    l4   l4    l4   l4    l4      -
own-rotation            l3   l3   l3    l3   l3    c3   c3    l3      -
failure                 -    -    -     -    -     l2   -     -       -
refusal                 -    -    -     -    -     r2   -     -       -
note                    -    l2   -     -    l2    c2   c2    r2      -
note-older              -    -    -     -    -     -    -     -       -
note-newer              -    -    -     -    -     -    -     -       -
end                     e2   e2   e2    e2   e2    e2   e2    e2      -
"""


def cells() -> list[tuple[str, str, str]]:
    head, *rows = TABLE.strip().splitlines()
    states = head.split()
    return [
        (event, state, cell)
        for event, *row in (line.split() for line in rows)
        for state, cell in zip(states, row, strict=True)
    ]


def made(event: str, state: str) -> Record:
    record = EVENTS[event](STATES[state])
    assert record is not None
    return record


def test_the_table_is_whole() -> None:
    """Every event is judged in every state."""
    assert {(event, state) for event, state, _ in cells()} == {(event, state) for event in EVENTS for state in STATES}


@pytest.mark.parametrize(("event", "state", "expected"), cells(), ids=lambda value: str(value))
def test_every_event_in_every_state(event: str, state: str, expected: str) -> None:
    """What an event leads to is fixed for every state of the record, and never is a generation lost."""
    before = STATES[state]
    after = EVENTS[event](before)

    assert ("-" if after is None else f"{after.state[0]}{after.generation}") == expected
    if after is not None:
        assert after.generation >= (before.generation if before else 0)
        assert (after.claim is not None) == (after.state == "claimed")
        assert after.state == "ended" or after.since <= after.generation
        assert after.token is None or after.token["generation"] == after.generation


@pytest.mark.parametrize("state", ["none", "live"])
def test_a_claim_notes_the_cookie_as_delivered(state: str) -> None:
    """A claim is also the note that the browser has the generation that it presented."""
    record = made("claim", state)

    assert record.delivered == NOW
    assert record.until <= NOW + GRACE
    assert record.claim == MINE


def test_a_claim_for_an_older_cookie_notes_nothing() -> None:
    """A claim that an older cookie led to says nothing about the newest generation's delivery."""
    record = records.claimed(LIVE, token(2), MINE, presented=1, **TIMES)

    assert record is not None
    assert (record.delivered, record.until) == (None, LIVE.until)


def test_a_claim_keeps_what_was_known_of_failures() -> None:
    """A claim forgets neither how often the provider failed nor how, so back-off and doubt go on."""
    record = made("claim", "waits")

    assert (record.failures, record.kind) == (2, "unavailable")


@pytest.mark.parametrize("event", ["claim"])
def test_dead_tokens_go_at_the_next_write(event: str) -> None:
    """Tokens below the mark are dropped at the record's next write."""
    assert made(event, "mark").token is None


def test_a_claimed_record_keeps_its_token() -> None:
    """While a call is under way the newest token stays, since its success may be laid on top of an update."""
    dead = replace(LIVE, state="claimed", claim=MINE, until=NOW - 1)

    assert [record.token for record in (records.beaten(dead, "me"),) if record] == [LIVE.token]


@pytest.mark.parametrize("event", ["failure", "refusal"])
def test_a_failure_drops_dead_tokens(event: str) -> None:
    """When the call has failed, tokens below the mark go, like at any other write."""
    record = EVENTS[event](replace(LIVE, state="claimed", claim=MINE, until=NOW - 1))

    assert record is not None
    assert record.token is None
    assert made(event, "mine").token == LIVE.token


def test_a_beat_moves_only_the_beat() -> None:
    """A beat changes nothing but itself."""
    assert made("beat", "mine") == replace(STATES["mine"], claim=replace(MINE, beat=4))  # type: ignore[type-var]


def test_a_take_over_names_the_new_owner() -> None:
    """After a take-over the old owner's failure counts for nothing."""
    taken = made("take-over", "other")

    assert taken.claim == MINE
    assert taken.delivered == NOW
    assert records.failed(taken, "other", kind="unavailable", retry_at=NOW, now=NOW) is None
    assert records.refused(taken, "other", now=NOW) is None
    assert records.beaten(taken, "other") is None


def test_a_take_over_for_an_older_cookie_notes_nothing() -> None:
    """Like a claim, a take-over that an older cookie led to is no delivery."""
    taken = records.taken_over(STATES["other"], MINE, presented=1, **TIMES)

    assert taken is not None
    assert taken.delivered is None


def test_a_success_settles_everything() -> None:
    """A success ends claim, back-off and refusal, and holds the new token set under the next generation."""
    for state in ("mine", "other", "waits", "refused"):
        record = made("success", state)
        assert (record.claim, record.failures, record.retry_at, record.kind) == (None, 0, None, None)
        assert record.token is not None
        assert record.token["refresh_token"] == "refresh new"
        assert (record.published, record.delivered) == (NOW, None)


def test_a_success_is_kept_from_the_old_access_tokens_expiry() -> None:
    """A rotation that reaches nobody is kept for ``undelivered`` seconds from the expiry of what it replaced."""
    assert made("success", "mine").until == NOW + 10 + UNDELIVERED


def test_an_expired_token_is_kept_from_now() -> None:
    """Where the replaced access token had expired, or its expiry is unknown, the days count from now."""
    for expires_at in (NOW - 50, None):
        record = records.refreshed(None, token(0) | {"expires_at": expires_at}, TOKENS, **ALL_TIMES)
        assert record is not None
        assert record.until == NOW + UNDELIVERED


def test_a_success_over_an_update_keeps_both() -> None:
    """A rotation whose call was under way during an update keeps the update's claims."""
    after = records.refreshed(made("update", "mine"), token(2), TOKENS, **ALL_TIMES)

    assert after is not None
    assert after.token is not None
    assert after.token["role"] == "admin"
    assert after.token["refresh_token"] == "refresh new"
    assert after.generation == 4


def test_a_success_without_the_newer_token_is_dropped() -> None:
    """Where a newer generation's token is gone, nobody can tell an update from a rotation, so the late success goes."""
    assert success(1, refresh="refresh 2")(replace(LIVE, token=None)) is None


def test_a_success_is_kept_bare() -> None:
    """What a seal sets is no claim, so a record does not carry it."""
    record = records.refreshed(None, token(0, iat=1, exp=2, jti="x"), TOKENS, **ALL_TIMES)

    assert record is not None
    assert record.token is not None
    assert not {"iat", "exp", "jti"} & record.token.keys()


def test_an_update_leaves_failures_alone() -> None:
    """An update changes only token and generation: a claim, a refusal, a back-off stay."""
    for state in ("mine", "other", "refused", "waits"):
        before, after = STATES[state], made("update", state)
        assert before is not None
        kept = ("state", "claim", "failures", "retry_at", "kind")
        assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]


def test_an_own_rotation_forgets_failures() -> None:
    """A token set that a jwt callback brought counts as a rotation: what the old one suffered is over."""
    for state in ("refused", "waits"):
        record = made("own-rotation", state)
        assert (record.failures, record.retry_at, record.kind) == (0, None, None)


def test_an_end_holds_no_token() -> None:
    """What has ended holds neither tokens nor claims, only when and why."""
    for state in ("none", "live", "mine", "refused"):
        assert made("end", state) == Record(state="ended", generation=2, reason="sign_out", at=NOW)


def test_an_end_keeps_the_newest_generation() -> None:
    """An older cookie ends the newest generation too."""
    record = records.ended(LIVE, 0, reason="sign_out", now=NOW)

    assert record is not None
    assert record.generation == 2


def test_a_note_waits_for_grace() -> None:
    """Until ``grace`` has passed since the publication, answers may still overtake each other, so nothing is noted."""
    early = replace(LIVE, published=NOW - GRACE + 0.1)
    late = replace(LIVE, published=NOW - GRACE)

    assert records.noted(early, 2, **TIMES) is None
    assert records.noted(late, 2, **TIMES) == replace(late, delivered=NOW, until=NOW + GRACE)


def test_a_note_never_prolongs() -> None:
    """A delivery that comes when the days are nearly over does not add a grace to them."""
    record = records.noted(replace(LIVE, until=NOW + 1), 2, **TIMES)

    assert record is not None
    assert record.until == NOW + 1


# place


@pytest.mark.parametrize(
    ("generation", "expected"), [(0, "stale"), (1, "older"), (2, "current"), (3, "current"), (9, "current")]
)
def test_place_by_generation(generation: int, expected: str) -> None:
    """Below ``since`` a cookie is stale, from there on it gets the newest token, above the record it is the holder."""
    assert place(LIVE, generation, now=NOW) == expected


@pytest.mark.parametrize(
    ("now", "generation", "expected"),
    [
        (NOW - 0.1, 1, "older"),
        (NOW, 1, "stale"),
        (NOW + 900, 1, "stale"),
        (NOW, 2, "current"),
        (NOW + 9e9, 2, "current"),
    ],
)
def test_place_by_mark(now: float, generation: int, expected: str) -> None:
    """From the mark on older cookies are stale, and the newest never is."""
    assert place(replace(LIVE, until=NOW), generation, now=now) == expected


@pytest.mark.parametrize(
    ("now", "generation", "expected"),
    [
        (NOW - 0.1, 3, "older"),
        (NOW - 0.1, 2, "stale"),
        (NOW, 3, "stale"),
        (NOW, 5, "older"),
        (NOW, 4, "stale"),
    ],
)
def test_place_by_before(now: float, generation: int, expected: str) -> None:
    """What was ``since`` before a delivery is served until ``before`` says, and not a moment longer."""
    record = replace(LIVE, generation=6, token=token(6), since=5, before=(3, NOW))

    assert place(record, generation, now=now) == expected


def test_place_without_a_record() -> None:
    """A session without a record is its cookie."""
    assert place(None, 0, now=NOW) == "current"


def test_place_without_a_token() -> None:
    """Where the tokens are gone, an older cookie is stale even before the mark."""
    assert place(replace(LIVE, token=None), 1, now=NOW) == "stale"


@pytest.mark.parametrize("generation", [0, 2, 7])
def test_place_at_the_end(generation: int) -> None:
    """An ended session has ended for every cookie of it."""
    assert place(STATES["ended"], generation, now=NOW) == "ended"


# since, over several rotations


def rotate(record: Record | None, generation: int, *, presented: int, now: float) -> Record:
    sent = token(generation) | {"expires_at": now}
    times: dict[str, float] = {"grace": GRACE, "now": now}
    held = records.claimed(record, sent, MINE, presented=presented, **times)
    fresh = TokenSet(f"access {generation + 1}", f"refresh {generation + 1}", now + 300)
    after = records.refreshed(held, sent, fresh, undelivered=UNDELIVERED, **times)
    assert after is not None
    return after


def test_two_refreshes_that_nobody_saw() -> None:
    """A client that vanished in two refreshes is served with the cookie that it had before both."""
    record = rotate(None, 0, presented=0, now=NOW)
    record = rotate(record, 1, presented=0, now=NOW + 300)

    assert record.generation == 2
    assert place(record, 0, now=NOW + 600) == "older"
    assert place(record, 0, now=NOW + 300 + UNDELIVERED) == "stale"


def test_five_rotations_old() -> None:
    """A cookie five rotations old is never served, and the one before the newest only until its delivery and grace."""
    record: Record | None = None
    for generation in range(5):
        record = rotate(record, generation, presented=generation, now=NOW + 300 * generation)

    assert record is not None
    published = NOW + 300 * 4
    assert [place(record, generation, now=published + 1) for generation in range(6)] == [
        "stale", "stale", "stale", "older", "older", "current",
    ]  # fmt: skip
    assert [place(record, generation, now=published + GRACE) for generation in range(6)] == [
        "stale", "stale", "stale", "stale", "older", "current",
    ]  # fmt: skip
