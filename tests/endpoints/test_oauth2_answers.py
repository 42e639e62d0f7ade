"""What comes back from a provider, and what is refused of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from asgi_token_rotation import JWT, Callbacks, Event, Events, JWTParams, Pages, SignInParams, TokenSet
from asgi_token_rotation.testing import Clock, TokenServer
from asgi_token_rotation.types import Dialect
from endpoints.browser import SCRIPT, set_cookies
from endpoints.idp import BASE, CALLBACK, idp, params_of, visiting
from rig import until

DIALECTS: list[Dialect] = ["authjs", "nextauth-v4"]
CHECKS = {"authjs": f"{BASE}/error?error=Configuration", "nextauth-v4": f"{BASE}/error?error=OAuthCallback"}
REFUSED = {"authjs": f"{BASE}/signin?error=OAuthCallbackError", "nextauth-v4": f"{BASE}/error?error=OAuthCallback"}
SAID_NO = {"authjs": f"{BASE}/signin?error=OAuthCallbackError", "nextauth-v4": f"{BASE}/error?error=Callback"}


def signed_in(response: httpx.Response) -> bool:
    return any("session-token" in name for name in set_cookies(response))


def other(state: str) -> str:
    """A state of the same flow, with another secret."""
    return state[:-1] + ("A" if state[-1] != "A" else "B")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", ["none", "mismatch", "no cookie", "garbage", "empty"])
async def test_state(dialect: Dialect, case: str, caplog: pytest.LogCaptureFixture) -> None:
    """State fixation: an answer whose state is missing, wrong or from another browser is refused, and nobody asks the provider."""
    server = TokenServer()
    async with visiting(server, dialect=dialect) as visitor:
        back = httpx.URL(await visitor.agree(await visitor.begin()))
        state = back.params["state"]
        if case == "no cookie":
            visitor.client.cookies.clear()
        sent = {"none": None, "mismatch": other(state), "no cookie": state, "garbage": "ÿ;\x00", "empty": ""}[case]
        url = back.copy_remove_param("state") if sent is None else back.copy_set_param("state", sent)
        response = await visitor.get(str(url))

        assert response.headers["location"] == CHECKS[dialect]
        assert not signed_in(response)
        assert server.grants == []
        assert ("state_mismatch" if case == "mismatch" else "state_missing") in caplog.text


async def test_a_flow_is_spent(caplog: pytest.LogCaptureFixture) -> None:
    """A flow is good for one answer, whatever that was: its cookie is cleared when it succeeds, and when it fails."""
    async with visiting() as visitor:
        good = await visitor.agree(await visitor.begin())
        first, second = await visitor.get(good), await visitor.get(good)
        bad = await visitor.agree(await visitor.begin())
        wrong = await visitor.get(bad.replace("code=", "error=access_denied&was="))
        after = await visitor.get(bad)

        assert first.headers["location"] == "http://testserver/"
        assert [response.headers["location"] for response in (second, after)] == [CHECKS["authjs"]] * 2
        assert wrong.headers["location"] == SAID_NO["authjs"]
        for response in (first, wrong):
            assert any(".state." in name and "Max-Age=0" in line for name, line in set_cookies(response).items())


@pytest.mark.parametrize("seconds", [899, 900])
async def test_a_slow_visitor(seconds: int) -> None:
    """A flow is good for 900 seconds, also where the browser kept its cookie for longer."""
    clock = Clock()
    async with visiting(clock=clock) as visitor:
        back = await visitor.agree(await visitor.begin())
        clock.advance(seconds)
        server_side = await visitor.get(back.partition("?")[0], params={**params_of(back), "code": "over"})

        expected = REFUSED if seconds < 900 else CHECKS  # the code is tried, or not any more
        assert server_side.headers["location"] == expected["authjs"]


async def test_another_provider(caplog: pytest.LogCaptureFixture) -> None:
    """Mix-up: an answer counts only at the provider that its flow was begun with."""
    async with visiting(providers=[idp(), idp(id="other")]) as visitor:
        back = await visitor.agree(await visitor.begin())
        response = await visitor.get(back.replace("callback/idp", "callback/other"))

        assert response.headers["location"] == CHECKS["authjs"]
        assert "wrong_provider" in caplog.text


@pytest.mark.parametrize(("told", "good"), [("https://id.example", True), ("https://id.example/", False), (None, True)])
async def test_issuer(told: str | None, good: bool, caplog: pytest.LogCaptureFixture) -> None:
    """RFC 9207: an iss in the answer must be the provider's issuer exactly; one that is absent is accepted."""
    server = TokenServer(issuer=told)
    async with visiting(server, providers=[idp(issuer="https://id.example")]) as visitor:
        response = await visitor.arrive()

        assert signed_in(response) is good
        assert ("wrong_issuer" in caplog.text) is not good


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_provider_says_no(dialect: Dialect, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the provider ends on the dialect's page with its code, and the log names the provider's word for it."""
    caplog.set_level(logging.INFO)
    async with visiting(dialect=dialect) as visitor:
        state = params_of(await visitor.begin())["state"]
        params = {"error": "access_denied", "error_description": "a secret <b>", "state": state}
        response = await visitor.get(CALLBACK, params=params)

        assert response.headers["location"] == SAID_NO[dialect]
        ours = [record.getMessage() for record in caplog.records if record.name == "asgi_token_rotation"]
        assert len(ours) == 1
        assert "access_denied" in ours[0]
        assert "secret" not in ours[0]
        assert visitor.flows() == []


async def test_own_sign_in_page() -> None:
    """A failed sign-in leads to the application's own page where there is one."""
    async with visiting(pages=Pages(sign_in="/login")) as visitor:
        state = params_of(await visitor.begin())["state"]
        response = await visitor.get(CALLBACK, params={"error": "access_denied", "state": state})

        assert response.headers["location"] == "http://testserver/login?error=OAuthCallbackError"


class Misbehaving:
    """A provider whose endpoints answer as a test says; the code that it gives out is "code"."""

    def __init__(self, token: Any = None, userinfo: Any = None) -> None:
        self.answers = {"/oauth/token": token, "/oauth/userinfo": userinfo}
        self.requests: list[httpx.Request] = []
        good = {"access_token": "access-1", "token_type": "bearer", "expires_in": 60, "refresh_token": "refresh-1"}
        self.good = {"/oauth/token": good, "/oauth/userinfo": {"sub": "7"}}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[request.url.path]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, json=self.good[request.url.path] if answer is None else answer)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


