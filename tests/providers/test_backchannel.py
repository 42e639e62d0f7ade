"""Back-channel logout: a provider ends sessions by itself, on every worker that shares the store."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from asgi_token_rotation import Events
from asgi_token_rotation._rotation.logins import MOST_SESSIONS, Logins
from asgi_token_rotation.providers.oidc.logout_token import EVENT
from asgi_token_rotation.stores import MemoryStore
from asgi_token_rotation.testing import Clock
from endpoints.idp import Visitor
from providers.openid import ISSUER, OpenIdServer, at_provider, provider, rsa_key, signed_with_public_key, unsigned

ON = {"backchannel_logout": True}
NUMBER = iter(range(1_000_000))


def claims_of(op: OpenIdServer, **changes: Any) -> dict[str, Any]:
    """A logout token's claims; None takes one out."""
    now = int(op.clock())
    given = {
        "iss": ISSUER, "aud": "app", "iat": now, "exp": now + 120, "jti": f"jti-{next(NUMBER)}",
        "events": {EVENT: {}}, "sid": "session-1", "sub": "ada",
    }  # fmt: skip
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


async def tell(visitor: Visitor, token: str, **headers: str) -> httpx.Response:
    """What the provider does: no cookie, no CSRF token, an origin of its own."""
    transport = visitor.client._transport
    async with httpx.AsyncClient(transport=transport, base_url=visitor.client.base_url) as outside:
        sent = {"origin": "https://op.test", **headers}
        return await outside.post("/api/auth/backchannel-logout", data={"logout_token": token}, headers=sent)


def signed_in_as(op: OpenIdServer, sid: str | None = "session-1", sub: str = "ada") -> None:
    """Whose sign-ins come next."""
    op.claims = {"sid": sid, "sub": sub}
    op.subject = sub


@pytest.mark.parametrize("kind", ["logout+jwt", "JWT", None])
async def test_a_logout_ends_the_session(kind: str | None) -> None:
    """A logout token that names the provider's session ends it here, and 200 is never cached; its type may be left out."""
    reasons: list[str | None] = []
    events = Events(session_ended=lambda event: reasons.append(event.reason))
    async with at_provider(fields=ON, events=events) as (visitor, op):
        signed_in_as(op)
        await visitor.arrive()
        answer = await tell(visitor, op.sign(claims_of(op), **({} if kind is None else {"typ": kind})))

        assert (answer.status_code, answer.content) == (200, b"")
        assert "no-store" in answer.headers["cache-control"]
        assert not await visitor.session()
        assert reasons == ["backchannel"]


async def test_on_every_worker() -> None:
    """One worker hears of the logout, and another one that shares the store ends the session, too."""
    op = OpenIdServer(Clock())
    signed_in_as(op)
    shared = {"store": MemoryStore(clock=op.clock), "revocation_check": 0, "fields": ON}
    async with at_provider(op, **shared) as (visitor, _), at_provider(op, **shared) as (other, _):
        await visitor.arrive()
        other.client.cookies = visitor.client.cookies
        assert await other.session()
        assert (await tell(visitor, op.sign(claims_of(op)))).status_code == 200

        assert not await other.session()


async def test_only_that_session() -> None:
    """With a sid one session ends; the user's others, and other users', go on. Without one all of the user's end."""
    op = OpenIdServer(Clock())
    shared = {"store": MemoryStore(clock=op.clock), "revocation_check": 0, "fields": ON}
    async with (
        at_provider(op, **shared) as (one, _),
        at_provider(op, **shared) as (two, _),
        at_provider(op, **shared) as (eve, _),
    ):
        for visitor, sid, sub in ((one, "session-1", "ada"), (two, "session-2", "ada"), (eve, "session-3", "eve")):
            signed_in_as(op, sid, sub)
            await visitor.arrive()
        await tell(two, op.sign(claims_of(op)))
        assert [bool(await visitor.session()) for visitor in (one, two, eve)] == [False, True, True]

        await tell(one, op.sign(claims_of(op, sid=None)))
        assert [bool(await visitor.session()) for visitor in (one, two, eve)] == [False, False, True]


