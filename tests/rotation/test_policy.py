from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_token_rotation import RefreshOptions
from asgi_token_rotation._rotation import policy
from asgi_token_rotation._rotation.policy import JUST_ROTATED, due, refresh_at
from asgi_token_rotation.providers.base import Failure

NOW = 1_800_000_000.0
DEFAULT = RefreshOptions()


def token(*, left: float | None = 300, lifetime: float | None = 300, **claims: Any) -> dict[str, Any]:
    """A token whose access token has ``left`` seconds of its ``lifetime``."""
    made: dict[str, Any] = {"generation": 0, "access_token": "access", "refresh_token": "refresh"}
    if left is not None:
        made["expires_at"] = NOW + left
        if lifetime is not None:
            made["issued_at"] = NOW + left - lifetime
    return made | claims


@pytest.mark.parametrize("value", [None, True, "1800000000", [], {}])
def test_a_moment_is_a_number(value: Any) -> None:
    """A claim that is no number is no time, so nothing is judged by it."""
    assert policy.moment({"expires_at": value}, "expires_at") is None
    assert policy.moment({"expires_at": 5}, "expires_at") == 5


@pytest.mark.parametrize(
    ("margin", "lifetime", "expected"),
    [
        (None, 3600, 60),
        (None, 300, 60),
        (None, 299, 59.8),
        (None, 100, 20),
        (None, 3, 0.6),
        (None, 0, 0),
        (None, -5, 0),
        (None, None, 60),
        (0, 3600, 0),
        (120, 3600, 120),
        (120, 100, 50),
        (120, None, 120),
        (0, None, 0),
    ],
)
def test_the_margin(margin: float | None, lifetime: float | None, expected: float) -> None:
    """The margin is min(60 s, 20 %) or what was asked for, at most half of the lifetime; 60 s where it is unknown."""
    begins = refresh_at(token(lifetime=lifetime), RefreshOptions(margin=margin))

    assert begins == pytest.approx(NOW + 300 - expected)


def test_an_unknown_expiry_has_no_margin() -> None:
    """An unknown expiry never triggers a refresh by time."""
    assert refresh_at(token(left=None), DEFAULT) is None
    assert due(token(left=None), DEFAULT, now=NOW + 9e9) == "no"
    assert not policy.expired(token(left=None), now=NOW + 9e9)


@pytest.mark.parametrize(
    ("left", "expected"), [(61, "no"), (60.001, "no"), (60, "soon"), (0.001, "soon"), (0, "expired"), (-900, "expired")]
)
def test_due_by_time(left: float, expected: str) -> None:
    """Inside the margin a token is due soon, from its expiry on it can't be served."""
    assert due(token(left=left), DEFAULT, now=NOW) == expected


@pytest.mark.parametrize("refresh_token", [None, "", 0])
def test_without_a_refresh_token_nothing_is_due(refresh_token: Any) -> None:
    """Without a refresh token a session is never due."""
    assert due(token(left=-1, refresh_token=refresh_token), DEFAULT, now=NOW) == "no"
    assert due(token(refresh_token=refresh_token), DEFAULT, now=NOW, rejected="access") == "no"


def test_rejected() -> None:
    """An access token that an API refused is due at once, and only while it is still the current one."""
    assert due(token(), DEFAULT, now=NOW, rejected="access") == "expired"
    assert due(token(left=None), DEFAULT, now=NOW, rejected="access") == "expired"
    assert due(token(), DEFAULT, now=NOW, rejected="an older one") == "no"


@pytest.mark.parametrize(
    ("left", "min_valid_for", "expected"),
    [
        (200, 100, "no"),
        (200, 199, "no"),
        (200, 200, "expired"),
        (200, 500, "expired"),
        (30, 10, "soon"),
        (30, 30, "expired"),
    ],
)
def test_min_valid_for(left: float, min_valid_for: float, expected: str) -> None:
    """Who asks for more time than is left must wait for a fresh token."""
    assert due(token(left=left), DEFAULT, now=NOW, min_valid_for=min_valid_for) == expected


def test_a_life_shorter_than_the_margin() -> None:
    """A token that lives shorter than the margin is refreshed in the second half of its life, not at every request."""
    options = RefreshOptions(margin=60)

    assert due(token(left=10, lifetime=10, generation=1), options, now=NOW) == "no"
    assert due(token(left=5.1, lifetime=10, generation=1), options, now=NOW) == "no"
    assert due(token(left=5, lifetime=10, generation=1), options, now=NOW) == "soon"


@pytest.mark.parametrize("lifetime", [0, -60, 0.5])
def test_a_rotation_that_brings_nothing(lifetime: float) -> None:
    """O3: A provider that answers tokens which are already over is asked every five seconds, not at every request."""
    nonsense = token(left=lifetime, lifetime=lifetime, generation=1)

    assert due(nonsense, DEFAULT, now=NOW) == "no"
    assert due(nonsense, DEFAULT, now=NOW + JUST_ROTATED - 0.01) == "no"
    assert due(nonsense, DEFAULT, now=NOW + JUST_ROTATED) == "expired"


