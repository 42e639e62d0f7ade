"""Where we answer otherwise than the real servers, and why. Nothing else may differ, and all of this must."""

from __future__ import annotations

import re

from contract.compare import Difference
from contract.pairs import (
    absolute,
    goes_on,
    instead,
    one_poll,
    own_words,
    read_first,
    same_place,
    sign_in_shown,
    threw,
    with_absolute,
    with_place,
    without_session,
)

_LIKE = re.compile
_CALLBACK = "cookie *callback-url"
_CSRF = "cookie *csrf-token"
_SESSION = "cookie *session-token"
_BAD_CALLBACK_URL = (
    "callbackUrl*: a script",
    "callbackUrl*: no URL at all",
    "callbackUrl: a poisoned cookie*",
    "redirect callback: /throw",
)
_THROWS = "session: the jwt callback throws"
_UNSEEN = "sign-in where the session callback throws"
_VERIFY = "*GET verify-request*"

_CACHES = (
    Difference(
        field="cache-control", theirs=None, ours="private, no-store",
        reason="Every answer here belongs to one visitor and may set a cookie, so no cache may keep it."),
)  # fmt: skip

_COOKIES = (
    Difference(
        field=_SESSION, theirs=_LIKE(r"<jwe>; for 720 h; .*"), ours=None,
        scenario=(
            "sign-in*: ada", "sign-in over*", "sign-in by JSON", "session: *", "update: *", "sign-out*",
            "https: the whole way", "oauth: sign-in*",
        ),
        reason="A poll writes the session cookie only when something changed: else the last of two answers would win (INV 1)."),
    Difference(
        field="body.expires", scenario="session: a cookie sealed elsewhere", theirs="<in 720 h>", ours="<in 24 h>",
        reason="The cookie was not sealed anew by the poll, so it says its own end."),
    Difference(
        field=_SESSION, theirs=_LIKE("nothing; cleared; .*"), ours=None,
        scenario=(
            "session: a garbled*", "session: an expired*", "session: a cookie under*", "sign-out: a garbled cookie",
        ),
        reason="A cookie that does not open stays: a node without the newer secret must sign nobody out."),
    Difference(
        field=_CALLBACK, pair=same_place,
        reason="The cookie holds the same place in the form that browsers give it, a slash behind the origin."),
    Difference(
        field=_CALLBACK, theirs=None, ours=_LIKE(".*"),
        scenario=(
            "GET callback/*", "GET signin/*", "sign-in by*", "own pages: sign-in*", "redirect callback: https:*",
            *_BAD_CALLBACK_URL,
        ),
        reason="An answer that tells of a failure carries the cookie of the place to come back to, too."),
    Difference(
        field=_CALLBACK, theirs=_LIKE(".*"), ours=None,
        scenario=(_VERIFY, "GET session/extra", "sign-in by *: no CSRF cookie"), dialect=None,
        reason="There is no such endpoint here; and a POST without a good CSRF token sets no cookie."),
    Difference(
        field=_CSRF, theirs=_LIKE("<hex>.*"), ours=None,
        reason="A new CSRF token comes only with an answer whose reader can use it: csrf, session, and the pages with forms."),
    Difference(
        field=_CSRF, theirs=None, ours=_LIKE("<hex>.*"),
        scenario=("sign-in by *: no CSRF cookie", "GET signin/nobody", *_BAD_CALLBACK_URL),
        reason="The answer before, or theirs, was a failure; here it is a page with a form, or the first that needs a token."),
)  # fmt: skip

