"""OAuth2 as data: what it refuses, what its repr shows, and the requests that follow from it."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from asgi_token_rotation import ConfigurationError, RefreshUnavailableError, TokenRotation, TokenSet
from asgi_token_rotation.errors import SignInError
from asgi_token_rotation.providers import OAuth2, Provider
from asgi_token_rotation.providers._authorization import (
    FLOW_SECONDS,
    RESERVED_PARAMS,
    Checks,
    authorization_url,
    code_of,
    flow_of,
    new_checks,
    s256,
)
from asgi_token_rotation.providers._http import Answer, AnswerError
from asgi_token_rotation.providers._profile import default_profile, user_of
from asgi_token_rotation.providers._token_endpoint import (
    code_request,
    document_of,
    refresh_request,
    revocation_request,
    token_set_of,
)
from asgi_token_rotation.providers.base import judge
from endpoints.idp import idp, params_of

NOW = 1_800_000_000.0
SECRET = "a secret of the tests, long enough for everybody"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"client_id": ""}, "client_id is empty"),
        ({"client_id": None}, "client_id is a NoneType"),
        ({"client_secret": ""}, "client_secret is empty"),
        ({"name": ""}, "name is empty"),
        ({"issuer": ""}, "issuer is empty"),
        ({"token_endpoint": None}, "token_endpoint is a NoneType"),
        ({"token_endpoint": "/oauth/token"}, "token_endpoint is '/oauth/token'"),
        ({"token_endpoint": "ftp://id.example/token"}, "expected an absolute address"),
        ({"token_endpoint": "https://id.example:port/token"}, "expected an absolute address"),
        ({"token_endpoint": "https://id.example/to ken"}, "expected an absolute address"),
        ({"authorization_endpoint": "https://id.example/#there"}, "a user name or a fragment"),
        ({"userinfo_endpoint": "https://ada:pass@id.example/me"}, "a user name or a fragment"),
        ({"authorization_endpoint": "https://id.example/?state=1"}, "sets 'state'"),
        ({"authorization_params": {"redirect_uri": "x"}}, "sets 'redirect_uri'"),
        ({"authorization_params": {"scope": "x"}}, "sets 'scope'"),
        ({"authorization_params": {"prompt": 1}}, "is no text"),
        ({"authorization_params": {"response_mode": "fragment"}}, "response_mode that no server sees"),
        ({"authorization_params": ["prompt"]}, "is no mapping"),
        ({"scopes": "read write"}, "scopes is a str"),
        ({"scopes": ["read write"]}, "one scope for each entry"),
        ({"scopes": [1]}, "one scope for each entry"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "token_endpoint_auth_method is 'private_key_jwt'"),
        ({"token_endpoint_auth_method": "client_secret_post", "client_secret": None}, "there is no client_secret"),
        ({"profile": "sub"}, "profile is not callable"),
        ({"userinfo_endpoint": None}, "neither userinfo_endpoint nor profile"),
    ],
)
def test_refused(fields: dict[str, Any], words: str) -> None:
    """A wrong field is refused with a sentence that names the provider, what was wrong and what was expected."""
    with pytest.raises(ConfigurationError, match="expected") as caught:
        idp(**fields)

    assert words in str(caught.value)
    assert "OAuth2('idp')" in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_refused_by_the_runtime() -> None:
    """An id that no URL takes is refused by TokenRotation."""
    with pytest.raises(ConfigurationError, match="A provider's id is 'a/b'"):
        TokenRotation(secret=SECRET, providers=[idp(id="a/b")])


def test_a_client_that_reads_only_whole_answers() -> None:
    """A client without a stream method is refused where a provider would be asked with it, and only there."""

    class Client:
        async def request(self, method: str, url: str) -> None: ...

    with pytest.raises(ConfigurationError, match="without a stream method: expected"):
        TokenRotation(secret=SECRET, providers=[idp()], http_client=Client())  # type: ignore[arg-type]
    TokenRotation(secret=SECRET, http_client=Client())  # type: ignore[arg-type]


def test_nothing_secret_is_shown() -> None:
    """I7: neither the client's secret nor a flow's state and verifier is in a repr."""
    provider = idp(client_secret="s3cret")
    checks = new_checks("idp", callback_url="/", now=NOW, nonce=True)
    request = refresh_request(provider, "refresh-1")

    assert "s3cret" not in f"{provider!r}{provider}"
    assert not any(str(part) in repr(checks) for part in (checks.state, checks.verifier, checks.nonce))
    assert "refresh-1" not in repr(request)
    assert "Basic" not in repr(request)


def test_is_a_provider() -> None:
    """It has what the Provider protocol asks for."""
    provider: Provider = idp()

    assert (provider.id, provider.name, provider.type, provider.refresh) == ("idp", "Example", "oauth", None)


@pytest.mark.parametrize(
    ("method", "secret", "expected"),
    [
        (None, "s", "client_secret_basic"),
        (None, None, "none"),
        ("client_secret_post", "s", "client_secret_post"),
        ("none", "s", "none"),
    ],
)
def test_auth_method(method: Any, secret: str | None, expected: str) -> None:
    """A client with a secret authenticates by basic, one without by none, unless the method is named."""
    assert idp(token_endpoint_auth_method=method, client_secret=secret).auth_method == expected


def test_requests() -> None:
    """RFC 6749, 2.3.1: basic form-encodes both parts; post and public clients say who they are in the form; no scope at a refresh."""
    given = {"client_id": "app:1", "client_secret": "50% ä", "scopes": ["read"]}
    basic, post = idp(**given), idp(**given, token_endpoint_auth_method="client_secret_post")
    public = idp(**given | {"client_secret": None})
    header = refresh_request(basic, "r").headers["authorization"]

    assert b64decode(header.removeprefix("Basic ")) == b"app%3A1:50%25+%C3%A4"
    assert refresh_request(basic, "r").form == {"grant_type": "refresh_token", "refresh_token": "r"}
    assert refresh_request(post, "r").form == {
        "grant_type": "refresh_token", "refresh_token": "r", "client_id": "app:1", "client_secret": "50% ä",
    }  # fmt: skip
    assert refresh_request(post, "r").headers == {}
    assert revocation_request(public, "r") is not None
    assert revocation_request(public, "r").form == {  # type: ignore[union-attr]
        "token": "r", "token_type_hint": "refresh_token", "client_id": "app:1",
    }  # fmt: skip
    assert revocation_request(idp(revocation_endpoint=None), "r") is None
    assert code_request(public, code="c", redirect_uri="u", verifier="v").form == {
        "grant_type": "authorization_code", "code": "c", "redirect_uri": "u", "code_verifier": "v", "client_id": "app:1",
    }  # fmt: skip


def test_authorization_url() -> None:
    """The endpoint's own query stays; scopes are joined by spaces; a challenge is the S256 of the verifier (RFC 7636, appendix B)."""
    provider = idp(authorization_endpoint="https://id.example/go?policy=1", scopes=["a", "b&c"])
    checks = new_checks("idp", callback_url="/", now=NOW, nonce=True)
    url = authorization_url(provider, checks, redirect_uri="https://x.example/cb?a=1", extra={})

    assert url.startswith("https://id.example/go?policy=1&scope=a%20b%26c&")
    assert params_of(url)["code_challenge"] == s256(checks.verifier)
    assert params_of(url)["nonce"] == checks.nonce
    assert s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_reserved_names() -> None:
    """No parameter that the authorization URL sets itself can come from a form."""
    bare = authorization_url(
        idp(), new_checks("idp", callback_url="/", now=NOW, nonce=True), redirect_uri="u", extra={}
    )
    extra = dict.fromkeys([*RESERVED_PARAMS, "scope"], "evil")
    checks = new_checks("idp", callback_url="/", now=NOW, nonce=True)

    assert "evil" not in authorization_url(idp(), checks, redirect_uri="u", extra=extra)
    assert params_of(bare).keys() <= RESERVED_PARAMS


