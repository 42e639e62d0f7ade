"""What is asked of both sides. Plain data: a scenario is a list of steps by one browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

Role = Literal["session", "csrf", "callback-url"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request.

    ``{csrf}``, ``{origin}`` and ``{state}`` in strings stand for the browser's CSRF token, the address, and the state of the
    authorization request that it was sent to last.
    ``script``: as the dialect's client asks for JSON in place of a redirect. ``plant`` puts cookies into the jar before.
    """

    method: str = "GET"
    path: str  # under the base path
    form: Mapping[str, str] | None = None
    json: Any = None
    raw: tuple[str, str] | None = None  # content type and body
    script: bool = False
    plant: Mapping[Role, str] = field(default_factory=dict[Role, str])
    forget: tuple[Role, ...] = ()
    recorded: bool = True


@dataclass(frozen=True)
class Scenario:
    """A name, a world of servers.mjs, and steps."""

    name: str
    steps: tuple[Step, ...]
    world: str = "plain"


CSRF = Step(path="csrf", recorded=False)
READ = Step(path="session")


def get(path: str, **more: Any) -> Step:
    return Step(path=path, **more)


def post(path: str, *, script: bool = True, csrf: str = "{csrf}", **form: str) -> Step:
    return Step(method="POST", path=path, form={"csrfToken": csrf, **form}, script=script)


def sign_in(username: str = "ada", *, script: bool = True, password: str = "right", **more: str) -> Step:
    return post("callback/credentials", script=script, username=username, password=password, **more)


def update(data: Any, *, csrf: str = "{csrf}") -> Step:
    return Step(method="POST", path="session", json={"csrfToken": csrf, "data": data})


def hidden(step: Step) -> Step:
    """The same step, of which nothing is recorded."""
    return Step(**{**vars(step), "recorded": False})


def signed_in(username: str = "ada") -> tuple[Step, ...]:
    return (CSRF, hidden(sign_in(username)))


