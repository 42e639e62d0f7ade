"""The words: token sets, sessions, and what they refuse."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import jwt
import pytest

from asgi_token_rotation import JWTParams, Session, SignIn, TokenSet


@pytest.mark.parametrize("expires_in", [300, 300.0, "300", "300.0"])
def test_expires_in_counts_from_receipt(expires_in: Any) -> None:
    """expires_in may be an int, a float or a string, and counts from the receipt."""
    tokens = TokenSet.from_response({"access_token": "a", "expires_in": expires_in}, now=1000)

    assert tokens.expires_at == 1300


@pytest.mark.parametrize("expires_in", [None, "soon", [], True, "nan", "inf"])
def test_an_unknown_expiry(expires_in: Any) -> None:
    """Where the expiry is missing or nonsense it is unknown, which never triggers a refresh by time."""
    assert TokenSet.from_response({"access_token": "opaque", "expires_in": expires_in}, now=1000).expires_at is None


def test_the_access_tokens_own_expiry() -> None:
    """Where the answer tells no expiry, the access token's own exp counts if it is a JWT; expires_at comes first."""
    access_token = jwt.encode({"exp": int(time.time()) - 60}, "k" * 32)

    assert TokenSet.from_response({"access_token": access_token}, now=1).expires_at == pytest.approx(
        time.time() - 60, abs=2
    )
    assert TokenSet.from_response({"access_token": access_token, "expires_at": 77}, now=1).expires_at == 77


@pytest.mark.parametrize("told", [{}, {"refresh_expires_in": 0}, {"refresh_expires_in": None}])
def test_the_refresh_tokens_end_is_not_told(told: dict[str, Any]) -> None:
    """refresh_expires_in 0 means "not told" (Keycloak's offline tokens), not "expired"."""
    assert TokenSet.from_response({"access_token": "a", **told}, now=1000).refresh_expires_at is None


def test_the_whole_answer() -> None:
    """Everything that RFC 6749 names is read, the rest is in extra, an empty refresh token is none."""
    answer = {
        "access_token": "a", "refresh_token": "", "id_token": "i", "scope": "x y", "token_type": "bearer",
        "refresh_expires_in": 60, "session_state": "s",
    }  # fmt: skip
    tokens = TokenSet.from_response(answer, now=1000)

    assert (tokens.refresh_token, tokens.id_token, tokens.scope, tokens.token_type) == (None, "i", "x y", "bearer")
    assert (tokens.refresh_expires_at, tokens.extra) == (1060, {"session_state": "s"})


@pytest.mark.parametrize("answer", [{}, {"access_token": ""}, {"access_token": 5}])
def test_no_access_token(answer: dict[str, Any]) -> None:
    """An answer without an access token is refused with a sentence."""
    with pytest.raises(ValueError, match="no access_token"):
        TokenSet.from_response(answer, now=0)


@pytest.mark.parametrize("name", ["expires_at", "refresh_expires_at"])
@pytest.mark.parametrize(
    ("value", "sentence"),
    [(1_800_000_000_000, "Divide it by 1000"), ("soon", "expected seconds"), (True, "expected seconds")],
)
def test_milliseconds_are_refused(name: str, value: Any, sentence: str) -> None:
    """An expiry that can only be milliseconds, or is no number, is refused with a sentence."""
    with pytest.raises(ValueError, match=sentence):
        TokenSet("a", **{name: value})


@pytest.mark.parametrize("access_token", ["", None, 3])
def test_a_token_set_has_an_access_token(access_token: Any) -> None:
    """A token set without an access token is refused with a sentence."""
    with pytest.raises(ValueError, match="access_token is missing"):
        TokenSet(access_token)


def test_secrets_are_masked() -> None:
    """I7: no repr of a token set, a sign-in or a callback's parameters shows a token."""
    tokens = TokenSet("access-secret", "refresh-secret", id_token="id-secret", extra={"x": "extra-secret"})
    shown = repr(tokens) + repr(SignIn({"id": 1}, tokens)) + repr(JWTParams(token={"access_token": "access-secret"}))

    assert "secret" not in shown
    assert "TokenSet(access_token=<13 characters>" in shown


def test_the_session_is_a_dict() -> None:
    """A session is what json.dumps says, false when anonymous, and the same object however it is copied."""
    session = Session(user={"name": "Ada"}, expires="2026", error="RefreshUnavailable")

    assert json.loads(json.dumps(session)) == {
        "user": {"name": "Ada"},
        "expires": "2026",
        "error": "RefreshUnavailable",
    }
    assert (session.user, session.expires, session.error) == ({"name": "Ada"}, "2026", "RefreshUnavailable")
    assert copy.copy(session) is session
    assert copy.deepcopy({"state": session})["state"] is session
    assert not Session()
    assert (Session().user, Session().expires, Session().error) == (None, None, None)


def test_the_error_outlives_the_callback() -> None:
    """.error comes from the token, even when the callback dropped the key, and the repr shows no values."""
    session = Session(user={"name": "Ada"}, error="RefreshAccessTokenError")
    del session["error"]

    assert session.error == "RefreshAccessTokenError"
    assert "Ada" not in repr(session)
    assert "anonymous" in repr(Session())