async def test_two_ids_of_one_client() -> None:
    """Two providers of one issuer and one client, with other scopes say, both lose the sessions that a logout token names."""
    both = [provider(**ON), provider(id="more", name="More", **ON)]
    op = OpenIdServer(Clock())
    signed_in_as(op)
    shared = {"store": MemoryStore(clock=op.clock), "revocation_check": 0, "providers": both}
    async with at_provider(op, **shared) as (one, _), at_provider(op, **shared) as (two, _):
        await one.arrive()
        await two.arrive(id="more")
        assert [bool(await visitor.session()) for visitor in (one, two)] == [True, True]
        assert (await tell(one, op.sign(claims_of(op)))).status_code == 200

        assert [bool(await visitor.session()) for visitor in (one, two)] == [False, False]


async def test_after_a_rotation() -> None:
    """A session that was refreshed many times since its sign-in ends all the same, and comes back by no refresh."""
    async with at_provider(fields=ON) as (visitor, op):
        signed_in_as(op)
        await visitor.arrive()
        op.at_refresh = {"nonce": None, "sid": None}
        for _ in range(3):
            op.clock.advance(310)
            await visitor.session()
        await tell(visitor, op.sign(claims_of(op)))
        op.clock.advance(310)

        assert not await visitor.session()
        assert op.tokens.refresh_calls == 3


async def test_a_replay(caplog: pytest.LogCaptureFixture) -> None:
    """A logout token that comes twice is refused the second time, on another worker, too: a new session of the user goes on."""
    op = OpenIdServer(Clock())
    signed_in_as(op)
    shared = {"store": MemoryStore(clock=op.clock), "revocation_check": 0, "fields": ON}
    async with at_provider(op, **shared) as (visitor, _), at_provider(op, **shared) as (other, _):
        token = op.sign(claims_of(op, sid=None))
        assert (await tell(visitor, token)).status_code == 200
        await other.arrive()
        replayed = await tell(other, token)

        assert (replayed.status_code, replayed.json()["error_description"]) == (400, "logout_token_replayed")
        assert await other.session()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://evil.test"}, "logout_token_unknown"),
        ({"aud": "another"}, "logout_token_unknown"),
        ({"aud": ["app", "another"], "azp": "another"}, "logout_token_unknown"),
        ({"events": None}, "logout_token_events"),
        ({"events": {}}, "logout_token_events"),
        ({"events": {EVENT: True}}, "logout_token_events"),
        ({"events": EVENT}, "logout_token_events"),
        ({"nonce": "x"}, "logout_token_nonce"),
        ({"jti": None}, "logout_token_jti"),
        ({"sid": None, "sub": None}, "logout_token_subject"),
        ({"sid": ["session-1"], "sub": 7}, "logout_token_subject"),
        ({"iat": None}, "logout_token_issued_at"),
        ({"iat": 32_000_000_000}, "logout_token_issued_at"),
        ({"iat": 1}, "logout_token_expired"),
        ({"exp": 1}, "logout_token_expired"),
        ({"exp": "soon"}, "logout_token_expired"),
    ],
)
async def test_claims(changes: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture) -> None:
    """A token that is no logout, is meant for others, too old, or an ID token ends nothing, and is told why by a code."""
    async with at_provider(fields=ON) as (visitor, op):
        signed_in_as(op)
        await visitor.arrive()
        answer = await tell(visitor, op.sign(claims_of(op, **changes)))

        assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request", "error_description": code})
        assert f"refused ({code})" in caplog.text
        assert await visitor.session()


async def test_several_audiences() -> None:
    """A logout token for several clients of one project is for us, too."""
    async with at_provider(fields=ON) as (visitor, op):
        assert (await tell(visitor, op.sign(claims_of(op, aud=["another", "app"])))).status_code == 200


