"""What an OpenID provider, or somebody in its place, may not get through with: each refused with a code of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from asgi_token_rotation import ConfigurationError, RefreshOptions
from asgi_token_rotation.providers import OIDC
from asgi_token_rotation.testing import Clock
from endpoints.idp import BASE, Visitor, params_of
from providers.openid import (
    ISSUER,
    OpenIdServer,
    at_provider,
    jwk_of,
    provider,
    rsa_key,
    signed_with_public_key,
    unsigned,
)

CONFIGURATION = f"{BASE}/error?error=Configuration"
AT_PROVIDER = f"{BASE}/signin?error=OAuthCallbackError"


async def refused(visitor: Visitor, caplog: pytest.LogCaptureFixture, *, code: str, back: str | None = None) -> str:
    """Where a whole sign-in, or a given way back, leads; nobody is signed in, and the log says why."""
    caplog.set_level(logging.INFO, "asgi_token_rotation")
    location = str((await visitor.get(back or await visitor.agree(await visitor.begin()))).headers["location"])
    assert f"failed ({code})" in caplog.text, caplog.text
    assert not await visitor.session()
    return location


def changed(url: str, **params: str | None) -> str:
    """A way back with other parameters; None takes one out."""
    given = {**dict(parse_qsl(urlsplit(url).query)), **params}
    query = urlencode({name: value for name, value in given.items() if value is not None})
    return f"{url.partition('?')[0]}?{query}"


async def test_mix_up(caplog: pytest.LogCaptureFixture) -> None:
    """Mix-up: an answer that names another issuer than the one the sign-in went to is refused before its code is sent anywhere."""
    async with at_provider() as (visitor, op):
        back = await visitor.agree(await visitor.begin())
        location = await refused(visitor, caplog, code="wrong_issuer", back=changed(back, iss="https://evil.test"))

        assert location == CONFIGURATION
        assert op.calls["token"] == 0


async def test_mix_up_by_silence(caplog: pytest.LogCaptureFixture) -> None:
    """Mix-up: where the provider says that it always tells its issuer, an answer without one is refused (RFC 9207, 2.4)."""
    async with at_provider() as (visitor, op):
        back = await visitor.agree(await visitor.begin())
        await refused(visitor, caplog, code="issuer_missing", back=changed(back, iss=None))

        assert op.calls["token"] == 0


async def test_an_error_without_an_issuer(caplog: pytest.LogCaptureFixture) -> None:
    """An error without ``iss`` is the provider's all the same: Canaille tells its issuer with codes only."""
    async with at_provider() as (visitor, _):
        back = await visitor.agree(await visitor.begin())
        wrong = changed(back, iss=None, code=None, error="access_denied")

        assert await refused(visitor, caplog, code="provider_error", back=wrong) == AT_PROVIDER


async def test_mix_up_of_two_providers(caplog: pytest.LogCaptureFixture) -> None:
    """Mix-up: an answer for one provider's sign-in that comes back at another's callback is refused."""
    both = [provider(), provider(id="other", name="Other")]
    async with at_provider(providers=both) as (visitor, op):
        back = await visitor.agree(await visitor.begin())
        elsewhere = back.replace("/callback/idp", "/callback/other")
        await refused(visitor, caplog, code="wrong_provider", back=elsewhere)

        assert op.calls["token"] == 0


async def test_state_fixation(caplog: pytest.LogCaptureFixture) -> None:
    """State fixation: an attacker's own answer, state and code and all, signs nobody else's browser in."""
    op = OpenIdServer(Clock())
    async with at_provider(op) as (attacker, _), at_provider(op) as (victim, _):
        back = await attacker.agree(await attacker.begin())
        await refused(victim, caplog, code="state_missing", back=back)

        assert op.calls["token"] == 0


async def test_code_injection(caplog: pytest.LogCaptureFixture) -> None:
    """Code injection: a stolen code in one's own flow is refused, since its verifier and nonce are another browser's."""
    op = OpenIdServer(Clock())
    async with at_provider(op) as (victim, _), at_provider(op) as (attacker, _):
        stolen = params_of(await victim.agree(await victim.begin()))["code"]
        own = await attacker.agree(await attacker.begin())

        assert await refused(attacker, caplog, code="code_refused", back=changed(own, code=stolen)) == AT_PROVIDER


