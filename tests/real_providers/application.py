"""One worker of the application. Its environment: PORT, STORE, SECRET, HOME_URL (the public address) and PROVIDER (JSON)."""

from __future__ import annotations

import json
import os
import time

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from asgi_token_rotation import RefreshOptions, TokenRotation, TokenRotationMiddleware, get_session, get_token
from asgi_token_rotation.providers import OIDC, keycloak
from real_providers.servers import AUDIENCE
from workers.processes import end_with_parent


async def home(_: Request) -> Response:
    """Where sign-in and sign-out lead."""
    return PlainTextResponse("The application's own page.")


async def me(request: Request) -> Response:
    """Who is it, and for how long is the access token good?"""
    session, token = get_session(request), get_token(request) or {}
    about = {name: token.get(name) for name in ("sub", "generation")}
    valid_for = token.get("expires_at", 0) - time.time()
    return JSONResponse(about | {"user": session.user, "error": session.error, "valid_for": valid_for})


async def token(request: Request) -> Response:
    """What no application should show: for the tests, who ask the server about the tokens."""
    return JSONResponse(get_token(request))


def main() -> None:
    """Serve until somebody ends it, or the parent is gone."""
    end_with_parent()
    options = json.loads(os.environ["PROVIDER"])
    made = keycloak if "/realms/" in options["issuer"] else OIDC
    rotation = TokenRotation(
        secret=os.environ["SECRET"],
        store=os.environ["STORE"],
        public_url=os.environ["HOME_URL"],
        refresh_options=RefreshOptions(margin=1),
        providers=[
            made(id="staying", name="Staying", **options),
            made(id="leaving", name="Leaving", rp_initiated_logout=True, **options),
            made(id="hearing", name="Hearing", backchannel_logout=True, **options),
            made(id="checking", name="Checking", verify_access_token=AUDIENCE, **options),
            made(id="mistaken", name="Mistaken", verify_access_token="https://other.example.com", **options),
        ],
    )
    routes = [Route("/", home), Route("/me", me), Route("/token", token)]
    app = TokenRotationMiddleware(Starlette(routes=routes), rotation=rotation)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="info", access_log=False)


if __name__ == "__main__":
    main()
