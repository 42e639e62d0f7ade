"""From a path under ``base_path`` to what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from starlette.requests import HTTPConnection
from starlette.responses import Response

from .._log import Once
from .._mistakes import look_at_foreign_post
from .._origins import Origins, header
from .._visit import Visit
from ..errors import ConfigurationError
from ..options import CookieOptions, Pages
from ..providers._code_flow import CodeFlow
from ..providers.base import Provider
from ..types import Callbacks, Dialect, Receive, Scope, Send
from .admission import Admission
from .answers import finished, not_supported, refused
from .asked import Asked
from .beacon import ClientReports
from .body import Refusal, fields_of, read_body
from .callback import CallbackEndpoint
from .checks import ChecksCookies
from .client import ClientModule
from .csrf import CROSS_ORIGIN, Csrf, crosses_origins, show_token
from .links import Links
from .oauth import OAuthEndpoint
from .pages import PageWriter
from .reception import Reception
from .redirects import Redirects
from .session import SessionEndpoint
from .side_cookies import side_cookies_for
from .signin import SignInEndpoint
from .signout import SignOutEndpoint

if TYPE_CHECKING:
    from .backchannel import BackchannelLogout

Endpoint: TypeAlias = Callable[[Visit, Receive, Send], Awaitable[None]]
Action: TypeAlias = tuple[str, str]  # method and name

_NO_SITE: Final = Refusal(
    400,
    "UnknownSite",
    "The address of this site is not known, so nothing was done. Set public_url to the address that browsers use.",
)
_NO_SITE_LOG: Final = (
    "A request to an endpoint came in on a host that is not loopback, and there is no public_url: it was refused, since links"
    ' built from a Host header can lead anywhere. Set public_url="https://…" to the address that browsers use.'
)


class Router:
    """The endpoints under ``base_path``. They answer through a ``send`` that adds the session cookie.

    ConfigurationError where one of ``pages`` leads to an origin that is neither ours nor trusted, or to an endpoint.
    """

    connect: Final = HTTPConnection  # what callbacks get of a request, here and everywhere

    def __init__(
        self,
        *,
        base_path: str,
        origins: Origins,
        providers: Mapping[str, Provider],
        callbacks: Callbacks,
        pages: Pages,
        secrets: Sequence[str],
        cookie: CookieOptions,
        dialect: Dialect,
        flows: Mapping[str, CodeFlow],
        clock: Callable[[], float],
        backchannel: BackchannelLogout | None = None,
    ) -> None:
        _check_pages(pages, origins=origins, base_path=base_path)
        self._base_path = base_path
        self._origins = origins
        self._pages = pages
        self._dialect: Dialect = dialect
        self._once = Once()
        self._client = ClientModule()
        self._reports = ClientReports(origins=origins) if dialect == "nextauth-v4" else None
        redirects = Redirects(origins=origins, callback=callbacks.redirect)
        side = {secure: side_cookies_for(cookie, dialect=dialect, secure=secure) for secure in (True, False)}
        self._reception = Reception(origins=origins, csrf=Csrf(secrets), redirects=redirects, cookies=side)
        admission = Admission(sign_in=callbacks.sign_in, redirects=redirects)
        checks = {
            secure: ChecksCookies(secrets, side[secure].callback_url.attributes, dialect=dialect)
            for secure in (True, False)
        }
        self._oauth = oauth = OAuthEndpoint(
            flows=flows, kinds={name: provider.type for name, provider in providers.items()}, admission=admission,
            origins=origins, cookies=checks, clock=clock, backchannel=backchannel,
        )  # fmt: skip
        self._backchannel = backchannel
        writer = PageWriter(known_origins=origins.known, providers=providers.values())
        session = SessionEndpoint(dialect=dialect)
        sign_in = SignInEndpoint(providers=providers, oauth=oauth, pages=writer)
        callback = CallbackEndpoint(providers=providers, admission=admission, oauth=oauth)
        sign_out = SignOutEndpoint(pages=writer, flows=flows)
        self._anywhere: Mapping[Action, Callable[[Asked], Awaitable[Response]]] = {
            ("GET", "session"): session.read,
            ("GET", "csrf"): show_token,
        }
        self._on_site: Mapping[Action, Callable[[Asked, Links], Awaitable[Response]]] = {
            ("POST", "session"): session.update,
            ("GET", "providers"): sign_in.providers,
            ("GET", "signin"): sign_in.show,
            ("POST", "signin"): sign_in.begin,
            ("GET", "error"): sign_in.explain,
            ("GET", "callback"): callback.visited,
            ("POST", "callback"): callback.submitted,
            ("GET", "signout"): sign_out.ask,
            ("POST", "signout"): sign_out.end,
        }

    def endpoint(self, scope: Scope) -> Endpoint | None:
        """What answers this request, or None where it is the application's."""
        if self._base_path not in scope["path"] or scope["type"] != "http":
            return None
        path = route_path(scope)
        if path != self._base_path and not path.startswith(f"{self._base_path}/"):
            return None
        return self.at(path.removeprefix(self._base_path))

    def at(self, action: str) -> Endpoint:
        """What answers a path below ``base_path``, such as "/session" or "/callback/credentials"."""
        name, provider = _parsed(action)

        async def endpoint(visit: Visit, receive: Receive, send: Send) -> None:
            response = await self._response(name, provider, visit, receive)
            if response is not None:
                await response(visit.scope, receive, send)

        return endpoint

    async def _response(self, name: str, provider: str | None, visit: Visit, receive: Receive) -> Response | None:
        """The answer; None where the client went away."""
        scope = visit.scope
        action: Action = (scope["method"], name)
        if action in (("GET", "client.js"), ("HEAD", "client.js")):
            return self._client.answer(scope)
        if action == ("POST", "_log") and self._reports is not None:
            return await self._reports.take(scope, receive)
        if action == ("POST", "backchannel-logout") and self._backchannel is not None:
            return await self._backchannel.take(scope, receive)
        links = self._links(scope)
        anywhere, on_site = self._anywhere.get(action), self._on_site.get(action)
        if anywhere is not None:
            asked, cookies = await self._reception.understood(name, provider, visit, body=None, links=links)
            return finished(await anywhere(asked), cookies)
        if on_site is None:
            return finished(not_supported(action[0], dialect=self._dialect), ())
        if links is None:
            self._once.warn("no site", _NO_SITE_LOG)
            return finished(refused(_NO_SITE), ())
        if action == ("POST", "callback") and provider is not None and self._oauth.knows(provider):
            return await self._bounced(provider, scope, receive, links)
        body = await self._body(scope, receive) if scope["method"] == "POST" else None
        if isinstance(body, Refusal):
            return finished(refused(body), ())
        if body is None and scope["method"] == "POST":
            return None
        asked, cookies = await self._reception.understood(name, provider, visit, body=body, links=links)
        return finished(await on_site(asked, links), cookies)

    def _links(self, scope: Scope) -> Links | None:
        site = self._origins.site(scope)
        if site is None:
            return None
        return Links(site=site, base_path=self._base_path, pages=self._pages, dialect=self._dialect)

    async def _body(self, scope: Scope, receive: Receive) -> dict[str, Any] | Refusal | None:
        if crosses_origins(scope, self._origins):
            look_at_foreign_post(self._once, scope)
            return CROSS_ORIGIN
        raw = await read_body(scope, receive)
        return fields_of(raw, content_type=header(scope, b"content-type")) if isinstance(raw, bytes) else raw

    async def _bounced(self, provider: str, scope: Scope, receive: Receive, links: Links) -> Response | None:
        """The one POST that comes from elsewhere by its nature: a provider's form, which is sent on and does nothing."""
        raw = await read_body(scope, receive)
        if raw is None:
            return None
        fields = fields_of(raw, content_type=header(scope, b"content-type")) if isinstance(raw, bytes) else raw
        if isinstance(fields, Refusal):
            return finished(refused(fields), ())
        return finished(self._oauth.bounced(provider, fields, links), ())


