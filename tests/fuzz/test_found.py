from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_token_rotation import TokenSet
from asgi_token_rotation._cookies.ciphers import b64url_encode
from asgi_token_rotation._origins import Origins
from asgi_token_rotation.types import Message, Scope
from fuzz.dice import Dice
from fuzz.minted import NOW, USER, claims_of_ada, token
from fuzz.worlds import worlds


@pytest.mark.parametrize("name", ["expires_in", "expires_at", "refresh_expires_in", "refresh_token_expires_in"])
@pytest.mark.parametrize("value", [10**400, -(10**400)], ids=["huge", "minus huge"])
def test_times_that_no_float_holds(name: str, value: int) -> None:
    """A token endpoint whose time is an integer beyond every float has told no time, as with any other nonsense."""
    tokens = TokenSet.from_response({"access_token": "a", name: value}, now=NOW)
    assert (tokens.expires_at, tokens.refresh_expires_at) == (None, None)


@pytest.mark.parametrize(
    "payload", [b"[" * 100_000, b'{"exp":' + b"9" * 5000 + b"}", b'{"exp":1' + b"0" * 400 + b"}", b"\xff"]
)
def test_access_tokens_that_only_look_like_a_jwt(payload: bytes) -> None:
    """An access token is opaque: one whose payload nobody can parse has an unknown expiry."""
    access_token = b".".join((b64url_encode(b'{"alg":"HS256"}'), b64url_encode(payload), b"c2ln")).decode()
    assert TokenSet.from_response({"access_token": access_token}, now=NOW).expires_at is None


def test_access_tokens_with_a_lone_surrogate() -> None:
    """JSON can name half a character; that an access token has one is no reason to fail where its expiry is looked up."""
    assert TokenSet.from_response({"access_token": "a.\ud800.c"}, now=NOW).expires_at is None


@pytest.mark.parametrize("root_path", ["x", ".evil.example", "@evil.example", ":1", "\\evil"])
def test_prefix_without_a_slash(root_path: str) -> None:
    """R28, I12: a root path from a client's header (Daphne takes one) can't go on with the host's name."""
    scope: Scope = {"type": "http", "headers": [(b"host", b"testserver")], "scheme": "http", "root_path": root_path}
    site = Origins(public_url=None, trusted_origins=()).site(scope)
    assert site is not None
    assert site.origin + site.path == "http://testserver"


def test_prefix_with_a_lone_surrogate() -> None:
    """I10: a root path that is no Unicode text is no 500."""
    scope: Scope = {"type": "http", "headers": [(b"host", b"testserver")], "scheme": "http", "root_path": "/\udcff"}
    site = Origins(public_url=None, trusted_origins=()).site(scope)
    assert site is not None
    assert site.path.startswith("/")
    assert site.path.isascii()


async def test_an_empty_refresh_token_is_not_exposed() -> None:
    """A cookie with an empty refresh token, and some other claim that is empty, is served: there is no secret to show."""
    world, dice = worlds()[0], Dice(b"")
    claims: dict[str, Any] = claims_of_ada(dice, refresh_token="", name="")
    cookie = token(json.dumps(claims).encode(), dice, name=world.place.name, dialect="authjs")
    headers = [(b"host", b"testserver"), (b"cookie", world.place.wire + b"=" + cookie)]
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers, "scheme": "http"}
    await world.app(scope, receive, send)
    assert json.loads(sent[1]["body"])["user"] == {"name": "", "email": USER}
