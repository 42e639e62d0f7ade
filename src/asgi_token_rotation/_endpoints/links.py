"""The addresses of one site's endpoints and pages, absolute, since NextAuth's clients parse them: pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from .._origins import Site
from ..options import Pages
from ..types import Dialect


def with_query(url: str, **params: str | None) -> str:
    """The URL with those parameters that have a value."""
    text = urlencode({name: value for name, value in params.items() if value})
    return f"{url}{'&' if '?' in url else '?'}{text}" if text else url


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where things are on the site that a request came in at."""

    site: Site
    base_path: str
    pages: Pages
    dialect: Dialect

    @property
    def home(self) -> str:
        """Where a visitor goes who named no place, or none that we go to."""
        return self.site.origin + (self.site.path or "/")

    def endpoint(self, action: str, **params: str | None) -> str:
        """The URL of one of our endpoints."""
        return with_query(self.site.origin + self.path(action), **params)

    def path(self, action: str) -> str:
        """Its path: for forms, which go to whatever host the visitor sees."""
        return f"{self.site.path}{self.base_path}/{action}"

    def own(self, page: str, **params: str | None) -> str:
        """The URL of an application's own page, from ``Pages``."""
        return with_query(self.site.origin + page if page.startswith("/") else page, **params)

    def sign_in(self, **params: str | None) -> str:
        """The sign-in page. In v4 the endpoint sends on to the application's own (contract, 4.2)."""
        if self.pages.sign_in is not None and self.dialect == "authjs":
            return self.own(self.pages.sign_in, **params)
        return self.endpoint("signin", **params)

    def error(self, code: str) -> str:
        """The error page for a code. In v4 the endpoint sends on to the application's own (contract, 4.2)."""
        if self.pages.error is not None and self.dialect == "authjs":
            return self.own(self.pages.error, error=code)
        return self.endpoint("error", error=code)

    def refused_credentials(self, provider: str, code: str) -> str:
        """Where a failed sign-in with credentials leads, in the dialect's form (contract, 4.2)."""
        if self.dialect == "authjs":
            return self.sign_in(error="CredentialsSignin", code=code)
        return self.endpoint("error", error="CredentialsSignin", provider=provider)

    def missing_csrf(self, action: str) -> str:
        """Where a form leads whose CSRF token is not good (contract, 3)."""
        return self.sign_in(error="MissingCSRF") if self.dialect == "authjs" else self.endpoint(action, csrf="true")
