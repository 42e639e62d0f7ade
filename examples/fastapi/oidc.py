"""A FastAPI application whose users sign in at a real OpenID provider, with access tokens of 30 seconds.

``python examples/fastapi/oidc.py`` runs it with the certified oidc-provider from npm on 127.0.0.1, which it installs into
a temporary folder; node and npm must be there. With ``ISSUER``, ``CLIENT_ID`` and ``CLIENT_SECRET`` set it goes to yours.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

if __name__ == "__main__":  # this folder has the name of a package that is imported next
    sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from asgi_token_rotation import TokenRotationMiddleware, get_token
from asgi_token_rotation.providers import OIDC

HOST = "127.0.0.1"


def application(*, issuer: str, client_id: str, client_secret: str, public_url: str) -> FastAPI:
    """The whole application. A sign-out ends the session here, its refresh token, and the one at the provider."""
    app = FastAPI()
    provider = OIDC(
        id="local",
        name="the local provider",
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        scopes=["openid", "profile", "email", "offline_access"],
        authorization_params={"prompt": "consent"},  # oidc-provider gives offline_access only with it
        rp_initiated_logout=True,
    )
    app.add_middleware(
        TokenRotationMiddleware,
        secret=os.environ.get("AUTH_SECRET") or secrets.token_urlsafe(32),
        public_url=public_url,
        providers=[provider],
    )

    @app.get("/", response_class=HTMLResponse)
    async def home(request: Request) -> str:  # pyright: ignore[reportUnusedFunction] FastAPI calls it
        session, token = request.state.session, get_token(request)
        if token is None:
            return '<p>Nobody is signed in.</p><p><a href="/api/auth/signin?callbackUrl=/">Sign in</a></p>'
        name, until = escape(str(token.get("name"))), escape(str(session.get("accessTokenExpires")))
        return (
            f"<p>Hello {name}. This is generation {token['generation']} of your tokens, good until {until}.</p>"
            '<p>Come back after half a minute.</p><p><a href="/api/auth/signout?callbackUrl=/">Sign out</a></p>'
        )

    return app


def local_provider(folder: Path, *, public_url: str) -> subprocess.Popen[str]:
    """Install the provider and start it. Its first line says its issuer."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        sys.exit("node and npm are needed for the local provider. Install them, or set ISSUER to that of your own.")
    shutil.copy(Path(__file__).with_name("oidc_provider.mjs"), folder)
    install = [npm, "install", "--no-save", "--silent", "oidc-provider@9"]
    subprocess.run(install, cwd=folder, check=True)  # noqa: S603 our own words
    command = [node, "oidc_provider.mjs", public_url]
    return subprocess.Popen(  # noqa: S603
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError:
        print(f"Port {port} is taken; here is another one.", flush=True)
        return socket.create_server((HOST, 0))


def main() -> None:
    """Listen on PORT of 127.0.0.1, or on a free one where that is taken, until Control-C."""
    listener = _listener(int(os.environ.get("PORT", "0")))
    address = f"http://{HOST}:{listener.getsockname()[1]}"
    client = {"client_id": "example", "client_secret": "a secret of the example"}
    issuer, started = os.environ.get("ISSUER"), None
    with tempfile.TemporaryDirectory() as folder:
        if issuer is None:
            started = local_provider(Path(folder), public_url=address)
            assert started.stdout is not None  # noqa: S101 it is a pipe
            issuer = started.stdout.readline().strip()
        else:
            client = {"client_id": os.environ["CLIENT_ID"], "client_secret": os.environ["CLIENT_SECRET"]}
        print(f"Open {address}, and sign in with any name and password. Control-C stops everything.", flush=True)
        app = application(issuer=issuer, public_url=address, **client)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
        finally:
            if started is not None:
                started.terminate()
                started.wait()


if __name__ == "__main__":
    main()
