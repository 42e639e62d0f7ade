from __future__ import annotations

import pytest

from asgi_token_rotation import Credentials
from asgi_token_rotation.testing import Clock
from asgi_token_rotation.types import Dialect
from endpoints.browser import SECRET, authorize, browsing, set_cookies
from endpoints.idp import BASE, CALLBACK, SERVER, idp, params_of, visiting

DIALECTS = ["authjs", "nextauth-v4"]
STEMS = {"authjs": "authjs", "nextauth-v4": "next-auth"}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("script", [True, False])
async def test_the_whole_way(dialect: Dialect, script: bool) -> None:
    """A visitor is sent to the provider, comes back with a code, and is signed in where he wanted to go, in either dialect."""
    async with visiting(dialect=dialect, providers=[idp(scopes=["read", "write"])]) as visitor:
        begun = await visitor.post("signin/idp", script=script, callbackUrl="/dash?a=1")
        url = begun.json()["url"] if script else begun.headers["location"]
        asked = params_of(url)
        response = await visitor.get(await visitor.agree(url))

        assert begun.status_code == (200 if script else 302)
        assert url.startswith(f"{SERVER}/oauth/authorize?")
        assert asked.pop("state")
        assert len(asked.pop("code_challenge")) == 43
        assert asked == {
            "response_type": "code",
            "client_id": "app",
            "redirect_uri": CALLBACK,
            "code_challenge_method": "S256",
            "scope": "read write",
        }
        assert (response.status_code, response.headers["location"]) == (302, "http://testserver/dash?a=1")
        assert f"{STEMS[dialect]}.session-token" in set_cookies(response)
        assert (await visitor.session())["user"] == {"name": "Ada", "email": "ada@example.com"}
        assert visitor.flows() == []


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_the_checks_cookie_looks_like(dialect: Dialect) -> None:
    """Each flow has a cookie of its own: sealed, HttpOnly, Lax, for 900 seconds and the endpoints only, named as Auth.js's state."""
    async with visiting(dialect=dialect) as visitor:
        begun = await visitor.post("signin/idp")
        asked = params_of(begun.json()["url"])
        name, line = next((name, line) for name, line in set_cookies(begun).items() if ".state." in name)

        assert name == f"{STEMS[dialect]}.state.{asked['state'][:16]}"
        assert line.endswith("; Max-Age=900; Path=/api/auth; HttpOnly; SameSite=Lax")
        assert asked["state"][17:] not in line
        assert "no-store" in begun.headers["cache-control"]


async def test_a_secure_checks_cookie() -> None:
    """On https the cookie is Secure and has Auth.js's prefix, its path follows public_url, and so does the redirect URI."""
    async with visiting(public_url="https://example.com/app", at="https://example.com") as visitor:
        begun = await visitor.post("signin/idp")
        line = next(line for name, line in set_cookies(begun).items() if name.startswith("__Secure-authjs.state."))

        assert "; Path=/app/api/auth; HttpOnly; Secure; SameSite=Lax" in line
        assert params_of(begun.json()["url"])["redirect_uri"] == "https://example.com/app/api/auth/callback/idp"


async def test_several_tabs() -> None:
    """Several tabs sign in at once, and each comes back to its own place, in whatever order."""
    async with visiting() as visitor:
        urls = [await visitor.begin(callbackUrl=f"/tab/{number}") for number in range(3)]
        back = [await visitor.agree(url) for url in urls]
        responses = [await visitor.get(back[number]) for number in (2, 0, 1)]

        assert [response.headers["location"] for response in responses] == [
            f"http://testserver/tab/{number}" for number in (2, 0, 1)
        ]