def route_path(scope: Scope) -> str:
    """The path as the application sees it: without ``root_path`` where it starts with that (as Starlette has it)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if root and (path == root or path.startswith(f"{root}/")) else path


def _parsed(action: str) -> tuple[str, str | None]:
    """The action's name and the provider in its path; an empty name for what can be none (Auth.js contract, 4.0)."""
    segments = action.removeprefix("/").removesuffix("/").split("/")
    if len(segments) == 2 and segments[0] in ("signin", "callback"):
        return segments[0], segments[1]
    return (segments[0], None) if len(segments) == 1 and segments[0] != "callback" else ("", None)


def _check_pages(pages: Pages, *, origins: Origins, base_path: str) -> None:
    for name in ("sign_in", "sign_out", "error"):
        page: str | None = getattr(pages, name)
        if page is None:
            continue
        if not page.startswith("/") and not origins.accepts(page, {"headers": ()}):
            raise ConfigurationError(
                f"Pages.{name} is {page!r}, whose origin is neither that of public_url nor trusted: redirects go nowhere else."
                " Add its origin to trusted_origins, or give a path."
            )
        if f"{page}/".startswith((f"{base_path}/sign", f"{base_path}/error")):
            raise ConfigurationError(
                f"Pages.{name} is {page!r}, which is one of our own endpoints: it would redirect to itself."
                " Give the path of a page of your own, or leave it out."
            )