async def test_nonce_replay(caplog: pytest.LogCaptureFixture) -> None:
    """Nonce replay: an ID token of an earlier sign-in, good in all else, is refused in a later one."""
    kept: list[str] = []
    op = OpenIdServer(Clock())

    def replayed(claims: dict[str, Any]) -> str:
        kept.append(op.sign({name: value for name, value in claims.items() if name != "at_hash"}))
        return kept[0]

    op.make = replayed
    async with at_provider(op) as (visitor, _):
        assert (await visitor.arrive()).headers["location"] == "http://testserver/"
    async with at_provider(op) as (visitor, _):
        assert await refused(visitor, caplog, code="id_token_nonce") == CONFIGURATION


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"iss": "https://evil.test"}, "id_token_issuer"),
        ({"iss": ISSUER + "/"}, "id_token_issuer"),
        ({"iss": None}, "id_token_issuer"),
        ({"aud": "another"}, "id_token_audience"),
        ({"aud": ["another", "third"]}, "id_token_audience"),
        ({"aud": None}, "id_token_audience"),
        ({"aud": {"app": 1}}, "id_token_audience"),
        ({"aud": ["app", "another"]}, "id_token_azp"),
        ({"aud": ["app", "another"], "azp": "another"}, "id_token_azp"),
        ({"azp": "another"}, "id_token_azp"),
        ({"sub": None}, "id_token_subject"),
        ({"sub": ""}, "id_token_subject"),
        ({"sub": 7}, "id_token_subject"),
        ({"sub": "x" * 256}, "id_token_subject"),
        ({"exp": 1}, "id_token_expired"),
        ({"exp": None}, "id_token_expired"),
        ({"exp": "9999999999"}, "id_token_expired"),
        ({"exp": True}, "id_token_expired"),
        ({"iat": None}, "id_token_issued_at"),
        ({"iat": 32_000_000_000, "exp": 33_000_000_000}, "id_token_issued_at"),
        ({"nbf": 32_000_000_000}, "id_token_issued_at"),
        ({"nonce": None}, "id_token_nonce"),
        ({"nonce": "another"}, "id_token_nonce"),
        ({"nonce": ["x"]}, "id_token_nonce"),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "id_token_at_hash"),
        ({"at_hash": 7}, "id_token_at_hash"),
        ({"sub": "eve"}, "userinfo_subject"),
    ],
)
async def test_claims(claims: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture) -> None:
    """Expired, foreign or incomplete: each claim of an ID token that is not as it must be has a code of its own."""
    op = OpenIdServer(Clock())
    op.claims = claims
    async with at_provider(op) as (visitor, _):
        assert await refused(visitor, caplog, code=code) == CONFIGURATION


@pytest.mark.parametrize(
    "claims", [{"aud": ["app"]}, {"aud": ["other", "app"], "azp": "app"}, {"at_hash": None}, {"auth_time": 0.5}]
)
async def test_good_claims(claims: dict[str, Any]) -> None:
    """An audience as a list, several with our ``azp`` (Zitadel), no ``at_hash``: all of that is good."""
    op = OpenIdServer(Clock())
    op.claims = claims
    async with at_provider(op) as (visitor, _):
        assert (await visitor.arrive()).headers["location"] == "http://testserver/"


@pytest.mark.parametrize(("ahead", "good"), [(-359, True), (-361, False), (59, True), (61, False)])
async def test_leeway(ahead: int, good: bool) -> None:
    """A provider's clock may be off by up to a minute."""
    op = OpenIdServer(Clock())
    now = int(op.clock()) + ahead
    op.claims = {"iat": now, "exp": now + 300}
    async with at_provider(op) as (visitor, _):
        assert ((await visitor.arrive()).headers["location"] == "http://testserver/") is good


def foreign(op: OpenIdServer) -> Callable[[dict[str, Any]], str]:
    """A right ID token, by a key that is not the provider's but has its name."""
    other = OpenIdServer(op.clock)
    other.key = rsa_key(99)
    return other.sign


