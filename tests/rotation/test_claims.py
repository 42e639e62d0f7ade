from __future__ import annotations

from typing import Any

import pytest

from asgi_token_rotation import TokenSet
from asgi_token_rotation import _claims as claims

NOW = 1_800_000_000.0
FULL = {
    "sub": "1",
    "session_id": "s",
    "generation": 3,
    "signed_in_at": NOW - 900,
    "access_token": "old access",
    "refresh_token": "old refresh",
    "id_token": "old id",
    "expires_at": NOW - 1,
    "refresh_expires_at": NOW + 900,
    "scope": "openid",
    "issued_at": NOW - 300,
    "error": "RefreshAccessTokenError",
}


def test_a_new_token() -> None:
    """A sign-in's token has Auth.js's names, the token set, and ours, at generation 0."""
    user = {"id": 7, "name": "Ada", "email": "ada@example.com", "image": "https://example.com/a.png", "role": "x"}
    tokens = TokenSet("access", "refresh", NOW + 300, scope="openid")

    assert claims.new_token(user, tokens, provider="credentials", session_id="s", now=NOW) == {
        "sub": "7",
        "name": "Ada",
        "email": "ada@example.com",
        "picture": "https://example.com/a.png",
        "provider": "credentials",
        "session_id": "s",
        "generation": 0,
        "signed_in_at": NOW,
        "access_token": "access",
        "refresh_token": "refresh",
        "expires_at": NOW + 300,
        "issued_at": NOW,
        "scope": "openid",
    }


def test_a_new_token_of_little() -> None:
    """Without a name, tokens or a provider there are no such claims."""
    assert claims.new_token({}, None, provider=None, session_id="s", now=NOW) == {
        "session_id": "s",
        "generation": 0,
        "signed_in_at": NOW,
    }


def test_a_token_set_replaces_everything_that_it_has() -> None:
    """L4: A rotation's new refresh token is saved along with the access token, and the flag is gone."""
    tokens = TokenSet("access", "refresh", NOW + 300, "id", NOW + 9000, "openid email")
    fresh = claims.apply_token_set(FULL, tokens, now=NOW)

    assert fresh == {
        "sub": "1",
        "session_id": "s",
        "generation": 3,
        "signed_in_at": NOW - 900,
        "access_token": "access",
        "refresh_token": "refresh",
        "id_token": "id",
        "expires_at": NOW + 300,
        "refresh_expires_at": NOW + 9000,
        "scope": "openid email",
        "issued_at": NOW,
    }


@pytest.mark.parametrize("missing", [None, ""])
def test_what_may_be_absent_stays(missing: str | None) -> None:
    """L5: An answer without a refresh token, ID token or scope leaves the old ones as they are."""
    fresh = claims.apply_token_set(FULL, TokenSet("access", missing, NOW + 300, missing, None, missing), now=NOW)

    assert [fresh[claim] for claim in ("refresh_token", "id_token", "scope", "refresh_expires_at")] == [
        "old refresh", "old id", "openid", NOW + 900,
    ]  # fmt: skip


def test_what_is_not_told_is_unknown() -> None:
    """A new token whose expiry nobody tells has none; the old one's would be wrong."""
    fresh = claims.apply_token_set(FULL, TokenSet("access", "refresh"), now=NOW)

    assert "expires_at" not in fresh
    assert "refresh_expires_at" not in fresh


def test_nothing_changes_its_arguments() -> None:
    """The claims are shared between requests, so every function makes new ones."""
    token = dict(FULL)
    claims.apply_token_set(token, TokenSet("access"), now=NOW)
    claims.bare(token)
    claims.with_session_id(token)
    claims.restored(token, FULL)
    claims.rebased(token, base=FULL, own={})
    claims.laid_on_top(token, base=FULL, own={**FULL, "access_token": "own"})

    assert token == FULL


def test_bare() -> None:
    """What a seal sets is no claim."""
    assert claims.bare({"sub": "1", "iat": 1, "exp": 2, "jti": "x", "nbf": 0}) == {"sub": "1"}