FAILURES: dict[str, tuple[Mapping[str, Any], str]] = {
    "code refused": ({"token": httpx.Response(400, json={"error": "invalid_grant"})}, "code_refused"),
    "code refused in 200": ({"token": {"error": "bad_verification_code"}}, "code_refused"),
    "wrong secret": ({"token": httpx.Response(401, json={"error": "invalid_client"})}, "code_misconfigured"),
    "wrong secret in 200": ({"token": {"error": "incorrect_client_credentials"}}, "code_misconfigured"),
    "down": ({"token": httpx.Response(503)}, "code_unavailable"),
    "throttled": ({"token": httpx.Response(429)}, "code_throttled"),
    "cut": ({"token": httpx.ReadError("cut")}, "code_ambiguous"),
    "slow": ({"token": httpx.ReadTimeout("slow")}, "code_ambiguous"),
    "html": ({"token": httpx.Response(200, html="<p>hello")}, "code_unavailable"),
    "a list": ({"token": []}, "code_unavailable"),
    "too large": ({"token": {"access_token": "x" * 70_000}}, "code_unavailable"),
    "redirect": (
        {"token": httpx.Response(302, headers={"location": "http://token-server/oauth/userinfo"})},
        "code_unavailable",
    ),
    "no access token": ({"token": {"token_type": "bearer"}}, "code_unavailable"),
    "milliseconds": ({"token": {"access_token": "a", "expires_at": 1.8e12}}, "code_unavailable"),
    "userinfo refused": ({"userinfo": httpx.Response(401)}, "userinfo_refused"),
    "userinfo large": ({"userinfo": {"sub": "7", "x": "x" * 70_000}}, "userinfo_unavailable"),
    "userinfo without an id": ({"userinfo": {"name": "Nobody"}}, "no_user_id"),
    "userinfo with a list for an id": ({"userinfo": {"sub": ["7"]}}, "no_user_id"),
    "userinfo with an empty id": ({"userinfo": {"sub": ""}}, "no_user_id"),
    "userinfo with an endless id": ({"userinfo": {"sub": "7" * 300}}, "no_user_id"),
}
OURS = ("code_misconfigured", "no_user_id")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", FAILURES)
async def test_failed_calls(case: str, dialect: Dialect, caplog: pytest.LogCaptureFixture) -> None:
    """A provider that refuses, fails, lies or babbles gives no session, no 500 and no token in the log; the visitor gets a code."""
    answers, reason = FAILURES[case]
    provider = Misbehaving(**answers)
    async with provider.client() as client, visiting(dialect=dialect, http_client=client) as visitor:
        state = params_of(await visitor.begin())["state"]
        response = await visitor.get(CALLBACK, params={"code": "code", "state": state})

        expected = CHECKS if reason in OURS else REFUSED
        assert (response.status_code, response.headers["location"]) == (302, expected[dialect])
        assert not signed_in(response)
        assert f"({reason})" in caplog.text
        assert not any(word in caplog.text for word in ("access-1", "refresh-1", "xxxx", "Traceback"))
        assert len(provider.requests) == (2 if "userinfo" in case else 1)