_URLS = (
    Difference(
        field=("body.url", "location"), pair=same_place,
        reason="The same URL in the form that browsers give it."),
    Difference(
        field=("body.url", "location"), pair=absolute,
        reason="Addresses are absolute: both clients parse the url of an answer, and a relative one throws there."),
    Difference(
        field="location", dialect="authjs", theirs=_LIKE("https?:ORIGIN.*"), ours=None,
        scenario=(
            "sign-in*", "sign-out*", "callbackUrl*", "redirect callback*", "own pages: *", "POST signin*",
            "https: the whole way",
        ),
        reason="v5's JSON answers with status 200 also carry a Location, which no client reads."),
    Difference(
        field=("body.url", _CALLBACK), scenario="callbackUrl*: two slashes", ours=_LIKE("http(:|%3a)ORIGIN(/|%2f).*"),
        reason="Two slashes name another host to a browser, so this goes home, not to a place with that name."),
    Difference(
        field=_CALLBACK, scenario="callbackUrl in the body: two slashes", ours=None,
        reason="Home is where the cookie leads already."),
    Difference(
        field=("body.url", "location"), scenario="sign-in by *: abroad", theirs="https://evil.example/x",
        ours="http:ORIGIN/", dialect="nextauth-v4",
        reason="What the sign_in callback answers is held to our own and trusted origins (INV 12)."),
    Difference(
        field="location", scenario="own pages: GET error", theirs="/trouble?error=undefined",
        ours="http:ORIGIN/trouble",
        reason="A code that is not there is left out."),
)  # fmt: skip

_BAD_URLS = (
    Difference(
        field=(
            "status", "body", "body.message", "body.url", "content-type", "calls", "forms", _SESSION, _CALLBACK,
            _CSRF, "location", "cache-control", "pragma", "expires",
        ),
        scenario=_BAD_CALLBACK_URL, status=200,
        reason="A place that is none, or a redirect callback that throws, counts as absent; a planted cookie breaks all of theirs."),
)  # fmt: skip

_FAILED_SIGN_INS = (
    Difference(
        field="status", dialect="authjs", theirs=200, ours=401,
        scenario=("sign-in by a script: *", "sign-in without fields", "own pages: sign-in *"),
        reason="A failed sign-in is 401 in both dialects; both clients read the error from the url."),
    Difference(
        field="status", theirs=200, ours=403,
        scenario=("sign-in by a script: refused", "sign-in by a script: judge", "own pages: sign-in refused"),
        reason="A refused sign-in is 403 in both dialects; both clients read the error from the url."),
    Difference(
        field=("body.url", "location"), dialect="nextauth-v4",
        scenario=("sign-in by *: boom", "own pages: sign-in boom"), theirs=_LIKE(".*table%20of%20users.*"),
        ours="http:ORIGIN/api/auth/error?error=Configuration",
        reason="v4 shows the exception's own words to everybody."),
    Difference(
        field=("body.url", "location"), dialect="nextauth-v4", scenario="sign-in by *: judge",
        theirs=_LIKE(".*no%20verdict.*"), ours="http:ORIGIN/api/auth/error?error=AccessDenied",
        reason="v4 shows the exception's own words to everybody."),
    Difference(
        field=("status", "body", "body.url", "content-type", _CALLBACK), dialect="nextauth-v4",
        scenario=("sign-in by a script: nobody", "sign-in by a script: broken"), status=200,
        reason="In v4 a jwt callback that answers null or throws at the sign-in is a 500; here as in v5."),
    Difference(
        field=("status", "body", "location", _CALLBACK), dialect="nextauth-v4",
        scenario=("sign-in by a form: nobody", "sign-in by a form: broken"), status=302,
        reason="Likewise by a form."),
    Difference(
        field="calls", dialect="authjs", scenario="sign-in by *: nobody",
        pair=lambda theirs, ours: theirs == [*ours, "event signIn nobody"],
        reason="Nobody was signed in, so the event is not told."),
    Difference(
        field=("body.url", "calls", _SESSION), scenario=_UNSEEN,
        reason="A session callback that throws fails the sign-in; theirs signs in and clears the cookie at the first poll."),
)  # fmt: skip

_CALLS = (
    Difference(
        field="calls", pair=sign_in_shown,
        reason="The session is made at the sign-in, so that the application's own login route can answer it."),
    Difference(
        field="calls", scenario="update: *", pair=read_first,
        reason="The jwt callback runs at every request, and then once more for the update."),
    Difference(
        field="calls", dialect="nextauth-v4",
        scenario=("session: the jwt callback answers null", "update: the jwt callback answers null"),
        pair=lambda theirs, ours: without_session(theirs) == without_session(ours)[-1:],
        reason="v4 asks the session callback about a token that is null."),
)  # fmt: skip

