"""The built-in pages: plain HTML that works without JavaScript, under a policy that allows no script at all."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from typing import Final

from starlette.responses import HTMLResponse, Response

from .._origins import parse_origin
from ..providers.base import Provider
from ..providers.credentials import Credentials
from ..types import Field
from .asked import Asked
from .links import Links

_STYLE: Final = """
:root{color-scheme:light dark;--page:#f3f4f6;--card:#fff;--ink:#1c2128;--soft:#57606a;--line:#b6bec8;--accent:#1d5bbf;
--on-accent:#fff;--alert:#8a1020;--alert-page:#fdecee}
@media (prefers-color-scheme:dark){:root{--page:#101317;--card:#1a1f26;--ink:#e8ebef;--soft:#a3adb8;--line:#4a535e;
--accent:#7fb0ff;--on-accent:#0b1a33;--alert:#ffb4bb;--alert-page:#3d161b}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{width:100%;max-width:24rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}
h1{margin:0;font-size:1.5rem;line-height:1.25}
p{margin:.5rem 0 0;color:var(--soft);overflow-wrap:anywhere}
[role=alert]{margin:1rem 0 0;padding:.75rem 1rem;border-radius:.5rem;color:var(--alert);background:var(--alert-page)}
form{margin-top:1.5rem}
form+form{padding-top:1.5rem;border-top:1px solid var(--line)}
label{display:block;margin-bottom:1rem}
label span{display:block;margin-bottom:.25rem;font-weight:600}
input{width:100%;padding:.625rem .75rem;font:inherit;color:inherit;background:var(--page);border:1px solid var(--line);
border-radius:.5rem}
input[type=checkbox]{width:auto}
button{width:100%;padding:.625rem 1rem;font:inherit;font-weight:600;color:var(--on-accent);background:var(--accent);border:0;
border-radius:.5rem;cursor:pointer}
a{color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
"""
_STYLE_SOURCE: Final = f"'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
_SAFE_SOURCE: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")

_ERRORS: Final[Mapping[str, str]] = {
    "accessdenied": "You do not have permission to sign in.",
    "configuration": "Something is wrong on our side. Please try again later.",
    "credentialssignin": "The sign-in failed. Check what you entered and try again.",
    "missingcsrf": "The form was too old, or cookies are blocked. Please try again.",
    "sessionrequired": "Please sign in to see that page.",
    "verification": "The sign-in link is no longer valid. It may have been used already, or it has expired.",
}
_ANY_ERROR: Final = "The sign-in failed. Please try again."
# Not Auth.js's 500 for Configuration: whoever types ?error=Configuration must not raise an alarm.
_ERROR_STATUS: Final[Mapping[str, int]] = {"accessdenied": 403, "configuration": 400, "verification": 403}


class PageWriter:
    """Writes the pages. ``known_origins`` are where a form's answer may redirect to, besides this origin."""

    def __init__(self, *, known_origins: Iterable[str], providers: Iterable[Provider] = ()) -> None:
        # Chromium holds the redirects after a form to form-action, too (w3c/webappsec-csp#8). A provider may send users
        # on to another one, so where there is one every https address is allowed.
        beyond = _sources_of(provider for provider in providers if provider.type != "credentials")
        sources = " ".join(["'self'", *sorted(filter(_SAFE_SOURCE.fullmatch, known_origins)), *beyond])
        policy = f"default-src 'none'; style-src {_STYLE_SOURCE}; form-action {sources}; base-uri 'none'; frame-ancestors 'none'"
        self._headers = {
            "content-security-policy": policy,
            "x-frame-options": "DENY",
            # Not no-referrer: browsers would send "Origin: null" with our own forms, which are refused then.
            "referrer-policy": "same-origin",
        }

    def sign_in(self, asked: Asked, links: Links, *, providers: Mapping[str, Provider]) -> Response:
        """A form for each provider: its ``fields`` where it takes credentials, else one button."""
        # A name says something only where there is a choice, or where one is led away.
        alone = len(providers) < 2
        forms = [
            _credentials_form(provider, asked, links, button="Sign in" if alone else f"Sign in with {provider.name}")
            if isinstance(provider, Credentials)
            else _form(links.path(f"signin/{provider.id}"), asked, button=f"Sign in with {provider.name}")
            for provider in providers.values()
            if isinstance(provider, Credentials) or provider.type != "credentials"
        ]
        parts = [_note_of(asked), *(forms or ["<p>No way to sign in is set up here.</p>"])]
        return self._page("Sign in", f"to {_host(links)}", "".join(parts))

    def sign_out(self, asked: Asked, links: Links) -> Response:
        """One button, so that a link or a prefetch signs nobody out."""
        form = _form(links.path("signout"), asked, button="Sign out")
        back = f'<p><a href="{escape(asked.callback_url)}">Stay signed in</a></p>'
        return self._page("Sign out", f"Do you want to sign out of {_host(links)}?", _note_of(asked) + form + back)

    def error(self, asked: Asked, links: Links) -> Response:
        """What the code means. The code itself is not shown: it is the client's."""
        code = (asked.error or "").lower()
        again = f'<p><a href="{escape(links.path("signin"))}">Sign in</a></p>'
        note = _note(_ERRORS.get(code, _ANY_ERROR))
        return self._page("Sign-in problem", _host(links), note + again, status=_ERROR_STATUS.get(code, 200))

    def _page(self, title: str, subtitle: str, content: str, *, status: int = 200) -> Response:
        html = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
            f"<body><main><h1>{escape(title)}</h1><p>{escape(subtitle)}</p>{content}</main></body></html>"
        )
        return HTMLResponse(html, status_code=status, headers=self._headers)


def _sources_of(providers: Iterable[Provider]) -> list[str]:
    found = list(providers)
    names = ("authorization_endpoint", "issuer", "end_session_endpoint")
    endpoints = [str(getattr(provider, name, None) or "") for provider in found for name in names]
    plain = {parse_origin(url) or "" for url in endpoints if url.startswith("http:")}  # on this machine, mostly
    return (["https:"] if found else []) + sorted(filter(_SAFE_SOURCE.fullmatch, plain))


def _host(links: Links) -> str:
    return links.site.origin.partition("://")[2]


def _note_of(asked: Asked) -> str:
    # csrf=true is v4's word for MissingCSRF.
    code = "missingcsrf" if asked.query.get("csrf") == "true" else (asked.error or "").lower()
    return _note(_ERRORS.get(code, _ANY_ERROR)) if code else ""


def _note(sentence: str) -> str:
    return f'<p role="alert">{escape(sentence)}</p>'


def _credentials_form(provider: Credentials, asked: Asked, links: Links, *, button: str) -> str:
    inputs = "".join(_input(name, field) for name, field in provider.fields.items())
    return _form(links.path(f"callback/{provider.id}"), asked, inputs=inputs, button=button)


def _form(action: str, asked: Asked, *, button: str, inputs: str = "") -> str:
    hidden = {"csrfToken": asked.csrf_token, "callbackUrl": asked.callback_url}
    fields = "".join(f"<input{_attributes(type='hidden', name=name, value=value)}>" for name, value in hidden.items())
    submit = f'<button type="submit">{escape(button)}</button>'
    return f'<form method="post" action="{escape(action)}">{fields}{inputs}{submit}</form>'


def _input(name: str, field: Field) -> str:
    if field.type == "hidden":
        return f"<input{_attributes(type='hidden', name=name)}>"
    attributes = _attributes(type=field.type, name=name, placeholder=field.placeholder, autocomplete=field.autocomplete)
    return f"<label><span>{escape(field.label)}</span><input{attributes}></label>"


def _attributes(**values: str) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in values.items() if value)