async def test_what_is_sent() -> None:
    """The exchange is one form without cookies: JSON wanted, no compression, basic authentication with both parts form-encoded."""
    provider = Misbehaving()
    async with provider.client() as client, visiting(http_client=client) as visitor:
        asked = params_of(await visitor.begin())
        await visitor.get(CALLBACK, params={"code": "c o+d/e", "state": asked["state"]})
        exchange, userinfo = provider.requests

        form = dict(httpx.QueryParams(exchange.content.decode()))
        assert len(form.pop("code_verifier")) >= 43
        assert form == {"grant_type": "authorization_code", "code": "c o+d/e", "redirect_uri": CALLBACK}
        assert exchange.headers["authorization"] == "Basic YXBwOmElM0FzZWNyZXQlMkZ3aXRoKzEwMCUyNQ=="
        assert (exchange.headers["accept"], exchange.headers["accept-encoding"]) == ("application/json", "identity")
        assert "cookie" not in exchange.headers
        assert (userinfo.method, userinfo.headers["authorization"]) == ("GET", "Bearer access-1")


async def test_what_the_application_gets() -> None:
    """sign_in and jwt get user, account and the provider's own profile; sub and providerAccountId are the account's id there."""
    seen: list[Any] = []

    def allow(params: SignInParams) -> bool:
        seen.append((dict(params.user), dict(params.account or {}), dict(params.profile or {}), params.credentials))
        return True

    def jwt(params: JWTParams) -> JWT:
        if params.trigger == "signIn":
            seen.append((dict(params.user or {}), dict(params.account or {}), dict(params.profile or {}), None))
            seen.append(params.token["sub"])
        return params.token

    provider = Misbehaving(userinfo={"sub": 4711, "email": "Ada@Example.COM", "picture": "p.png", "locale": "en"})
    clock, events = Clock(), list[Event]()
    options: dict[str, Any] = {"callbacks": Callbacks(sign_in=allow, jwt=jwt), "events": Events(sign_in=events.append)}
    async with provider.client() as client, visiting(clock=clock, http_client=client, **options) as visitor:
        state = params_of(await visitor.begin())["state"]
        await visitor.get(CALLBACK, params={"code": "code", "state": state})

    account = {
        "provider": "idp",
        "type": "oauth",
        "providerAccountId": "4711",
        "access_token": "access-1",
        "refresh_token": "refresh-1",
        "expires_at": clock() + 60,
        "token_type": "bearer",
    }
    profile = {"sub": 4711, "email": "Ada@Example.COM", "picture": "p.png", "locale": "en"}
    user = {"id": "4711", "email": "ada@example.com", "image": "p.png"}
    assert seen == [(user, account, profile, None), (user, account, profile, None), "4711"]
    assert [event.account for event in events] == [account]


async def test_a_profile_of_the_applications_own() -> None:
    """profile, sync or async, makes the user from the userinfo document and the token set; more keys reach the jwt callback."""

    async def profile(document: Mapping[str, Any], tokens: TokenSet) -> dict[str, Any]:
        return {"id": document["uid"], "name": tokens.extra["team"], "role": "admin"}

    roles: list[Any] = []

    def jwt(params: JWTParams) -> JWT:
        roles.extend([params.user["role"]] if params.user else [])
        return params.token

    token = {"access_token": "a", "team": "Blue"}
    provider = Misbehaving(token=token, userinfo={"uid": 9})
    options: dict[str, Any] = {"providers": [idp(profile=profile)], "callbacks": Callbacks(jwt=jwt)}
    async with provider.client() as client, visiting(http_client=client, **options) as visitor:
        state = params_of(await visitor.begin())["state"]
        await visitor.get(CALLBACK, params={"code": "code", "state": state})

        assert (await visitor.session())["user"] == {"name": "Blue"}
        assert roles == ["admin"]


async def test_no_userinfo_endpoint() -> None:
    """Without a userinfo endpoint the profile function makes the user from the token set alone, and nobody else is asked."""

    def profile(document: Mapping[str, Any], tokens: TokenSet) -> dict[str, Any]:
        return {"id": tokens.extra["user_id"], "name": str(dict(document))}

    provider = Misbehaving(token={"access_token": "a", "user_id": "u1"})
    providers = [idp(userinfo_endpoint=None, profile=profile)]
    async with provider.client() as client, visiting(http_client=client, providers=providers) as visitor:
        state = params_of(await visitor.begin())["state"]
        await visitor.get(CALLBACK, params={"code": "code", "state": state})

        assert (await visitor.session())["user"] == {"name": "{}"}
        assert len(provider.requests) == 1