_SESSIONS = (
    Difference(
        field=("status", "content-type", "cache-control", "pragma", "expires", "body", _SESSION), scenario=_THROWS,
        status=500,
        reason="An exception of the application's callback is the application's: a 500, and the cookie stays. Theirs signs out for good."),
    Difference(
        field=("body", "body.user.name", "body.user.email", "body.expires", "cache-control", "pragma", "expires"),
        scenario=("session: the jwt callback answers null", "update: the jwt callback answers null"),
        reason="null from the jwt callback ends the session; v4 still shows it once."),
    Difference(
        field=(
            "status", "body", "body.error", "body.message", "body.user.name", "body.user.email", "body.expires",
            "calls", _SESSION,
        ),
        scenario="update: the jwt callback throws", status=400,
        reason="The data is the client's: what it breaks is a 400, and the session stays. Theirs signs out."),
    Difference(
        field=("body", "body.error", "body.message"), scenario=("update: a foreign CSRF token", "update: no body"),
        reason="400 with an object: null breaks v5's client, and {} says nothing."),
    Difference(
        field=("status", "body", "body.error", "body.message", "content-type"),
        scenario=("update: not JSON", "update: another type"), status=415,
        reason="A body that can't be read is refused in words: 400, or 415 for another type."),
)  # fmt: skip

_ACTIONS = (
    Difference(
        field=("content-type", "body"), scenario="HEAD *",
        reason="An answer to HEAD has no body, and says no type of one."),
    Difference(
        field="content-type", dialect="nextauth-v4", theirs=None, ours="text/plain",
        reason="The sentence holds the client's method, so it is plain text; theirs leaves the type to Next.js."),
    Difference(
        field="content-type", dialect="nextauth-v4", theirs="text/html", ours="text/plain",
        reason="The sentence holds the client's method, so it is plain text."),
    Difference(
        field=("status", "content-type", "body", "body.url", "location"), dialect="authjs",
        scenario=("POST csrf*", "POST providers", "POST error", "POST verify-request", "GET callback"), status=400,
        reason="A method that an endpoint has not is 400, as for any other; v5 leads to the error page."),
    Difference(
        field=("status", "location", "content-type", "forms"), dialect="authjs", scenario="GET signin/nobody",
        status=200,
        reason="One sign-in page for all, as in v4; v5 leads to the error page."),
    Difference(
        field=("status", "content-type", "body", "body.message"), dialect="nextauth-v4",
        scenario=("GET ", "GET session/extra"), status=400,
        reason="No action is 400 and not 500; and a path with more segments than an action has is none."),
    Difference(
        field=("pragma", "expires", "cache-control"), dialect="nextauth-v4", scenario="GET session/extra",
        reason="Likewise."),
    Difference(
        field=("status", "location", "content-type", "body", _CALLBACK), dialect="nextauth-v4",
        scenario="GET callback/credentials", status=302,
        reason="Nothing that a client sends is a 500: this leads to the error page, as in v5."),
    Difference(
        field=("body.url", "location"), dialect="nextauth-v4", theirs="http:ORIGIN/api/auth/signin?csrf=true",
        scenario=("POST signin*", "own pages: POST signin"),
        reason="The CSRF token was good: without a provider this is the sign-in page, and with one that there is not, an error."),
    Difference(
        field=("status", "location", "content-type", "body", _CALLBACK, _CSRF), scenario=_VERIFY, status=400,
        reason="There are no sign-in links by e-mail here, so nothing leads to that page."),
)  # fmt: skip

_PAGES = (
    Difference(
        field="forms",
        pair=lambda theirs, ours: theirs is not None and ours == [with_place(form) for form in theirs],
        reason="The form holds the place to come back to: the cookie may be another tab's."),
    Difference(
        field="status", scenario="error page: Configuration", theirs=500, ours=400,
        reason="Nothing that a client sends is a 500: who types that address must raise no alarm."),
    Difference(
        field="status", scenario="error page: accessdenied", theirs=200, ours=403, dialect="authjs",
        reason="Codes are read without regard to case, as in v4."),
)  # fmt: skip

_FLOW = "cookie *.state.<flow>"
_CHECKS = ("cookie *.state", "cookie *.pkce.code_verifier")