async def test_without_an_end() -> None:
    """A token without ``exp`` (an older draft) is good while its ``iat`` is not older than ten minutes."""
    async with at_provider(fields=ON) as (visitor, op):
        assert (await tell(visitor, op.sign(claims_of(op, exp=None)))).status_code == 200
        old = op.sign(claims_of(op, exp=None))
        op.clock.advance(601)
        assert (await tell(visitor, old)).status_code == 400


async def test_forged() -> None:
    """Alg confusion, strange keys and ID tokens end nothing."""
    async with at_provider(fields=ON) as (visitor, op):
        signed_in_as(op)
        await visitor.arrive()
        stranger = OpenIdServer(op.clock)
        stranger.key = rsa_key(99)
        tokens = {
            unsigned(claims_of(op)): "id_token_algorithm",
            signed_with_public_key(claims_of(op)): "id_token_algorithm",
            stranger.sign(claims_of(op)): "id_token_signature",
            op.sign(claims_of(op), kid="another"): "id_token_key_unknown",
            op.sign(claims_of(op), typ="at+jwt"): "logout_token_type",
            "": "logout_token_unknown",
            "x.y.z": "logout_token_unknown",
        }
        for token, code in tokens.items():
            answer = await tell(visitor, token)
            assert (answer.status_code, answer.json()["error_description"]) == (400, code)
        assert await visitor.session()


async def test_keys_that_rotate() -> None:
    """A logout token by a new key has the keys asked for once more."""
    async with at_provider(fields=ON) as (visitor, op):
        signed_in_as(op)
        await visitor.arrive()
        op.rotate()

        assert (await tell(visitor, op.sign(claims_of(op)))).status_code == 200
        assert not await visitor.session()


async def test_other_bodies() -> None:
    """What is no form with a token is refused: never a 500."""
    async with at_provider(fields=ON) as (visitor, _):
        at = "/api/auth/backchannel-logout"
        for content, kind, status in (
            (b"x" * 70_000, "application/x-www-form-urlencoded", 413),
            (b"logout_token=%ff", "application/x-www-form-urlencoded", 400),
            (b"<a/>", "text/xml", 415),
            (b"", "application/x-www-form-urlencoded", 400),
            (b'{"logout_token": [1]}', "application/json", 400),
        ):
            answer = await visitor.client.post(at, content=content, headers={"content-type": kind})
            assert answer.status_code == status


@pytest.mark.parametrize("fields", [{}, {"backchannel_logout": False}])
async def test_off(fields: dict[str, Any]) -> None:
    """Without the option there is no such endpoint, and a sign-in writes nothing into the store."""
    store = MemoryStore()
    async with at_provider(fields=fields, store=store) as (visitor, op):
        signed_in_as(op)
        await visitor.arrive()
        answer = await tell(visitor, op.sign(claims_of(op)))

        assert (answer.status_code, answer.json()) == (400, "Bad request.")
        assert await visitor.session()


class Broken:
    """A store that can't answer."""

    async def get(self, key: str) -> bytes | None:
        raise OSError("down")

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        raise OSError("down")

    async def delete(self, key: str) -> None:
        raise OSError("down")

    async def aclose(self) -> None:
        return None


async def test_a_store_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """While the store is down a sign-in holds, and the provider is told 503, so that it comes again."""
    async with at_provider(fields=ON, store=Broken()) as (visitor, op):
        signed_in_as(op)
        await visitor.arrive()
        assert await visitor.session()
        assert "could not be noted for back-channel logout" in caplog.text

        assert (await tell(visitor, op.sign(claims_of(op)))).status_code == 503


async def test_many_sessions_at_once() -> None:
    """Sessions of one login that begin at the same time are all noted, and one login holds a bounded number."""
    logins = Logins(store=MemoryStore(), secrets=["a" * 40], clock=lambda: 0.0, ttl=60)
    for number in range(MOST_SESSIONS + 5):
        await logins.note(("idp", "sub", "ada"), str(number))

    assert await logins.sessions(("idp", "sub", "ada")) == [str(number) for number in range(5, MOST_SESSIONS + 5)]
    assert await logins.sessions(("other", "sub", "ada")) == []
