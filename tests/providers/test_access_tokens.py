"""``OIDC(verify_access_token=…)``: which access tokens sign nobody in, and what becomes of those of a refresh."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from asgi_token_rotation import Callbacks, JWTParams
from asgi_token_rotation.testing import Clock
from endpoints.idp import BASE, Visitor
from providers.openid import API, OpenIdServer, at_provider, jwk_of, rsa_key, signed_with_public_key, unsigned

Claims = dict[str, Any]
VERIFIED = {"verify_access_token": API, "userinfo": False}


def with_jwts(**changes: Any) -> OpenIdServer:
    """A provider whose access tokens are JWTs for the API, with these claims laid over."""
    op = OpenIdServer(Clock())
    op.access = changes
    return op


def forged(claims: Claims) -> str:
    """By another key, under the name of the provider's."""
    return jwt.encode(claims, rsa_key(99), algorithm="RS256", headers={"kid": "key-0"})


def opaque(claims: Claims) -> str:
    """No JWT at all."""
    return "an-opaque-access-token"


def new_key(op: OpenIdServer, *, named: bool) -> None:
    """The provider's keys rotate; its tokens name their key, or don't."""
    op.kid = "key-0"
    op.rotate()
    op.kid = op.kid if named else None


class Tokens:
    """What the jwt callback saw last."""

    def __init__(self) -> None:
        self.last: Claims = {}

    def jwt(self, params: JWTParams) -> Any:
        self.last = dict(params.token)
        return params.token

    @property
    def callbacks(self) -> Callbacks:
        return Callbacks(jwt=self.jwt)


async def refused(op: OpenIdServer, caplog: pytest.LogCaptureFixture, *, code: str, **fields: Any) -> None:
    """A sign-in ends on the error page, the log says why and shows no token, and nobody is signed in."""
    caplog.set_level(logging.INFO, "asgi_token_rotation")
    async with at_provider(op, fields={**VERIFIED, **fields}) as (visitor, _):
        assert (await visitor.arrive()).headers["location"] == f"{BASE}/error?error=Configuration"
        assert not await visitor.session()
    assert f"failed ({code})" in caplog.text, caplog.text
    assert "eyJ" not in caplog.text


async def signed_in(op: OpenIdServer, **fields: Any) -> None:
    """A sign-in works."""
    async with at_provider(op, fields={**VERIFIED, **fields}) as (visitor, _):
        assert (await visitor.arrive()).headers["location"] == "http://testserver/"
        assert await visitor.session()


async def later(visitor: Visitor, op: OpenIdServer) -> Claims:
    """The session after its access token has expired."""
    op.clock.advance(310)
    return dict(await visitor.session())


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"iss": "https://evil.test"}, "access_token_issuer"),
        ({"iss": None}, "access_token_issuer"),
        ({"aud": "app"}, "access_token_audience"),
        ({"aud": ["app", API + "/"]}, "access_token_audience"),
        ({"aud": None}, "access_token_audience"),
        ({"aud": {API: 1}}, "access_token_audience"),
        ({"sub": "eve"}, "access_token_subject"),
        ({"sub": 7}, "access_token_subject"),
        ({"exp": 1}, "access_token_expired"),
        ({"exp": None}, "access_token_expired"),
        ({"exp": "9999999999"}, "access_token_expired"),
        ({"iat": 32_000_000_000, "exp": 33_000_000_000}, "access_token_issued_at"),
        ({"nbf": 32_000_000_000}, "access_token_issued_at"),
    ],
)
async def test_claims(claims: Claims, code: str, caplog: pytest.LogCaptureFixture) -> None:
    """An access token that is expired, or of another issuer, audience or user, signs nobody in, each with its own code."""
    await refused(with_jwts(**claims), caplog, code=code)


MADE: dict[str, tuple[Callable[[OpenIdServer], Callable[[Claims], str]], str]] = {
    "another key": (lambda op: forged, "access_token_signature"),
    "unknown key": (lambda op: lambda claims: op.sign(claims, kid="another"), "access_token_key_unknown"),
    "another key without a name": (
        lambda op: lambda claims: jwt.encode(claims, rsa_key(99), algorithm="RS256"),
        "access_token_key_unknown",
    ),
    "none": (lambda op: unsigned, "access_token_algorithm"),
    "public key as a secret": (lambda op: signed_with_public_key, "access_token_algorithm"),
    "opaque": (lambda op: opaque, "access_token_malformed"),
    "logout token": (lambda op: lambda claims: op.sign(claims, typ="logout+jwt"), "access_token_malformed"),
    "crit": (lambda op: lambda claims: op.sign(claims, crit=["x"], x=1), "access_token_malformed"),
}


@pytest.mark.parametrize("made", MADE)
async def test_signatures(made: str, caplog: pytest.LogCaptureFixture) -> None:
    """Alg confusion, forged signatures and what is no access token: only a JWT by the provider's key signs somebody in."""
    op = with_jwts()
    make, code = MADE[made]
    op.make_access = make(op)
    await refused(op, caplog, code=code)


async def test_an_algorithm_that_is_not_allowed(caplog: pytest.LogCaptureFixture) -> None:
    """``algorithms`` holds for the access token, too."""
    op = with_jwts()
    op.keys.append(jwk_of(op.key, kid="other", use="sig", alg="PS256"))
    op.make_access = lambda claims: jwt.encode(claims, op.key, algorithm="PS256", headers={"kid": "other"})
    await signed_in(op)
    await refused(op, caplog, code="access_token_algorithm", algorithms=["RS256"])


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "JWT", None])
@pytest.mark.parametrize("claims", [{}, {"aud": ["app", API], "sub": None, "iat": None}])
async def test_good_ones(typ: str | None, claims: Claims) -> None:
    """RFC 9068 and plain JWTs are good, those without sub and iat included, with our audience among several."""
    op = with_jwts(**claims)
    op.make_access = lambda claims: op.sign(claims, typ=typ)
    await signed_in(op)


