"""Our own subjects, in two copies of the package: as it is installed plain, and with the ``speed`` extra."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from types import ModuleType
from typing import Any

from .subject import SECRET, App, Claims, Receive, Scope, Send, Subject, receive, respond

PACKAGE = "asgi_token_rotation"
PLAIN, FAST = "", " (speed)"
EXTRA = ("orjson", "pybase64")  # what the ``speed`` extra brings
NONE, SEEN, UNSEEN = "no session cookie", "cookie seen before", "cookie not seen before"
WRITTEN, MARGIN = "changed and written back", "inside the margin, another request is refreshing"


class Copy:
    """The package, imported anew. ``speed``: as the extra of that name has it; else as it is installed plain."""

    def __init__(self, *, speed: bool) -> None:
        self.suffix = FAST if speed else PLAIN
        aside = {name: module for name, module in sys.modules.items() if _is_ours(name) or name in EXTRA}
        for name in filter(_is_ours, aside):
            del sys.modules[name]
        if not speed:
            sys.modules.update(dict.fromkeys(EXTRA))  # type: ignore[arg-type] # an import of them fails
        try:
            self.root: ModuleType = importlib.import_module(PACKAGE)
            self.cookies: ModuleType = importlib.import_module(f"{PACKAGE}._cookies.session_cookie")
            self.options: ModuleType = importlib.import_module(f"{PACKAGE}.options")
        finally:
            for name in [name for name in sys.modules if _is_ours(name)]:
                del sys.modules[name]
            for name in () if speed else EXTRA:
                del sys.modules[name]
            sys.modules.update(aside)

    def minter(self, **options: Any) -> Any:
        """Makes cookie headers, apart from the middleware, whose caches therefore know nothing of them."""
        secrets, chosen = (SECRET,), self.options.CookieOptions(**options)
        cookie = self.cookies.session_cookie_for(secrets, chosen, dialect="authjs", secure=False)

        def mint(claims: Claims) -> str:
            now = time.time()
            lines = cookie.write(claims, now=now, expires=now + 86_400, present=())
            return "; ".join(line.decode("ascii").partition(";")[0] for line in lines)

        return mint

    def rotation(self, *, writes: bool = False, refresh: Any = None, **options: Any) -> Any:
        """The runtime with both callbacks, as in the documentation's first example."""

        async def jwt(params: Any) -> Claims:
            token: Claims = params.token
            if writes:
                token["visits"] = token.get("visits", 0) + 1
            return token

        async def session(params: Any) -> Any:
            params.session["role"] = params.token.get("role")
            return params.session

        async def authorize(credentials: Any) -> None:
            return None

        async def never(token: Claims) -> Any:
            raise AssertionError("A refresh that was not due.")

        provider = self.root.Credentials(authorize=authorize, refresh=refresh or never)
        callbacks = self.root.Callbacks(jwt=jwt, session=session)
        return self.root.TokenRotation(secret=SECRET, providers=[provider], callbacks=callbacks, **options)

    def wrapped(self, rotation: Any) -> App:
        """An application that reads the session, behind the middleware."""
        app: App = self.root.TokenRotationMiddleware(_reads, rotation=rotation)
        return app

    def subjects(self) -> list[Subject]:
        """The rows of the budget, and one with the encryption that Auth.js writes."""
        cbc = {"encryption": "A256CBC-HS512"}
        return [
            self._subject(NONE, cookies="none", budget=0.05),
            self._subject(SEEN, budget=0.20),
            self._subject(UNSEEN, cookies="fresh", budget=0.45 if self.suffix == FAST else 0.60),
            self._subject(f"{UNSEEN}, A256CBC-HS512", cookies="fresh", mint=self.minter(**cbc)),
            self._subject(WRITTEN, rotation=self.rotation(writes=True), cookies="kept", writes=True, budget=1.0),
            self._inside_the_margin(),
        ]

    def without_cache(self) -> Subject:
        """Opens every cookie anew, also one that it has seen: for measurements that can't send a new one each time."""
        rotation = self.rotation(cookie=self.options.CookieOptions(cache=0))
        return self._subject("cookie opened anew (cache=0)", rotation=rotation)

    def _subject(self, name: str, *, rotation: Any = None, **more: Any) -> Subject:
        rotation = rotation or self.rotation()
        given = {"mint": self.minter(), "close": rotation.aclose, **more}
        return Subject(name=f"ours: {name}{self.suffix}", app=self.wrapped(rotation), **given)

    def _inside_the_margin(self) -> Subject:
        answer, under_way, tasks = asyncio.Event(), asyncio.Event(), list[asyncio.Task[None]]()

        async def refresh(token: Claims) -> Any:
            under_way.set()
            await answer.wait()
            return self.root.TokenSet("another access token", "another refresh token", time.time() + 2000)

        options = self.root.RefreshOptions(margin=1000, timeout=600)
        rotation = self.rotation(refresh=refresh, refresh_options=options)
        app = self.wrapped(rotation)

        async def begin(scope: Scope) -> None:
            answer.clear()
            under_way.clear()
            tasks.append(asyncio.ensure_future(app(scope, receive, _ignores)))
            await under_way.wait()

        async def close() -> None:
            answer.set()
            await asyncio.gather(*tasks)
            await rotation.aclose()

        return self._subject(MARGIN, rotation=rotation, due=True, begin=begin, close=close, budget=0.20)


async def _reads(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, "user" in scope["state"]["session"])


async def _ignores(message: dict[str, Any]) -> None:
    pass


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE
