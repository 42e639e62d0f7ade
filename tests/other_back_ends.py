"""The strict token server behind the wire forms of other back ends: codes, headers, cookies, simplejwt, GraphQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from asgi_token_rotation.testing import Clock, TokenServer

ADA = {"username": "ada", "password": "lovelace"}


class BackEnd:
    """One back end that speaks all of them. ``codes`` are good for one exchange each; ``exports`` says who asked for one."""

    def __init__(self, *, clock: Clock) -> None:
        self.server = TokenServer(clock=clock, users={"ada": "lovelace", "bob": "ross"}, jwt_access_tokens=True)
        self.codes = {"one-time-1", "one-time-2"}
        self.exports: list[str] = []
        self.cookies_seen: list[list[str]] = []
        self.graphql_is_broken = False
        self.details_are_broken = False
        self.me_calls = 0
        self.new_name: str | None = None
        self.app = Starlette(
            routes=[
                Route("/auth/exchange", self._exchange, methods=["POST"]),
                Route("/auth/renew", self._renew_by_header, methods=["POST"]),
                Route("/auth/renew-by-cookie", self._renew_by_cookie, methods=["POST"]),
                Route("/api/token/", self._obtain, methods=["POST"]),
                Route("/api/token/refresh/", self._renew_for_django, methods=["POST"]),
                Route("/api/exports", self._export, methods=["POST"]),
                Route("/api/me", self._me),
                Route("/graphql", self._graphql, methods=["POST"]),
                Mount("/", self.server),
            ]
        )

    async def _asked(self, path: str, content: Mapping[str, Any]) -> httpx.Response:
        async with self.server.client() as client:
            return await client.post(path, json=dict(content))

    async def _renewed(self, token: str) -> httpx.Response:
        return await self._asked("/auth/refreshToken", {"token": token})

    async def _owner(self, request: Request) -> httpx.Response:
        async with self.server.client() as client:
            return await client.get("/api/me", headers={"Authorization": request.headers.get("authorization", "")})

    async def _exchange(self, request: Request) -> Response:
        code = (await request.json())["code"]
        if code not in self.codes:
            return JSONResponse({"message": "This code is not known, or was used."}, 410)
        self.codes.remove(code)
        return _passed_on(await self._asked("/auth/login", ADA))

    async def _renew_by_header(self, request: Request) -> Response:
        answer = await self._renewed(request.headers["x-refresh-token"])
        content = answer.json()
        headers = {"X-Refresh-Token": content.pop("refreshToken")} if answer.is_success else {}
        return JSONResponse(content, answer.status_code, headers)

    async def _renew_by_cookie(self, request: Request) -> Response:
        self.cookies_seen.append(request.headers.getlist("cookie"))
        answer = await self._renewed(request.cookies["refresh"])
        content = answer.json()
        response = JSONResponse({name: value for name, value in content.items() if name != "refreshToken"})
        response.set_cookie("refresh", content["refreshToken"], httponly=True)
        return response

    async def _obtain(self, request: Request) -> Response:
        answer = await self._asked("/auth/login", await request.json())
        if not answer.is_success:
            return JSONResponse({"detail": "No active account found with the given credentials"}, 401)
        return JSONResponse({"access": answer.json()["accessToken"], "refresh": answer.json()["refreshToken"]})

    async def _renew_for_django(self, request: Request) -> Response:
        answer = await self._renewed((await request.json())["refresh"])
        if not answer.is_success:
            return JSONResponse({"detail": "Token is invalid or expired", "code": "token_not_valid"}, 401)
        return JSONResponse({"access": answer.json()["accessToken"], "refresh": answer.json()["refreshToken"]})

    async def _export(self, request: Request) -> Response:
        answer = await self._owner(request)
        self.exports.append(answer.json().get("id", ""))
        return _passed_on(answer)

    async def _me(self, request: Request) -> Response:
        self.me_calls += 1
        if self.details_are_broken:
            return Response(status_code=503)
        answer = await self._owner(request)
        renamed = {"name": self.new_name} if self.new_name and answer.is_success else {}
        return JSONResponse(answer.json() | renamed, answer.status_code)

    async def _graphql(self, request: Request) -> Response:
        body = await request.json()
        if self.graphql_is_broken:
            return JSONResponse({"data": None, "errors": [{"message": "The database is away."}]})
        if "login(" in body["query"]:
            name, answer = "login", await self._asked("/auth/login", body["variables"])
        elif "renew(" in body["query"]:
            name, answer = "renew", await self._renewed(body["variables"]["token"])
        else:
            name, answer = "me", await self._owner(request)
        if answer.is_success:
            return JSONResponse({"data": {name: answer.json()}})
        error = {"message": "Please sign in.", "extensions": {"code": "UNAUTHENTICATED"}}
        return JSONResponse({"data": None, "errors": [error]})


def _passed_on(answer: httpx.Response) -> Response:
    return JSONResponse(answer.json(), answer.status_code)