def test_nonsense_from_a_sign_in_is_due() -> None:
    """Nothing was rotated yet, so a sign-in's token that is over is refreshed at once."""
    assert due(token(left=0, lifetime=0), DEFAULT, now=NOW) == "expired"


def test_min_valid_for_asks_once() -> None:
    """Where a fresh token does not live as long as was asked for, not every request refreshes it."""
    fresh = token(left=10, lifetime=10, generation=1)

    assert due(fresh, DEFAULT, now=NOW, min_valid_for=60) == "no"
    assert due(fresh, DEFAULT, now=NOW + JUST_ROTATED, min_valid_for=60) == "expired"


def test_a_rejected_fresh_token_is_due() -> None:
    """An API may refuse a token at any age."""
    assert due(token(generation=1), DEFAULT, now=NOW - 1, rejected="access") == "expired"


@pytest.mark.parametrize(
    ("expires", "expected"), [(None, False), (NOW + 1, False), (NOW, True), (NOW - 1, True), ("x", False)]
)
def test_the_refresh_tokens_own_end(expires: Any, expected: bool) -> None:
    """Past ``refresh_expires_at`` a refresh is pointless; unknown, it never comes."""
    assert policy.refresh_token_expired({"refresh_expires_at": expires}, now=NOW) is expected


@pytest.mark.parametrize(("failures", "seconds"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (5000, 60)])
def test_back_off(failures: int, seconds: float) -> None:
    """The windows double from 5 s to 60 s, 20 % up or down."""
    assert policy.back_off(failures, jitter=0.5) == pytest.approx(seconds)
    assert policy.back_off(failures, jitter=0) == pytest.approx(seconds * 0.8)
    assert policy.back_off(failures, jitter=0.999999) == pytest.approx(seconds * 1.2, rel=1e-4)


@pytest.mark.parametrize(("retry_after", "expected"), [(0, 5), (3, 5), (120, 120), (3600, 3600)])
def test_back_off_heeds_the_provider(retry_after: float, expected: float) -> None:
    """The provider is not asked before the time that it told, nor sooner than it would be anyway."""
    assert policy.back_off(1, jitter=0.5, retry_after=retry_after) == pytest.approx(expected)


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_back_off_is_bounded(failures: int, jitter: float) -> None:
    """However often a provider failed, the next attempt is 4 to 72 seconds away."""
    assert 4 <= policy.back_off(failures, jitter=jitter) <= 72


@pytest.mark.parametrize(
    ("failure", "doubted_before", "last_attempt", "expected"),
    [
        (Failure("refused"), False, False, "refuse"),
        (Failure("refused"), False, True, "refuse"),
        (Failure("refused", doubtful=True), False, False, "back_off"),
        (Failure("refused", doubtful=True), True, False, "refuse"),
        (Failure("ambiguous"), False, False, "again"),
        (Failure("ambiguous"), True, False, "again"),
        (Failure("ambiguous"), False, True, "back_off"),
        (Failure("unavailable"), True, False, "back_off"),
        (Failure("throttled"), False, False, "back_off"),
        (Failure("misconfigured"), True, False, "back_off"),
        (Failure("store"), False, False, "back_off"),
    ],
)
def test_consequences(failure: Failure, *, doubted_before: bool, last_attempt: bool, expected: str) -> None:
    """Only a certain refusal, or a doubtful one that a second attempt confirms, refuses the session."""
    assert policy.consequence(failure, doubted_before=doubted_before, last_attempt=last_attempt) == expected


@pytest.mark.parametrize(
    ("kind", "left", "flag", "expected"),
    [
        (None, 10, None, None),
        (None, -10, None, None),
        ("refused", 10, None, "RefreshAccessTokenError"),
        ("refused", -10, None, "RefreshAccessTokenError"),
        ("unavailable", 10, None, None),
        ("unavailable", 0, None, "RefreshUnavailable"),
        ("throttled", 10, None, None),
        ("throttled", -10, None, "RefreshUnavailable"),
        ("ambiguous", -10, None, "RefreshUnavailable"),
        ("store", 10, None, None),
        ("store", -10, None, "RefreshUnavailable"),
        ("misconfigured", 10, None, None),
        ("misconfigured", -10, None, "RefreshMisconfigured"),
        (None, 10, "RefreshTokenError", "RefreshTokenError"),
        ("unavailable", -10, "RefreshTokenError", "RefreshTokenError"),
    ],
)
def test_session_error(kind: Any, left: float, flag: str | None, expected: str | None) -> None:
    """O2: While the access token is valid only a refusal is an error; the flag in the cookie beats all others."""
    claims = {"error": flag} if flag else {}

    assert policy.session_error(token(left=left, **claims), kind, DEFAULT, now=NOW) == expected


def test_the_refused_code_is_the_applications() -> None:
    """v5 front ends look for another code."""
    options = RefreshOptions(refused_code="RefreshTokenError")

    assert policy.session_error(token(), "refused", options, now=NOW) == "RefreshTokenError"