async def test_bounded_flows() -> None:
    """A browser holds five flows at most; the oldest one is dropped, and comes back to the error page."""
    clock = Clock()
    async with visiting(clock=clock) as visitor:
        urls: list[str] = []
        for _ in range(7):
            urls.append(await visitor.begin())
            clock.advance(1)
        flows = visitor.flows()
        oldest = await visitor.get(await visitor.agree(urls[1]))
        youngest = await visitor.get(await visitor.agree(urls[2]))

        assert flows == [f"authjs.state.{params_of(url)['state'][:16]}" for url in urls[2:]]
        assert oldest.headers["location"] == f"{BASE}/error?error=Configuration"
        assert youngest.headers["location"] == "http://testserver/"


async def test_bounded_drops() -> None:
    """I10: of a flood of planted flows a sign-in drops the oldest twenty, and not each with a header of its own."""
    async with visiting() as visitor:
        csrf_token = await visitor.csrf()
        jar = "; ".join(f"{name}={value}" for name, value in visitor.client.cookies.items())
        flood = "; ".join(f"authjs.state.{number:016x}=" for number in range(1500))
        response = await visitor.client.post(
            "/api/auth/signin/idp", data={"csrfToken": csrf_token}, headers={"cookie": f"{jar}; {flood}"}
        )
        dropped = [name for name, line in set_cookies(response).items() if "Max-Age=0" in line]

        assert sorted(dropped) == [f"authjs.state.{number:016x}" for number in range(20)]
        assert response.headers["location"].startswith(f"{SERVER}/oauth/authorize?")


async def test_bounded_bytes() -> None:
    """The flows' cookies stay under 4 KiB together, whatever their callback URLs are."""
    clock = Clock()
    async with visiting(clock=clock) as visitor:
        for number in range(5):
            await visitor.begin(callbackUrl=f"/{number}?" + "x" * 1200)
            clock.advance(1)

        cookies = {name: value for name, value in visitor.client.cookies.items() if ".state." in name}
        assert 1 <= len(cookies) < 5
        assert sum(len(name) + len(value) for name, value in cookies.items()) <= 4096
        assert (await visitor.arrive(callbackUrl="/" + "x" * 2000)).headers["location"].endswith("x" * 2000)


async def test_extra_parameters() -> None:
    """A form's query adds to the authorization request, and never changes what the protocol or the application's scopes set."""
    extra = (
        "prompt=login&login_hint=ada&client_id=evil&redirect_uri=http://evil.test&response_type=token&state=s&nonce=n&code_challenge=c"
        "&code_challenge_method=plain&scope=admin&authorization_details=x&request=r&request_uri=u&response_mode=fragment&client_secret=s"
        "&callbackUrl=/x&csrfToken=t&json=true&a%0Ab=c&line=a%0Ab&long=" + "x" * 600
    )
    async with visiting(
        providers=[idp(scopes=["read"], authorization_params={"prompt": "consent", "access_type": "offline"})]
    ) as visitor:
        plain, asked = params_of(await visitor.begin()), params_of(await visitor.begin(query=f"?{extra}"))

        assert {name: value for name, value in asked.items() if plain.get(name) != value}.keys() == {
            "prompt", "login_hint", "state", "code_challenge",
        }  # fmt: skip
        assert (asked["prompt"], plain["prompt"]) == ("login", "consent")
        assert (asked["scope"], asked["access_type"]) == ("read", "offline")
        assert asked["code_challenge"] != "c"
        assert asked["state"] != "s"


async def test_scope_by_query() -> None:
    """query_may_set_scope lets a form ask for another scope (step-up), and v5's trailing question mark changes nothing."""
    async with visiting(providers=[idp(scopes=["read"], query_may_set_scope=True)]) as visitor:
        assert params_of(await visitor.begin(query="?scope=read+write"))["scope"] == "read write"
        assert params_of(await visitor.begin(query="?"))["scope"] == "read"


