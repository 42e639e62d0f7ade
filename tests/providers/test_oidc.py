"""Sign-in and refresh at an OpenID provider, through the whole middleware."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from asgi_token_rotation import Callbacks, JWTParams, RefreshOptions
from asgi_token_rotation.testing import Clock
from endpoints.idp import BASE, Visitor, params_of
from providers.openid import ISSUER, OpenIdServer, at_provider, jwk_of, other_key, provider


class Seen:
    """What the jwt callback saw."""

    def __init__(self) -> None:
        self.params: list[JWTParams] = []

    def jwt(self, params: JWTParams) -> Any:
        self.params.append(params)
        return params.token

    @property
    def token(self) -> dict[str, Any]:
        return dict(self.params[-1].token)

    @property
    def callbacks(self) -> Callbacks:
        return Callbacks(jwt=self.jwt)


async def refreshed(visitor: Visitor, clock: Clock) -> dict[str, Any]:
    """The session after its access token has expired once more."""
    clock.advance(310)
    return dict(await visitor.session())


async def test_the_whole_way() -> None:
    """A visitor is sent to the issuer's own endpoint with state, PKCE and nonce, and comes back signed in as the ID token's sub."""
    seen = Seen()
    async with at_provider(callbacks=seen.callbacks) as (visitor, op):
        url = await visitor.begin(callbackUrl="/dash")
        asked = params_of(url)
        response = await visitor.get(await visitor.agree(url))
        signed_in = seen.params[0]

        assert url.startswith("https://op.test/oauth/authorize?")
        assert asked["scope"] == "openid profile email"
        assert len(asked["nonce"]) == len(asked["code_challenge"]) == 43
        assert response.headers["location"] == "http://testserver/dash"
        assert (await visitor.session())["user"] == {"name": "Ada", "email": "ada@example.com"}
        assert (signed_in.token["sub"], signed_in.token["provider"]) == ("ada", "idp")
        account = signed_in.account or {}
        assert (account["provider"], account["type"], account["providerAccountId"]) == ("idp", "oidc", "ada")
        assert signed_in.profile is not None
        assert signed_in.profile["iss"] == ISSUER  # the ID token's claims over those of the userinfo endpoint
        assert signed_in.profile["email"] == "ada@example.com"
        assert op.calls["openid-configuration"] == op.calls["jwks"] == op.calls["userinfo"] == 1


async def test_one_discovery_for_many() -> None:
    """Fifty visitors at once ask for the discovery document once, and again only after an hour."""
    async with at_provider() as (visitor, op):
        await asyncio.gather(*(visitor.begin() for _ in range(50)))
        assert op.calls["openid-configuration"] == 1

        op.clock.advance(3599)
        await visitor.begin()
        assert op.calls["openid-configuration"] == 1

        op.clock.advance(2)
        await visitor.begin()
        assert op.calls["openid-configuration"] == 2


async def test_an_old_document_is_better_than_none() -> None:
    """Where the provider does not answer, what was discovered before serves on, and it is asked again after a while only."""
    async with at_provider() as (visitor, op):
        await visitor.begin()
        op.clock.advance(3601)
        op.down = "openid-configuration"
        for _ in range(5):
            assert (await visitor.begin()).startswith("https://op.test/oauth/authorize?")

        assert op.calls["openid-configuration"] == 2


async def test_a_failing_discovery_is_not_flooded() -> None:
    """Where there is no document yet, one failure stands for all who ask in the next five seconds."""
    async with at_provider() as (visitor, op):
        op.down = "openid-configuration"
        csrf = await visitor.csrf()
        form = {"csrfToken": csrf}
        answers = await asyncio.gather(*(visitor.client.post("/api/auth/signin/idp", data=form) for _ in range(20)))
        assert {answer.headers["location"] for answer in answers} == {f"{BASE}/error?error=Configuration"}
        assert op.calls["openid-configuration"] == 1

        op.down = ""
        op.clock.advance(6)
        assert (await visitor.begin()).startswith("https://op.test/oauth/authorize?")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("bare", [True, False])
async def test_algorithms(algorithm: str, bare: bool) -> None:
    """RSA, elliptic curves and Edwards curves verify, also where key and header tell neither alg nor use nor kid."""
    op = OpenIdServer(Clock())
    op.algorithm = algorithm
    op.key = op.key if "S256" in algorithm and algorithm != "ES256" else other_key(algorithm)
    op.keys = [
        jwk_of(other_key("ES256" if algorithm != "ES256" else "EdDSA")),
        jwk_of(op.key, **({} if bare else {"kid": op.kid})),
    ]
    if bare:
        op.kid = None
    async with at_provider(op) as (visitor, _):
        assert (await visitor.arrive()).headers["location"] == "http://testserver/"


async def test_keys_that_rotate(caplog: pytest.LogCaptureFixture) -> None:
    """An unknown key has the keys asked for once more, and a provider that keeps signing with strange ones is not flooded."""
    async with at_provider() as (visitor, op):
        await visitor.arrive()
        op.rotate()
        assert (await visitor.arrive()).headers["location"] == "http://testserver/"
        assert op.calls["jwks"] == 2

        op.rotate()
        op.keys = []
        for _ in range(3):
            await visitor.arrive()
        assert op.calls["jwks"] == 2  # within the cool-down
        assert "(id_token_key_unknown)" in caplog.text

        op.clock.advance(31)
        await visitor.arrive()
        assert op.calls["jwks"] == 3


async def test_by_hand() -> None:
    """With its endpoints set by hand nobody is asked for a discovery document, and a single one set by hand wins over it."""
    at = "https://op.test/oauth"
    by_hand = {
        "authorization_endpoint": f"{at}/authorize", "token_endpoint": f"{at}/token", "jwks_uri": "https://op.test/jwks",
    }  # fmt: skip
    async with at_provider(fields=by_hand) as (visitor, op):
        assert (await visitor.arrive()).headers["location"] == "http://testserver/"
        assert op.calls["openid-configuration"] == op.calls["userinfo"] == 0
    async with at_provider(fields={"authorization_endpoint": f"{at}/authorize?tenant=a"}) as (visitor, op):
        assert (await visitor.begin()).startswith(f"{at}/authorize?tenant=a&")
        assert op.calls["openid-configuration"] == 1


async def test_only_post() -> None:
    """A provider that takes client_secret_post only, by its document, gets the secret in the form."""
    op = OpenIdServer(Clock())
    op.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    async with at_provider(op) as (visitor, _):
        await visitor.arrive()

        assert op.tokens.grants[0]["client_secret"] == "a:secret/with 100%"


async def test_no_userinfo() -> None:
    """Without userinfo the ID token alone says who that is."""
    async with at_provider(fields={"userinfo": False}) as (visitor, op):
        await visitor.arrive()

        assert (await visitor.session())["user"]["name"] == "Ada"
        assert op.calls["userinfo"] == 0


@pytest.mark.parametrize("at_refresh", [None, {"nonce": None}, {}])
async def test_a_refresh(at_refresh: dict[str, Any] | None) -> None:
    """A refresh takes a new ID token with the first nonce or with none, and keeps the first one where none comes."""
    seen = Seen()
    async with at_provider(callbacks=seen.callbacks) as (visitor, op):
        op.at_refresh = at_refresh
        await visitor.arrive()
        first = seen.token
        session = await refreshed(visitor, op.clock)

        assert "error" not in session
        assert seen.token["access_token"] != first["access_token"]
        assert (seen.token["id_token"] == first["id_token"]) is (at_refresh is None)
        assert "scope" not in op.tokens.grants[-1]
        assert (await refreshed(visitor, op.clock)).get("error") is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sub": "eve"}, "id_token_subject"),
        ({"iss": "https://evil.test"}, "id_token_issuer"),
        ({"aud": "other"}, "id_token_audience"),
        ({"nonce": "another"}, "id_token_nonce"),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "id_token_at_hash"),
    ],
)
async def test_somebody_else_at_a_refresh(
    changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An ID token of a refresh that speaks of somebody else, or comes from elsewhere, ends in a refusal, once."""
    caplog.set_level(logging.INFO, "asgi_token_rotation")
    async with at_provider() as (visitor, op):
        await visitor.arrive()
        op.at_refresh = changes
        session = await refreshed(visitor, op.clock)

        assert session["error"] == "RefreshAccessTokenError"
        assert (await refreshed(visitor, op.clock))["error"] == "RefreshAccessTokenError"
        assert op.tokens.rotations == 1