MADE: dict[str, tuple[Callable[[OpenIdServer], Callable[[dict[str, Any]], str]], str]] = {
    "none": (lambda op: unsigned, "id_token_algorithm"),
    "None in another case": (lambda op: lambda claims: unsigned(claims, "NoNe"), "id_token_algorithm"),
    "RS256 without a signature": (lambda op: lambda claims: unsigned(claims, "RS256"), "id_token_malformed"),
    "HS256 with the public key": (lambda op: signed_with_public_key, "id_token_algorithm"),
    "another's key": (foreign, "id_token_signature"),
    "another's claims": (
        lambda op: (
            lambda claims: ".".join(
                [
                    op.sign(claims).split(".")[0],
                    op.sign({**claims, "sub": "eve"}).split(".")[1],
                    op.sign(claims).split(".")[2],
                ]
            )
        ),
        "id_token_signature",
    ),
    "an unknown key": (lambda op: lambda claims: op.sign(claims, kid="another"), "id_token_key_unknown"),
    "a key's address": (
        lambda op: lambda claims: op.sign(claims, kid="another", jku="https://evil.test/jwks"),
        "id_token_key_unknown",
    ),
    "its own key": (
        lambda op: lambda claims: foreign(op)({**claims}) if op.sign(claims, jwk=jwk_of(rsa_key(99))) else "",
        "id_token_signature",
    ),
    "crit": (lambda op: lambda claims: op.sign(claims, crit=["x"], x=1), "id_token_malformed"),
    "no JWT": (lambda op: lambda claims: "not.a jwt.at all", "id_token_malformed"),
    "five parts": (lambda op: lambda claims: "a.b.c.d.e", "id_token_malformed"),
    "nothing": (lambda op: lambda claims: "", "id_token_missing"),
    "huge": (lambda op: lambda claims: op.sign({**claims, "x": "y" * 30_000}), "id_token_malformed"),
}


@pytest.mark.parametrize("made", MADE)
async def test_signatures(made: str, caplog: pytest.LogCaptureFixture) -> None:
    """Alg confusion and forged signatures: only the provider's published key, by an allowed algorithm, makes an ID token good."""
    op = OpenIdServer(Clock())
    make, code = MADE[made]
    op.make = make(op)
    async with at_provider(op) as (visitor, _):
        assert await refused(visitor, caplog, code=code) == CONFIGURATION
        assert "evil.test" not in "".join(op.calls)


async def test_an_algorithm_of_another_family(caplog: pytest.LogCaptureFixture) -> None:
    """A key says by its ``alg`` and ``use`` what it is for: it verifies nothing else."""
    for more in ({"alg": "RS512"}, {"use": "enc"}, {"key_ops": ["encrypt"]}, {"kty": "EC"}):
        op = OpenIdServer(Clock())
        op.keys = [{**jwk_of(op.key, kid=op.kid), **more}]
        async with at_provider(op) as (visitor, _):
            await refused(visitor, caplog, code="id_token_key_unknown")
        caplog.clear()


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_short_and_broken_keys(caplog: pytest.LogCaptureFixture) -> None:
    """An RSA key under 2048 bits, and one that is no key, verify nothing (RFC 7518, 3.3)."""
    for short in (True, False):
        op = OpenIdServer(Clock())
        op.key = rsa_key(7, 1024) if short else op.key
        made = jwk_of(op.key, kid=op.kid)
        op.keys = [made if short else {**made, "n": "!"}]
        async with at_provider(op) as (visitor, _):
            await refused(visitor, caplog, code="id_token_signature")
        caplog.clear()