_OAUTH = (
    Difference(
        field=_CHECKS, scenario="oauth: *", theirs=_LIKE("<jwe>; for 15 min; .*|nothing; cleared; .*"), ours=None,
        reason="State and verifier of a sign-in under way are in one cookie; theirs are in two, which the next tab's sign-in overwrites."),
    Difference(
        field=_FLOW, scenario="oauth: begun*", theirs=None,
        ours="<jwe>; for 15 min; httponly; path=/api/auth; samesite=lax",
        reason="That cookie, for the endpoints only."),
    Difference(
        field=_FLOW, scenario="oauth: *", theirs=None,
        ours="nothing; cleared; httponly; path=/api/auth; samesite=lax",
        reason="Whatever came of it, the sign-in is spent."),
    Difference(
        field="location", dialect="authjs", scenario="oauth: begun*", theirs=_LIKE("https://hub.example/authorize.*"),
        ours=None,
        reason="v5's JSON answers with status 200 also carry a Location, which no client reads."),
    Difference(
        field=("body.accessTokenExpires", "body.refreshAt"), scenario="oauth: sign-in*", theirs=None,
        ours="<in 60 min>",
        reason="The session says when its access token ends, and when to come back."),
    Difference(
        field="location", dialect="authjs", scenario=("oauth: no code", "oauth: a bad code"),
        theirs="http:ORIGIN/api/auth/error?error=Configuration",
        ours="http:ORIGIN/api/auth/signin?error=OAuthCallbackError",
        reason="What the provider refuses is a failed sign-in and no fault of the set-up."),
    Difference(
        field=("status", "location", "calls", _SESSION, _CALLBACK),
        scenario=("oauth: sent by a form", "oauth: POST callback*"), status=303,
        reason="A provider's form comes from elsewhere, without the cookies: the same answer once more, by GET."),
    Difference(
        field=_CALLBACK, scenario="oauth: without cookies",
        reason="An answer that tells of a failure carries the cookie of the place to come back to, so the next one need not."),
    Difference(
        field=_CSRF, dialect="nextauth-v4", scenario="oauth: without cookies", theirs=None, ours=_LIKE("<hex>.*"),
        reason="The CSRF token comes with the first answer whose reader can use it."),
    Difference(
        field="calls", dialect="authjs", scenario="oauth: sign-in: nobody",
        pair=lambda theirs, ours: theirs == [*ours, "event signIn nobody"],
        reason="Nobody was signed in, so the event is not told."),
    Difference(
        field="body.url", dialect="nextauth-v4", scenario="oauth: nobody knows it",
        theirs="http:ORIGIN/api/auth/signin?csrf=true", ours="http:ORIGIN/api/auth/error?error=Configuration",
        reason="The CSRF token was good: a provider that there is not is an error, as in v5."),
    Difference(
        field="location", dialect="nextauth-v4", scenario="oauth: sign-in: judge", theirs=_LIKE(".*no%20verdict.*"),
        ours="http:ORIGIN/api/auth/error?error=AccessDenied",
        reason="v4 shows the exception's own words to everybody."),
    Difference(
        field="location", dialect="nextauth-v4", scenario=("oauth: sign-in: nobody", "oauth: sign-in: broken"),
        theirs="http:ORIGIN/api/auth/error?error=Callback",
        ours=_LIKE("http:ORIGIN/(home|api/auth/error.error=Configuration)"),
        reason="A jwt callback that answers null or throws at the sign-in does what it does in v5."),
)  # fmt: skip

SERVERS: tuple[Difference, ...] = (
    *_CACHES, *_COOKIES, *_URLS, *_BAD_URLS, *_FAILED_SIGN_INS, *_CALLS, *_SESSIONS, *_ACTIONS, *_PAGES, *_OAUTH,
)  # fmt: skip


_FAILED = ("signIn: quietly, wrong", "signIn: quietly, locked", "signIn: quietly, refused", "signIn: quietly, judge")
_ENDED = ("mount: the jwt callback ends the session", "update: the jwt callback ends the session")
_V4_FAILS = ("signIn: quietly, elsewhere", "signIn: quietly, nobody")