def test_flows_sort_by_age() -> None:
    """A flow's name begins with its time, so that the oldest is known without opening anything; no two are alike."""
    flows = [
        str(flow_of(new_checks("p", callback_url="/", now=NOW + age, nonce=False).state)) for age in (0, 0, 1, 900)
    ]

    assert flows[0][:8] == flows[1][:8] < flows[2][:8] < flows[3][:8]
    assert len(set(flows)) == 4
    assert [flow_of(bad) for bad in (None, "", "x", flows[0], f"{flows[0]}.", f"{flows[0]}.{'a' * 44}")] == [None] * 6


def answer_to(checks: Checks, **more: str) -> dict[str, str]:
    return {"state": checks.state, "code": "c", **more}


@pytest.mark.parametrize(
    ("changes", "server", "after", "reason"),
    [
        ({"state": ""}, {}, 0, "state_missing"),
        ({"state": "ü" * 60}, {}, 0, "state_mismatch"),
        ({}, {"id": "other"}, 0, "wrong_provider"),
        ({}, {}, FLOW_SECONDS, "flow_expired"),
        ({}, {}, -FLOW_SECONDS - 1, "flow_expired"),
        ({"iss": ""}, {"issuer": "https://i"}, 0, "wrong_issuer"),
        ({"iss": "https://evil", "error": "access_denied"}, {"issuer": "https://i"}, 0, "wrong_issuer"),
        ({"error": "access_denied"}, {}, 0, "provider_error"),
        ({"error": ""}, {}, 0, "provider_error"),
        ({"code": ""}, {}, 0, "code_missing"),
        ({"code": "c" * 4097}, {}, 0, "code_missing"),
    ],
)
def test_refused_answers(changes: dict[str, str], server: dict[str, Any], after: float, reason: str) -> None:
    """Each way in which an answer does not belong to its flow has a code of its own."""
    checks = new_checks("idp", callback_url="/", now=NOW)
    with pytest.raises(SignInError) as caught:
        code_of(idp(**server), answer_to(checks) | changes, checks, now=NOW + after)

    assert caught.value.code == reason