async def test_userinfo_of_another(caplog: pytest.LogCaptureFixture) -> None:
    """A userinfo document of somebody else is refused (OpenID Connect Core, 5.3.2)."""
    op = OpenIdServer(Clock())
    op.subject = "eve"
    async with at_provider(op) as (visitor, _):
        assert await refused(visitor, caplog, code="userinfo_subject") == CONFIGURATION


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"issuer": "https://evil.test"}, "discovery_issuer"),
        ({"issuer": ISSUER + "/"}, "discovery_issuer"),
        ({"issuer": None}, "discovery_issuer"),
        ({"token_endpoint": None}, "discovery_incomplete"),
        ({"jwks_uri": 7}, "discovery_incomplete"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "discovery_incomplete"),
        ({"token_endpoint": "http://op.test/oauth/token"}, "discovery_insecure"),
        ({"jwks_uri": "http://localhost.evil.test/jwks"}, "discovery_insecure"),
    ],
)
async def test_discovery_that_lies(document: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture) -> None:
    """A discovery document of another issuer, or with endpoints that can't be used, sends nobody anywhere."""
    op = OpenIdServer(Clock())
    op.document = document
    async with at_provider(op) as (visitor, _):
        url = (await visitor.post("signin/idp")).json()["url"]

        assert url == CONFIGURATION
        assert f"could not begin ({code})" in caplog.text
        assert visitor.flows() == []


@pytest.mark.parametrize("name", ["openid-configuration", "jwks"])
@pytest.mark.parametrize(
    ("switch", "ending"), [("too_long", "too_long"), ("hangs", "timeout"), ("down", "unavailable")]
)
async def test_oversized_slow_and_failing(
    name: str, switch: str, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Oversized, slow and failing answers for discovery and keys are let go of, each with its own code."""
    op = OpenIdServer(Clock())
    setattr(op, switch, name)
    async with at_provider(op, refresh_options=RefreshOptions(timeout=4)) as (visitor, _):
        if name == "jwks":
            assert await refused(visitor, caplog, code=f"keys_{ending}") == AT_PROVIDER
        else:
            await visitor.post("signin/idp")
            assert f"could not begin (discovery_{ending})" in caplog.text


@pytest.mark.parametrize(
    ("keys", "code"),
    [({"key-0": "none"}, "keys_malformed"), ([], "id_token_key_unknown"), (["x"], "id_token_key_unknown")],
)
async def test_keys_that_are_none(keys: Any, code: str, caplog: pytest.LogCaptureFixture) -> None:
    """Something else than a key set is refused."""
    op = OpenIdServer(Clock())
    op.keys = keys
    async with at_provider(op) as (visitor, _):
        await refused(visitor, caplog, code=code)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"issuer": "http://op.example.com"}, "expected https"),
        ({"issuer": "op.example.com"}, "expected an absolute address"),
        ({"issuer": "https://op.test/?a=b"}, "has a query"),
        ({"issuer": "https://op.test/.well-known/openid-configuration"}, "Leave out"),
        ({"issuer": ""}, "issuer is empty"),
        ({"client_id": None}, "client_id is a NoneType"),
        ({"scopes": ["profile"]}, "no 'openid'"),
        ({"scopes": "openid"}, "Split it"),
        ({"algorithms": ["none"]}, "'none'"),
        ({"algorithms": ["HS256"]}, "'HS256'"),
        ({"algorithms": []}, "expected a list"),
        ({"jwks_uri": "nowhere"}, "jwks_uri is 'nowhere'"),
        ({"rp_initiated_logout": "yes"}, "expected True or False"),
        ({"authorization_params": {"nonce": "x"}}, "sets 'nonce'"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "expected 'client_secret_basic'"),
        ({"client_secret": None, "token_endpoint_auth_method": "client_secret_post"}, "no client_secret"),
        ({"profile": 7}, "not callable"),
        ({"verify_access_token": True}, "verify_access_token is True: expected the audience"),
        ({"verify_access_token": " "}, "verify_access_token is ' ': expected the audience"),
        ({"verify_access_token": ["https://api.test"]}, "expected the audience"),
    ],
)
def test_bad_data(fields: dict[str, Any], told: str) -> None:
    """What can't work is said when the provider is made, in a sentence that names the option."""
    with pytest.raises(ConfigurationError, match="OIDC") as raised:
        provider(**fields)

    assert told in str(raised.value)


@pytest.mark.parametrize(
    "issuer", ["http://localhost:8080/realms/x", "http://127.0.0.1:1", "http://[::1]/o/", "https://op.test/o/"]
)
def test_good_issuers(issuer: str) -> None:
    """Http is for this machine only; a path, and a slash at the end, belong to the issuer."""
    assert OIDC(id="a", name="A", issuer=issuer, client_id="b").issuer == issuer