def test_a_copy_shares_nothing() -> None:
    """A callback that changes its token in place changes nobody else's."""
    token: dict[str, Any] = {"sub": "1", "roles": ["a", {"b": 1}]}
    copy = claims.copy_of(token)
    copy["roles"][1]["b"] = 2
    flat = claims.copy_of({"sub": "1"})
    flat["sub"] = "2"

    assert token == {"sub": "1", "roles": ["a", {"b": 1}]}


def test_a_derived_session_id() -> None:
    """Two requests with one Auth.js cookie agree on its session, although each seal of it differs."""
    first = claims.with_session_id({"refresh_token": "r", "iat": 5, "jti": "one"})
    second = claims.with_session_id({"refresh_token": "r", "iat": 9, "jti": "two"})

    assert first["session_id"] == second["session_id"]
    assert (first["generation"], first["signed_in_at"]) == (0, 5)
    assert "r" not in first["session_id"]


def test_derived_session_ids_differ() -> None:
    """Sessions with different refresh tokens, or without one and with different seals, are different sessions."""
    tokens: list[dict[str, Any]] = [
        {"refresh_token": "r"}, {"refresh_token": "q"}, {"jti": "one"}, {"jti": "two"}, {"sub": "1"}, {"sub": "2"},
        {"refresh_token": "\ud800"},
    ]  # fmt: skip

    assert len({claims.with_session_id(token)["session_id"] for token in tokens}) == len(tokens)


def test_our_own_cookies_keep_their_session_id() -> None:
    """Only what has no session id of ours gets one; half of one is none."""
    assert claims.with_session_id(FULL) is FULL
    assert claims.with_session_id({"session_id": "s", "refresh_token": "r"})["session_id"] != "s"


def test_a_sign_in_time_is_kept() -> None:
    """C6: A cookie that knows its sign-in keeps it, so the absolute lifetime is not begun anew."""
    assert claims.with_session_id({"refresh_token": "r", "signed_in_at": 3, "iat": 9})["signed_in_at"] == 3


def test_restored() -> None:
    """What is ours survives the jwt callback, and token-set claims that it left out come back."""
    own = {"sub": "2", "generation": 99, "access_token": "own access", "rotated_by": "me"}

    assert claims.restored(own, FULL) == {
        **{k: v for k, v in FULL.items() if k != "sub"},
        "sub": "2",
        "access_token": "own access",
    }
    assert claims.restored({"error": "mine"}, {"session_id": "s"}) == {"session_id": "s"}


@pytest.mark.parametrize("claim", claims.TOKEN_SET)
def test_a_changed_token_set(claim: str) -> None:
    """Any claim of a token set that the callback changed makes it a rotation of its own."""
    assert claims.token_set_changed({**FULL, claim: "own"}, FULL)
    assert not claims.token_set_changed({**FULL, "sub": "2", "role": "x"}, FULL)


def test_rebased() -> None:
    """R4: A slow response's own changes go on top of the newest token, whose token set and what is ours stay."""
    base = {**FULL, "role": "user", "gone": 1, "kept": 1, "exp": 5}
    own = {**base, "role": "admin", "new": 1, "access_token": "slow", "generation": 3, "exp": 9}
    del own["gone"]
    newest = {**FULL, "generation": 4, "access_token": "newest", "role": "user", "gone": 1, "kept": 2}

    assert claims.rebased(newest, base=base, own=own) == {
        **FULL, "generation": 4, "access_token": "newest", "role": "admin", "kept": 2, "new": 1,
    }  # fmt: skip


def test_laid_on_top() -> None:
    """A token set of the response's own counts unless somebody rotated meanwhile."""
    own = {**FULL, "access_token": "own", "refresh_token": "own refresh", "role": "admin"}
    updated = {**FULL, "generation": 4, "role": "user"}
    rotated = {**updated, "refresh_token": "newest", "access_token": "newest"}

    assert claims.laid_on_top(updated, base=FULL, own=own) == {**own, "generation": 4}
    assert claims.laid_on_top(rotated, base=FULL, own=own) == {**rotated, "role": "admin"}
    assert claims.laid_on_top(updated, base=FULL, own={**FULL, "role": "x"}) == {**updated, "role": "x"}
