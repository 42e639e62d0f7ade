"""A Django site with django-oauth-toolkit, run by an environment of its own. Ends with its standard input.

Its arguments: an empty folder, and JSON with client_id, client_secret, redirect_uris, post_logout_redirect_uris,
access_token_seconds, rsa_key, username, password. Its first line: JSON with issuer and control.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings

HOST = "127.0.0.1"
SEEN = {"rotations": 0, "reuses": 0, "refusals": 0, "revocations": 0}
SIGN_IN_PAGE = '<form method="post">{% csrf_token %}{{ form.as_p }}<button type="submit">Sign in</button></form>'


class Server(ThreadingMixIn, WSGIServer):
    """One thread for each request, as runserver has it."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Nobody reads its lines."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def configure(folder: Path, port: int, order: dict[str, Any]) -> None:
    """Set Django up as its documentation and that of django-oauth-toolkit say."""
    (folder / "registration").mkdir()
    (folder / "registration" / "login.html").write_text(SIGN_IN_PAGE)
    settings.configure(
        SECRET_KEY="for the tests only",
        ALLOWED_HOSTS=["localhost", HOST],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        LOGIN_URL="/accounts/login/",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "oauth2_provider",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [str(folder)],
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(folder / "site.db"),
                "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
            }
        },
        OAUTH2_PROVIDER={
            "ACCESS_TOKEN_EXPIRE_SECONDS": order["access_token_seconds"],
            "OAUTH2_VALIDATOR_CLASS": f"{__name__}.Validator",
            "OIDC_ENABLED": True,
            "OIDC_ISS_ENDPOINT": f"http://localhost:{port}/o",
            "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
            "OIDC_RSA_PRIVATE_KEY": order["rsa_key"],
            "REFRESH_TOKEN_REUSE_PROTECTION": True,
            "ROTATE_REFRESH_TOKEN": True,
            "SCOPES": {"openid": "Who you are", "profile": "Your name", "email": "Your address"},
            "ALLOWED_SCHEMES": ["http", "https"],
        },
    )


def populate(order: dict[str, Any]) -> None:
    """The tables, one user, one client."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from oauth2_provider.models import Application

    call_command("migrate", verbosity=0)
    User.objects.create_user(order["username"], f"{order['username']}@example.com", order["password"])
    Application.objects.create(
        name="The application",
        client_id=order["client_id"],
        client_secret=order["client_secret"],
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=" ".join(order["redirect_uris"]),
        post_logout_redirect_uris=" ".join(order["post_logout_redirect_uris"]),
        algorithm=Application.RS256_ALGORITHM,
        hash_client_secret=False,  # else each request takes half a second of PBKDF2
    )


def define_site(site: Any) -> None:
    """The parts of this module that Django looks up in it, and that can't be made before it is set up."""
    from django.urls import include, path
    from oauth2_provider.models import RefreshToken
    from oauth2_provider.oauth2_validators import OAuth2Validator

    class Validator(OAuth2Validator):
        """The package's own, which notes what it decided."""

        oidc_claim_scope = None

        def validate_refresh_token(
            self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
        ) -> bool:
            """Whether it is good; a token that was rotated out or revoked before is reuse."""
            live = RefreshToken.objects.filter(token=refresh_token, revoked__isnull=True).exists()
            known = RefreshToken.objects.filter(token=refresh_token).exists()
            good = super().validate_refresh_token(refresh_token, client, request, *args, **kwargs)
            SEEN["rotations" if good else "refusals"] += 1
            SEEN["reuses"] += known and not live
            return good

        def revoke_token(self, *args: Any, **kwargs: Any) -> None:
            """What RFC 7009 has."""
            super().revoke_token(*args, **kwargs)
            SEEN["revocations"] += 1

        def get_additional_claims(self) -> dict[str, Any]:
            """What the ID token says beside the subject."""
            return {
                "name": lambda request: request.user.username,
                "email": lambda request: request.user.email,
            }

    site.Validator = Validator
    site.urlpatterns = [
        path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
        path("accounts/", include("django.contrib.auth.urls")),
    ]


def control(_: Any, start: Any) -> list[bytes]:
    """What was seen."""
    start("200 OK", [("content-type", "application/json")])
    return [json.dumps(SEEN).encode()]


def main() -> None:
    """Serve until the standard input ends."""
    folder, order = Path(sys.argv[1]), json.loads(sys.argv[2])
    server = make_server(HOST, 0, control, Server, Quiet)
    configure(folder, server.server_port, order)
    django.setup()
    define_site(sys.modules[__name__])
    populate(order)
    from django.core.wsgi import get_wsgi_application

    server.set_app(get_wsgi_application())
    watched = make_server(HOST, 0, control, Server, Quiet)
    for serving in (server, watched):
        threading.Thread(target=serving.serve_forever, daemon=True).start()
    told = {"issuer": f"http://localhost:{server.server_port}/o", "control": f"http://{HOST}:{watched.server_port}"}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