CLIENTS: tuple[Difference, ...] = (
    Difference(
        field=("result.status", "result.ok"), scenario=_FAILED,
        pair=lambda theirs, ours: (theirs, ours) in ((200, 401), (200, 403), (True, False)),
        reason="A failed sign-in is no success: the status is 401 or 403, in both dialects."),
    Difference(
        field="requests", scenario=_FAILED, pair=one_poll(fewer=True),
        reason="After such a status the client does not read the session again."),
    Difference(
        field="answers", scenario=(*_FAILED, "signIn: wrong"), dialect="authjs",
        pair=instead(r"200 (\{.*error=(CredentialsSignin|AccessDenied).*\})", r"40[13] (\{.*error=(CredentialsSignin|AccessDenied).*\})"),
        reason="The same url, with that status."),
    Difference(
        field=("answers", "result.error"), scenario=("signIn: quietly, boom", "signIn: quietly, judge"),
        dialect="nextauth-v4",
        pair=own_words,
        reason="v4 shows the exception's own words to everybody."),
    Difference(
        field="answers", scenario=("signIn: quietly, abroad", "signIn: to another site"),
        pair=instead(r'200 \{"url":"(http:ORIGIN|https://evil.example/x)"\}', r'200 \{"url":"http:ORIGIN/"\}'),
        reason="Nothing leads to another site; and the origin has the slash that browsers give it."),
    Difference(
        field="result.url", scenario="signIn: quietly, abroad", ours="http:ORIGIN/",
        reason="Likewise, as the client says it."),
    Difference(
        field="navigations", scenario="signIn: to another site",
        pair=lambda theirs, ours: (theirs, ours) == (["to http:ORIGIN"], ["to http:ORIGIN/"]),
        reason="Likewise, as the browser goes there."),
    Difference(
        field=("result", "result.status", "result.ok", "result.url"), scenario=_V4_FAILS, dialect="nextauth-v4",
        pair=threw,
        reason="v4's client throws at a relative url, and at a 500 where the jwt callback answers null; here it gets an absolute one."),
    Difference(
        field="requests", scenario=_V4_FAILS, dialect="nextauth-v4", pair=one_poll(fewer=False),
        reason="So it goes on to read the session."),
    Difference(
        field="answers", scenario=_V4_FAILS, dialect="nextauth-v4",
        pair=with_absolute,
        reason="With the absolute url."),
    Difference(
        field="answers", scenario="mount: the jwt callback throws",
        pair=lambda theirs, ours: {*theirs} <= {"200 null", "200 {}"} and {*ours} == {"500 Internal Server Error"},
        reason="An exception of the application's callback is the application's: a 500, and the cookie stays. The hook says the same."),
    Difference(
        field="beacons", dialect="nextauth-v4",
        scenario=("mount: the jwt callback throws", "update: the jwt callback throws"), theirs=None,
        pair=lambda theirs, ours: ours == ["/api/auth/_log error CLIENT_FETCH_ERROR: 200"],
        reason="v4's client reports it."),
    Difference(
        field="answers", scenario="update: the jwt callback throws",
        pair=instead(r"200 (null|\{\})", r'400 \{"error":"UpdateFailed",.*\}'),
        reason="The data is the client's: what it breaks is a 400, and the session stays. Theirs signs out."),
    Difference(
        field="answers", scenario="update: with a lost CSRF cookie",
        pair=instead(r"400 (null|\{\})", r'400 \{"error":"MissingCSRF",.*\}'),
        reason="400 with an object."),
    Difference(
        field="result", scenario="update: with a lost CSRF cookie", dialect="authjs", theirs="TypeError is thrown",
        ours=None,
        reason="null there makes v5's client throw."),
    Difference(
        field="states", scenario="update: with a lost CSRF cookie", dialect="authjs",
        pair=goes_on,
        reason="And then its hook stays at loading; here it goes on."),
    Difference(
        field=("answers", "states"), scenario=_ENDED, dialect="nextauth-v4",
        pair=instead(r'(200 \{"user".*|\["authenticated",.*)', r'(200 \{\}|\["unauthenticated",null\])'),
        reason="null from the jwt callback ends the session; v4 still shows it once."),
    Difference(
        field=("result", "result.user.name", "result.user.email", "result.expires", "messages"), scenario=_ENDED[1],
        dialect="nextauth-v4",
        pair=lambda theirs, ours: ours is None or theirs == [*ours, 'nextauth.message {"event":"session","data":{"trigger":"getSession"}}'],
        reason="So update() answers null, and other tabs are told nothing."),
)  # fmt: skip