@pytest.mark.parametrize("doubt", ["unknown key", "their clock", "keys down"])
async def test_nothing_is_lost_in_doubt(doubt: str) -> None:
    """A rotation whose ID token can't be judged now is kept, without that ID token: the old refresh token is spent."""
    seen = Seen()
    async with at_provider(callbacks=seen.callbacks) as (visitor, op):
        await visitor.arrive()
        first = seen.token
        if doubt == "unknown key":
            op.rotate()
        elif doubt == "their clock":
            op.at_refresh = {"iat": int(op.clock()) + 3000, "exp": int(op.clock()) + 9000}
        else:
            op.clock.advance(86_400 * 2)
            op.rotate()
            op.down = "jwks"
        session = await refreshed(visitor, op.clock)

        assert "error" not in session
        assert seen.token["refresh_token"] != first["refresh_token"]
        assert seen.token["id_token"] == first["id_token"]
        op.at_refresh, op.down = {"nonce": None}, ""
        op.clock.advance(31)
        await refreshed(visitor, op.clock)
        assert seen.token["id_token"] != first["id_token"]
        assert op.tokens.reuses == 0


async def test_a_refresh_without_discovery() -> None:
    """While the provider is down a new process sends no refresh token, ends no session, and asks once per window."""
    op = OpenIdServer(Clock())
    async with at_provider(op) as (visitor, _):
        await visitor.arrive()
        cookies = visitor.client.cookies
    op.down = "openid-configuration"
    async with at_provider(op) as (visitor, _):
        visitor.client.cookies = cookies
        before = op.calls["openid-configuration"]
        assert (await refreshed(visitor, op.clock))["error"] == "RefreshUnavailable"
        for _ in range(3):
            await visitor.session()
        assert op.calls["openid-configuration"] == before + 1
        assert op.tokens.refresh_calls == 0

        op.down = ""
        assert "error" not in await refreshed(visitor, op.clock)