async def test_a_profile_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A profile function that raises gives no session; its words, which may hold a token, stay out of log and answer."""

    def profile(document: Mapping[str, Any], tokens: TokenSet) -> dict[str, Any]:
        raise LookupError(tokens.access_token)

    provider = Misbehaving()
    async with provider.client() as client, visiting(http_client=client, providers=[idp(profile=profile)]) as visitor:
        state = params_of(await visitor.begin())["state"]
        response = await visitor.get(CALLBACK, params={"code": "code", "state": state})

        assert response.headers["location"] == CHECKS["authjs"]
        assert "LookupError" in caplog.text
        assert "access-1" not in caplog.text


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (False, f"{BASE}/error?error=AccessDenied"),
        ("/wait", "http://testserver/wait"),
        ("https://evil.test", "http://testserver/"),
    ],
)
async def test_sign_in_callback(verdict: bool | str, expected: str) -> None:
    """The sign_in callback refuses, or sends elsewhere, as far as that is ours; no session begins, and the flow is spent."""
    async with visiting(callbacks=Callbacks(sign_in=lambda _: verdict)) as visitor:
        response = await visitor.arrive()

        assert (response.status_code, response.headers["location"]) == (302, expected)
        assert not signed_in(response)
        assert visitor.flows() == []


async def test_a_session_in_place_is_replaced() -> None:
    """A sign-in over another session ends that one as replaced, without revocation: some providers share one grant."""
    server, ended = TokenServer(), list[Event]()
    async with visiting(server, events=Events(session_ended=ended.append)) as visitor:
        await visitor.arrive()
        before = dict(visitor.client.cookies)
        await visitor.arrive()
        after = dict(visitor.client.cookies)
        await visitor.post("signout")
        await until(lambda: "2-0" in server.revoked, seconds=30)

        assert [event.reason for event in ended] == ["replaced", "sign_out"]
        assert after != before
        assert server.revoked == ["2-0"]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_form_post(dialect: Dialect, caplog: pytest.LogCaptureFixture) -> None:
    """response_mode=form_post: the provider's cross-site form, nobody's mistake, is sent on as a GET, which carries cookies again."""
    providers = [idp(authorization_params={"response_mode": "form_post"})]
    async with visiting(dialect=dialect, providers=providers) as visitor:
        back = await visitor.agree(await visitor.begin(callbackUrl="/in"))
        form = {**params_of(back), "csrfToken": "x", "callbackUrl": "https://evil.test"}
        headers = {"origin": "http://token-server", "sec-fetch-site": "cross-site"}
        posted = await visitor.client.post(CALLBACK, data=form, headers=headers)
        onward = posted.headers["location"]
        response = await visitor.get(onward)

        assert (posted.status_code, onward) == (303, f"{CALLBACK}?{onward.partition('?')[2]}")
        assert params_of(onward) == params_of(back)
        assert set_cookies(posted) == {}
        assert response.headers["location"] == "http://testserver/in"
    assert "A POST to an endpoint came from" not in caplog.text


async def test_form_post_by_anybody() -> None:
    """I11: a foreign POST to a provider's callback does nothing but to be sent on, within bounds."""
    async with visiting() as visitor:
        headers = {"origin": "https://evil.test"}
        large = await visitor.client.post(CALLBACK, data={"code": "x" * 70_000}, headers=headers)
        long = await visitor.client.post(CALLBACK, data={"code": "x" * 9_000, "state": "s"}, headers=headers)
        text = await visitor.client.post(CALLBACK, content="code=x", headers={**headers, "content-type": "text/plain"})
        unknown = await visitor.client.post(f"{BASE}/callback/nobody", data={"code": "x"}, headers=headers)

        assert [response.status_code for response in (large, long, text, unknown)] == [413, 303, 415, 403]
        assert long.headers["location"] == CHECKS["authjs"]


async def test_by_script() -> None:
    """A script that fetches the callback gets the URL as JSON, as from the other endpoints."""
    async with visiting() as visitor:
        back = await visitor.agree(await visitor.begin(callbackUrl="/in"))
        response = await visitor.get(back, headers=SCRIPT)

        assert response.json() == {"url": "http://testserver/in"}


@pytest.mark.parametrize("path", ["signin/nobody", "callback/nobody"])
async def test_no_such_provider(path: str) -> None:
    """A provider that there is none leads to the error page."""
    async with visiting() as visitor:
        response = await (visitor.post(path) if path.startswith("signin") else visitor.get(f"/api/auth/{path}"))
        url = response.json()["url"] if response.status_code == 200 else response.headers["location"]

        assert url == f"{BASE}/error?error=Configuration"