@pytest.mark.parametrize(("ago", "good"), [(359, True), (361, False)])
async def test_leeway(ago: int, good: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The provider's clock may be off by up to a minute."""
    op = OpenIdServer(Clock())
    op.access = {"exp": int(op.clock()) + 300 - ago}
    await (signed_in(op) if good else refused(op, caplog, code="access_token_expired"))


async def test_a_key_that_is_new() -> None:
    """An access token by a key that came after the first look at the keys has them asked for once more."""
    op = with_jwts()
    async with at_provider(op, fields=VERIFIED) as (visitor, _):
        await visitor.arrive()
        op.keys.append(jwk_of(rsa_key(5), kid="newer", use="sig", alg="RS256"))
        op.make_access = lambda claims: jwt.encode(claims, rsa_key(5), algorithm="RS256", headers={"kid": "newer"})

        assert (await visitor.arrive()).headers["location"] == "http://testserver/"
        assert op.calls["jwks"] == 2


async def test_not_asked_for() -> None:
    """Without the option an access token is opaque: it may be anything."""
    op = with_jwts(iss="https://elsewhere.test", aud="somebody")
    await signed_in(op, verify_access_token=None)
    op.make_access = opaque
    await signed_in(op, verify_access_token=None)


@pytest.mark.parametrize("id_token", [True, False])
async def test_a_refresh(id_token: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A good access token of a refresh is taken without a word, whether an ID token comes with it or not."""
    op, seen = with_jwts(), Tokens()
    op.at_refresh = {} if id_token else None
    async with at_provider(op, fields=VERIFIED, callbacks=seen.callbacks) as (visitor, _):
        await visitor.arrive()
        first = seen.last["access_token"]

        assert "error" not in await later(visitor, op)
        assert seen.last["access_token"] != first
        assert "unverified" not in caplog.text


WRONG: dict[str, tuple[Claims, Callable[[Claims], str] | None]] = {
    "access_token_issuer": ({"iss": "https://evil.test"}, None),
    "access_token_audience": ({"aud": "app"}, None),
    "access_token_subject": ({"sub": "eve"}, None),
    "access_token_signature": ({}, forged),
    "access_token_algorithm": ({}, unsigned),
    "access_token_malformed": ({}, opaque),
}


@pytest.mark.parametrize("id_token", [True, False])
@pytest.mark.parametrize("code", WRONG)
async def test_wrong_at_a_refresh(code: str, id_token: bool, caplog: pytest.LogCaptureFixture) -> None:
    """An access token of a refresh that is surely wrong ends in a refusal, once, and never reaches the session."""
    caplog.set_level(logging.INFO, "asgi_token_rotation")
    op, seen = with_jwts(), Tokens()
    op.at_refresh = {} if id_token else None
    async with at_provider(op, fields=VERIFIED, callbacks=seen.callbacks) as (visitor, _):
        await visitor.arrive()
        first = seen.last["access_token"]
        op.access, op.make_access = WRONG[code]

        assert (await later(visitor, op))["error"] == "RefreshAccessTokenError"
        assert (await later(visitor, op))["error"] == "RefreshAccessTokenError"
        assert op.tokens.rotations == 1
        assert f"is not good ({code})" in caplog.text
        assert seen.last["access_token"] == first
        assert "eyJ" not in caplog.text


@pytest.mark.parametrize("doubt", ["key_unknown", "expired", "issued_at", "no kid", "keys down"])
async def test_nothing_is_lost_in_doubt(doubt: str, caplog: pytest.LogCaptureFixture) -> None:
    """I5: a rotation whose access token can't be judged now is kept, and logged: the old refresh token is spent."""
    op, seen = with_jwts(), Tokens()
    op.at_refresh = None
    op.kid = None if doubt == "no kid" else op.kid
    async with at_provider(op, fields=VERIFIED, callbacks=seen.callbacks) as (visitor, _):
        await visitor.arrive()
        first = seen.last
        if doubt == "expired":
            op.access = {"exp": int(op.clock()) + 100}
        elif doubt == "issued_at":
            op.access = {"iat": int(op.clock()) + 3000, "exp": int(op.clock()) + 9000}
        else:
            new_key(op, named=doubt != "no kid")
        if doubt == "keys down":
            op.clock.advance(86_400 * 2)
            op.down = "jwks"

        assert "error" not in await later(visitor, op)
        assert seen.last["refresh_token"] != first["refresh_token"]
        assert seen.last["access_token"] != first["access_token"]
        code = doubt if doubt in ("expired", "issued_at") else "key_unknown"
        assert f"kept unverified (access_token_{code})" in caplog.text

        op.access, op.down = {}, ""
        caplog.clear()
        assert "error" not in await later(visitor, op)
        assert "unverified" not in caplog.text
        assert op.tokens.reuses == 0


async def test_an_id_token_without_the_name_of_its_key() -> None:
    """Keys that rotate at a provider without ``kid``: they are asked for again at a sign-in, and a refresh loses nothing."""
    op, seen = OpenIdServer(Clock()), Tokens()
    op.kid = None
    async with at_provider(op, callbacks=seen.callbacks) as (visitor, _):
        await visitor.arrive()
        first = seen.last
        new_key(op, named=False)

        assert "error" not in await later(visitor, op)
        assert seen.last["refresh_token"] != first["refresh_token"]
        assert seen.last["id_token"] == first["id_token"]
        op.clock.advance(31)
        assert (await visitor.arrive()).headers["location"] == "http://testserver/"