async def test_one_refresh_for_many() -> None:
    """I4: twenty requests with an expired access token send the refresh token once, and look at the keys of the sign-in."""
    async with at_provider() as (visitor, op):
        await visitor.arrive()
        op.clock.advance(310)
        sessions = await asyncio.gather(*(visitor.session() for _ in range(20)))

        assert [session for session in sessions if session.get("error")] == []
        assert (op.tokens.refresh_calls, op.tokens.reuses, op.calls["jwks"]) == (1, 0, 1)


async def test_refresh_expires_in_zero() -> None:
    """``refresh_expires_in`` 0 means "not told": Keycloak's offline tokens are refreshed on."""
    async with at_provider(OpenIdServer(Clock(), refresh_token_lifetime=None)) as (visitor, op):
        await visitor.arrive()

        assert "error" not in await refreshed(visitor, op.clock)


async def test_sign_out_here_only() -> None:
    """Without rp_initiated_logout a sign-out leads where it was to lead, and the refresh token is revoked where discovery says."""
    async with at_provider() as (visitor, op):
        await visitor.arrive()
        response = await visitor.post("signout", callbackUrl="/bye")
        for _ in range(100):
            if op.tokens.revoked:
                break
            await asyncio.sleep(0.01)

        assert response.json()["url"] == "http://testserver/bye"
        assert op.tokens.revoked == ["1-0"]


@pytest.mark.parametrize("script", [True, False])
async def test_sign_out_at_the_provider(script: bool) -> None:
    """With rp_initiated_logout the browser goes on to the provider, with hint, client and way back; the session has ended already."""
    seen = Seen()
    async with at_provider(fields={"rp_initiated_logout": True}, callbacks=seen.callbacks) as (visitor, op):
        await visitor.arrive()
        response = await visitor.post("signout", script=script, callbackUrl="/bye")
        url = response.json()["url"] if script else response.headers["location"]
        asked = params_of(url)

        assert url.startswith("https://op.test/oauth/end?")
        assert asked.pop("state")
        assert asked == {
            "client_id": "app",
            "id_token_hint": seen.token["id_token"],
            "post_logout_redirect_uri": "http://testserver/bye",
        }
        assert op.calls["end"] == 0
        assert await visitor.session() is None


@pytest.mark.parametrize("trouble", ["none there", "down", "nobody signed in"])
async def test_sign_out_where_the_provider_can_not(trouble: str) -> None:
    """The session ends here whatever the provider does: no endpoint, no answer, or nobody who was signed in."""
    op = OpenIdServer(Clock())
    op.document = {"end_session_endpoint": None} if trouble == "none there" else {}
    async with at_provider(op, fields={"rp_initiated_logout": True}) as (visitor, _):
        if trouble != "nobody signed in":
            await visitor.arrive()
        if trouble == "down":
            op.clock.advance(86_400 * 2)
            op.down = "openid-configuration"
        response = await visitor.post("signout", callbackUrl="/bye")

        assert response.json()["url"] == "http://testserver/bye"
        assert not await visitor.session()


async def test_the_page_lets_an_issuer_on_this_machine_answer_a_form() -> None:
    """A sign-in page allows redirects to an http issuer on loopback, for trying things out."""
    async with at_provider(fields={"issuer": "http://localhost:9000/x"}) as (visitor, _):
        policy = (await visitor.get(f"{BASE}/signin")).headers["content-security-policy"]

        assert "http://localhost:9000" in policy


async def test_nothing_secret_is_shown() -> None:
    """I7: the provider's repr shows no secret."""
    assert "100%" not in repr(provider())
    assert RefreshOptions().timeout == 30