async def test_no_csrf_token() -> None:
    """Without a CSRF token nobody is sent to a provider."""
    async with visiting() as visitor:
        response = await visitor.client.post("/api/auth/signin/idp", data={"csrfToken": "0" * 64})

        assert response.headers["location"] == f"{BASE}/signin?error=MissingCSRF"
        assert visitor.flows() == []


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_where_it_leads(dialect: Dialect) -> None:
    """A flow's callbackUrl is held to our own and trusted origins, at its beginning and for its end."""
    async with visiting(dialect=dialect) as visitor:
        evil = await visitor.arrive(callbackUrl="https://evil.test/")
        worse = await visitor.get(await visitor.agree(await visitor.begin()) + "&callbackUrl=https://evil.test/")

        assert evil.headers["location"] == "http://testserver/"
        assert worse.headers["location"] == "http://testserver/"


async def test_listed_with_its_type() -> None:
    """GET providers lists it with type oauth and its absolute URLs."""
    async with visiting() as visitor:
        assert (await visitor.get("/api/auth/providers")).json() == {
            "idp": {
                "id": "idp",
                "name": "Example",
                "type": "oauth",
                "signinUrl": f"{BASE}/signin/idp",
                "callbackUrl": CALLBACK,
            }
        }


async def test_a_public_client() -> None:
    """Without a secret the client is public: its id in the form, no Authorization header, PKCE all the same."""
    async with visiting(providers=[idp(client_id="public", client_secret=None)]) as visitor:
        assert (await visitor.arrive(callbackUrl="/in")).headers["location"] == "http://testserver/in"


async def test_a_client_that_posts_its_secret() -> None:
    """client_secret_post sends both parts in the form."""
    async with visiting(providers=[idp(token_endpoint_auth_method="client_secret_post")]) as visitor:
        assert (await visitor.arrive(callbackUrl="/in")).headers["location"] == "http://testserver/in"


async def test_the_built_in_page() -> None:
    """The sign-in page has a button for each provider, which works as it stands; its policy lets the form lead to providers."""
    providers = [
        Credentials(authorize=authorize),
        idp(),
        idp(id="b", name="<B>", authorization_endpoint="https://b.example/go"),
    ]
    async with visiting(providers=providers) as visitor:
        page = await visitor.get("/api/auth/signin", params={"callbackUrl": "/wanted"})
        policy = page.headers["content-security-policy"]
        token = await visitor.csrf()
        form = {"csrfToken": token, "callbackUrl": "http://testserver/wanted"}
        begun = await visitor.client.post("/api/auth/signin/idp", data=form)
        response = await visitor.get(await visitor.agree(begun.headers["location"]))

        assert "form-action 'self' https: http://token-server;" in policy
        assert page.text.count('<form method="post" action="/api/auth/') == 3
        assert '<form method="post" action="/api/auth/signin/idp"><input type="hidden" name="csrfToken"' in page.text
        assert "Sign in with Example</button>" in page.text
        assert "Sign in with &lt;B&gt;</button>" in page.text
        assert "Sign in with Credentials</button>" in page.text
        assert response.headers["location"] == "http://testserver/wanted"


async def test_a_lone_provider() -> None:
    """A lone provider's button names it, since it leads away; without such a provider the policy stays as narrow as it was."""
    async with visiting() as visitor:
        assert "Sign in with Example</button>" in (await visitor.get("/api/auth/signin")).text
    async with browsing() as browser:
        page = await browser.get("/api/auth/signin")
        assert "form-action 'self';" in page.headers["content-security-policy"]
        assert ">Sign in</button>" in page.text


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_another_worker_answers(dialect: Dialect) -> None:
    """C7: a flow that was begun under the old secret ends at a worker that has the new one in front, and an unknown one opens nothing."""
    async with visiting(dialect=dialect) as first:
        back = await first.agree(await first.begin(callbackUrl="/in"))
        for secrets, expected in (
            (["another secret that is long enough for all"], f"{BASE}/error?error="),
            (["a newer secret that is long enough for all", SECRET], "http://testserver/in"),
        ):
            async with visiting(dialect=dialect, secret=secrets, http_client=first.provider) as second:
                for cookie in first.client.cookies.jar:
                    second.client.cookies.jar.set_cookie(cookie)
                response = await second.get(back)

                assert response.headers["location"].startswith(expected)