def _methods() -> list[Scenario]:
    actions = ["csrf", "providers", "session", "signin", "signout", "callback/credentials", "error", "verify-request"]
    every = [*actions, "_log", "", "nothing", "session/extra", "callback", "signin/nobody", "callback/nobody"]
    shown = [Scenario(f"GET {action}", (get(action),)) for action in every]
    slash = [Scenario(f"GET {action}/", (get(f"{action}/"),)) for action in ("csrf", "providers", "session", "signin")]
    other = [
        Scenario(f"{method} {action}", (Step(method=method, path=action),))
        for method in ("PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
        for action in ("session", "callback/credentials")
    ]
    posted = [
        Scenario(f"POST {action}", (CSRF, post(action)))
        for action in (
            "csrf",
            "providers",
            "error",
            "nothing",
            "verify-request",
            "signin",
            "signin/credentials",
            "signin/nobody",
        )
    ]
    forms = [
        Scenario(f"POST {action} by a form", (CSRF, post(action, script=False)))
        for action in ("csrf", "signin", "signin/credentials", "signin/nobody", "callback/nobody")
    ]
    return [*shown, *slash, *other, *posted, *forms, Scenario("POST callback/nobody", (CSRF, post("callback/nobody")))]


_OUTCOMES = ("ada", "wrong", "boom", "locked", "refused", "elsewhere", "abroad", "judge", "nobody", "broken")


def _sign_ins() -> list[Scenario]:
    found: list[Scenario] = []
    for script, how in ((True, "by a script"), (False, "by a form")):
        for name in _OUTCOMES:
            step = sign_in(
                name, script=script, password="false" if name == "wrong" else "right", callbackUrl="/home?a=b"
            )
            found.append(Scenario(f"sign-in {how}: {name}", (CSRF, step, READ)))
        bad = sign_in(script=script, csrf="f" * 64)
        found.append(Scenario(f"sign-in {how}: a foreign CSRF token", (CSRF, bad, READ)))
        found.append(Scenario(f"sign-in {how}: no CSRF cookie", (sign_in(script=script, csrf="f" * 64), READ)))
    json = Step(
        method="POST", path="callback/credentials", script=True,
        json={"csrfToken": "{csrf}", "username": "ada", "password": "right", "json": "true"},
    )  # fmt: skip
    again = Scenario("sign-in over a session", (*signed_in(), sign_in("eve"), READ))
    named = sign_in(callbackUrl="/home", redirect="false")
    empty = post("callback/credentials")
    return [
        *found,
        again,
        Scenario("sign-in by JSON", (CSRF, json, READ)),
        Scenario("sign-in with the client's own fields", (CSRF, named)),
        Scenario(
            "sign-in with a question mark behind",
            (CSRF, post("callback/credentials?", username="ada", password="right")),
        ),
        Scenario("sign-in without fields", (CSRF, empty)),
        Scenario("sign-in where the session callback throws", (CSRF, sign_in("unseen"), READ)),
    ]


def _sessions() -> list[Scenario]:
    garbage = {"session": "garbage"}
    return [
        Scenario("session: a garbled cookie", (get("session", plant=garbage),)),
        Scenario("session: an expired cookie", (get("session", plant={"session": "{expired}"}),)),
        Scenario("session: a cookie under another secret", (get("session", plant={"session": "{foreign}"}),)),
        Scenario("session: a cookie sealed elsewhere", (get("session", plant={"session": "{sealed}"}), READ)),
        Scenario("session: read twice", (*signed_in(), READ, READ)),
        Scenario("session: the jwt callback answers null", (*signed_in("gone"), READ, READ)),
        Scenario("session: the jwt callback throws", (*signed_in("failing"), READ)),
        Scenario("session: with a CSRF cookie", (CSRF, READ)),
        Scenario("update: with data", (*signed_in(), update({"theme": "dark"}), READ)),
        Scenario("update: without data", (*signed_in(), Step(method="POST", path="session", json={"csrfToken": "{csrf}"}))),
        Scenario("update: text by a form", (*signed_in(), post("session", script=False, data="light"))),
        Scenario("update: a foreign CSRF token", (*signed_in(), update({"theme": "dark"}, csrf="f" * 64), READ)),
        Scenario("update: signed out", (CSRF, update({"theme": "dark"}))),
        Scenario("update: no body", (*signed_in(), Step(method="POST", path="session"))),
        Scenario("update: not JSON", (*signed_in(), Step(method="POST", path="session", raw=("application/json", "{")))),
        Scenario("update: another type", (*signed_in(), Step(method="POST", path="session", raw=("text/plain", "a")))),
        Scenario("update: the jwt callback answers null", (*signed_in(), update("end"), READ)),
        Scenario("update: the jwt callback throws", (*signed_in(), update("fail"), READ)),
    ]  # fmt: skip


def _sign_outs() -> list[Scenario]:
    found: list[Scenario] = []
    for script, how in ((True, "by a script"), (False, "by a form")):
        found += [
            Scenario(f"sign-out {how}", (*signed_in(), post("signout", script=script, callbackUrl="/bye"), READ)),
            Scenario(f"sign-out {how}: a foreign CSRF token", (*signed_in(), post("signout", script=script, csrf="f" * 64), READ)),
        ]  # fmt: skip
    garbled = (CSRF, Step(**{**vars(post("signout")), "plant": {"session": "garbage"}}))
    return [
        *found,
        Scenario("sign-out: signed out", (CSRF, post("signout"))),
        Scenario("sign-out: a garbled cookie", garbled),
        Scenario("sign-out: the page, signed in", (*signed_in(), get("signout"))),
    ]


def _csrf() -> list[Scenario]:
    planted = "0" * 64
    return [
        Scenario("csrf: the same token again", (get("csrf"), get("csrf"))),
        Scenario("csrf: a cookie with a false hash", (get("csrf", plant={"csrf": f"{planted}%7C{planted}"}),)),
        Scenario("csrf: a cookie that is none", (get("csrf", plant={"csrf": "nonsense"}),)),
        Scenario("csrf: an unencoded bar", (get("csrf", recorded=False), get("csrf", plant={"csrf": "{csrf cookie}"}))),
    ]


def _callback_urls() -> list[Scenario]:
    wanted = {
        "a path": "/deep/page?a=1&b=2#c",
        "two slashes": "//evil.example/x",
        "our own origin": "{origin}/inside",
        "another origin": "https://evil.example/x",
        "a script": "javascript:alert(1)",
        "no URL at all": "not a url",
        "empty": "",
        "unicode": "/straße",
    }
    found: list[Scenario] = []
    for name, url in wanted.items():
        found += [
            Scenario(f"callbackUrl in the body: {name}", (CSRF, sign_in(callbackUrl=url))),
            Scenario(f"callbackUrl in the query: {name}", (get("signin?callbackUrl={quoted}".replace("{quoted}", _quoted(url))),)),
            Scenario(f"callbackUrl in the cookie: {name}", (CSRF, Step(**{**vars(sign_in()), "plant": {"callback-url": _quoted(url)}}))),
        ]  # fmt: skip
    poisoned = get("session", plant={"callback-url": "not%20a%20url"})
    return [
        *found,
        Scenario("callbackUrl: a poisoned cookie and a poll", (poisoned,)),
        Scenario("callbackUrl: remembered for the sign-in", (get("signin?callbackUrl=/deep", recorded=False), CSRF, sign_in())),
        Scenario("callbackUrl: a form's field wins over the cookie", (get("signin?callbackUrl=/a", recorded=False), CSRF, sign_in(callbackUrl="/b"))),
        *(
            Scenario(f"redirect callback: {url}", (CSRF, sign_in(callbackUrl=url)), world="redirect")
            for url in ("/go/there", "/plain", "https://evil.example/x", "/throw")
        ),
        Scenario("redirect callback: at a poll", (get("session", plant={"callback-url": "%2Fgo%2Fx"}),), world="redirect"),
    ]  # fmt: skip


def _quoted(url: str) -> str:
    return quote(url, safe="{}")


_CODES = (
    "Configuration", "AccessDenied", "Verification", "Default", "CredentialsSignin", "SessionRequired", "OAuthSignin", "OAuthCallback",
    "OAuthAccountNotLinked", "Callback", "MissingCSRF", "OAuthCallbackError", "accessdenied", "Nonsense",
)  # fmt: skip


def _pages() -> list[Scenario]:
    found = [Scenario(f"error page: {code}", (get(f"error?error={code}"),)) for code in _CODES]
    found += [Scenario(f"sign-in page: {code}", (get(f"signin?error={code}"),)) for code in _CODES[4:6]]
    found.append(Scenario("sign-in page: csrf=true", (get("signin?csrf=true"),)))
    world = "pages"
    own = [
        Scenario(f"own pages: GET {path}", (get(path),), world=world)
        for path in (
            "signin", "signin?callbackUrl=/deep", "signin?error=CredentialsSignin", "signout", "error", "error?error=AccessDenied",
            "error?error=CredentialsSignin", "verify-request", "verify-request?provider=mail&type=email",
        )
    ]  # fmt: skip
    fails = [
        Scenario(f"own pages: sign-in {name}", (CSRF, sign_in(name, password="false" if name == "wrong" else "right")), world=world)
        for name in ("ada", "wrong", "boom", "locked", "refused", "elsewhere")
    ]  # fmt: skip
    bad = [
        Scenario("own pages: sign-in with a foreign CSRF token", (CSRF, sign_in(csrf="f" * 64)), world=world),
        Scenario("own pages: sign-out with a foreign CSRF token", (CSRF, post("signout", csrf="f" * 64)), world=world),
        Scenario("own pages: sign-out", (*signed_in(), post("signout", callbackUrl="/bye")), world=world),
        Scenario("own pages: POST signin", (CSRF, post("signin")), world=world),
    ]
    return [*found, *own, *fails, *bad]


def _https() -> list[Scenario]:
    steps = (get("csrf"), sign_in(callbackUrl="/home"), READ, post("signout", callbackUrl="/bye"))
    return [
        Scenario("https: the whole way", steps, world="https"),
        Scenario("https: providers", (get("providers"),), world="https"),
    ]


def _oauth() -> list[Scenario]:
    begin = (CSRF, hidden(post("signin/hub", callbackUrl="/home")))
    found = {
        "providers": (get("providers"),),
        "the sign-in page": (get("signin"),),
        "begun by a script": (CSRF, post("signin/hub", callbackUrl="/home")),
        "begun by a form": (CSRF, post("signin/hub", script=False)),
        "begun with more parameters": (CSRF, post("signin/hub?prompt=login&hint=ada")),
        "begun with a foreign CSRF token": (CSRF, post("signin/hub", csrf="f" * 64)),
        "nobody knows it": (CSRF, post("signin/github")),
        "sign-in": (*begin, get("callback/hub?code=ada&state={state}"), READ),
        "sign-in twice by one state": (
            *begin, hidden(get("callback/hub?code=ada&state={state}")), get("callback/hub?code=ada&state={state}"), READ,
        ),
        "the user says no": (*begin, get("callback/hub?error=access_denied&state={state}"), READ),
        "without cookies": (get("callback/hub?code=ada&state=anything"), READ),
        "another state": (*begin, get("callback/hub?code=ada&state=another")),
        "no state": (*begin, get("callback/hub?code=ada")),
        "no code": (*begin, get("callback/hub?state={state}")),
        "a bad code": (*begin, get("callback/hub?code=bad&state={state}"), READ),
        "sent by a form": (
            *begin, Step(method="POST", path="callback/hub", form={"code": "ada", "state": "{state}"}),
        ),
        "POST callback without an answer": (Step(method="POST", path="callback/hub"),),
        **{
            f"sign-in: {name}": (*begin, get(f"callback/hub?code={name}&state={{state}}"), READ)
            for name in ("refused", "elsewhere", "judge", "nobody", "broken")
        },
    }  # fmt: skip
    return [Scenario(f"oauth: {name}", steps, world="oauth") for name, steps in found.items()]


def _log() -> list[Scenario]:
    beacon = {
        "level": "error",
        "code": "CLIENT_FETCH_ERROR",
        "client": "true",
        "message": "m",
        "error": "[object Object]",
    }
    return [
        Scenario("_log: what v4's client sends", (Step(method="POST", path="_log", form=beacon),)),
        Scenario("_log: JSON", (Step(method="POST", path="_log", json=beacon),)),
        Scenario("_log: nothing", (Step(method="POST", path="_log"),)),
    ]


SCENARIOS: tuple[Scenario, ...] = (
    *_methods(), *_sign_ins(), *_sessions(), *_sign_outs(), *_csrf(), *_callback_urls(), *_pages(), *_https(), *_oauth(), *_log(),
)  # fmt: skip