def test_accepted_answers() -> None:
    """A good answer gives its code; clocks of workers may differ; iss counts only where the issuer is known."""
    checks = new_checks("idp", callback_url="/", now=NOW)

    assert code_of(idp(), answer_to(checks, iss="https://any"), checks, now=NOW - 10) == "c"
    assert code_of(idp(issuer="https://i"), answer_to(checks, iss="https://i"), checks, now=NOW + 899) == "c"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b'{"error": "bad_refresh_token"}', "refused"),
        (200, b'{"error": "incorrect_client_credentials"}', "misconfigured"),
        (200, b'{"error": "invalid_grant"}', "refused"),
        (200, b'{"error": "temporarily_unavailable"}', "unavailable"),
        (200, b"<html>", "unavailable"),
        (200, b"", "unavailable"),
        (200, b"[" * 10_000, "unavailable"),
        (200, b'"text"', "unavailable"),
        (302, b"", "unavailable"),
        (400, b'{"error": "invalid_grant"}', "refused"),
        (403, b'{"error": "invalid_grant"}', "refused"),
        (400, b"", "refused"),
        (401, b'{"error": "invalid_client"}', "misconfigured"),
        (404, b"", "misconfigured"),
        (429, b"", "throttled"),
        (500, b'{"error": "internal_server_error"}', "unavailable"),
    ],
)
def test_judged_answers(status: int, body: bytes, kind: str) -> None:
    """What no token set is raises what judge knows by its table; an error in a 200 (GitHub) is an error."""
    with pytest.raises((AnswerError, RefreshUnavailableError)) as caught:
        document_of(Answer(status, {}, body))

    assert judge(caught.value, now=NOW).kind == kind
    assert not judge(caught.value, now=NOW).unexpected


def test_token_set() -> None:
    """Times count from the receipt; an answer without an access token is none."""
    assert (
        token_set_of({"access_token": "a", "expires_in": "60", "refresh_expires_in": 0}, now=NOW).expires_at == NOW + 60
    )
    assert token_set_of({"access_token": "a", "refresh_expires_in": 0}, now=NOW).refresh_expires_at is None
    with pytest.raises(RefreshUnavailableError):
        token_set_of({"refresh_token": "r"}, now=NOW)


async def test_default_profile() -> None:
    """The user is made of sub or id, name, email and picture; anything else stays in the profile, and what is no text out."""
    document = {"id": 5, "name": "Ada", "email": "ADA@x.org", "picture": "p", "locale": "en"}

    assert default_profile({"sub": "s", **document})["id"] == "s"
    assert await user_of(None, document, TokenSet("a")) == {
        "id": "5",
        "name": "Ada",
        "email": "ada@x.org",
        "image": "p",
    }
    assert default_profile({"sub": "s", "name": 1, "email": None, "picture": {"data": 1}}) == {"id": "s"}


@pytest.mark.parametrize(
    "answer", [None, {}, {"id": None}, {"id": True}, {"id": 1.5}, {"id": "a\nb"}, {"id": "x" * 257}, ["id"]]
)
async def test_no_user(answer: Any) -> None:
    """A profile without a usable id is no sign-in: the id becomes the token's sub."""
    with pytest.raises(SignInError) as caught:
        await user_of(lambda document, tokens: answer, {}, TokenSet("a"))

    assert caught.value.code == "no_user_id"


def test_frozen() -> None:
    """A provider is data: nobody changes it once it is checked."""
    with pytest.raises(AttributeError):
        idp().client_id = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        OAuth2("idp")  # type: ignore[misc]
